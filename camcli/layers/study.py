"""Everything that is measured about a model's layers, in one place and no more than is asked for.

One recorded pass, one batch of perturbed images per set of layers, and gradients from the recorded graph on demand:
choosing and proving a layer costs less than ten forward passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from camcli.errors import ModelError
from camcli.layers.layout import LayoutFlag
from camcli.layers.perturb import Movement, Perturbation, movements, noise, perturbation
from camcli.layers.probe import ProbedModel, Record, record, undisturbed
from camcli.layers.proof import Prover, Verdict
from camcli.layers.structure import main_tensor
from camcli.layers.warmup import warmed_up

_CALIBRATION = 1  # images that batch-norm statistics are taken from; more would cost passes and prove no more
_NO_GRADIENT = 1e-9  # of the largest gradient anywhere in the activation


@dataclass
class Study:
    """A model's layers under study; made by :func:`study`.

    Attributes:
        model: the model.
        record: the recorded pass.
        warmed: whether the network was found untrained and given signals.
    """

    model: ProbedModel
    record: Record
    prover: Prover
    warmed: bool
    flag: LayoutFlag
    _perturbation: Perturbation
    _place: tuple[torch.device, torch.dtype]
    _moved: dict[str, Movement | None] = field(default_factory=dict)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _slopes: dict[str, Tensor | None] = field(default_factory=dict)

    def plausible(self, path: str) -> bool:
        """Whether the module ran exactly once and its output's shape has a layout."""
        visit = self.record.visits[path]
        if visit.calls != 1 or visit.shape is None or visit.shape[0] != 1:
            return False
        return bool(self.prover.readings(visit.shape))

    def perturb(self, paths: Sequence[str]) -> None:
        """Have the evidence on all these modules ready, for the price of one batch."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._moved and self.plausible(path)]
        if not wanted:
            return
        device, dtype = self._place
        images = self._perturbation.images.to(device, dtype)
        moved = movements(self.model.module, wanted, images, self.model.module)
        self._moved.update({path: moved.get(path) for path in wanted})

    def verdict(self, path: str) -> Verdict:
        """What the perturbations say about this module's output."""
        if path not in self._verdicts:
            self._verdicts[path] = self._judge(path)
        return self._verdicts[path]

    def _judge(self, path: str) -> Verdict:
        self.perturb([path])
        if path in self._moved:
            moved = self._moved[path]
            if moved is None:
                return Verdict(None, "refuted", "not spatial: images of a batch do not stay apart")
            return self.prover.verdict(moved, self.flag)
        visit = self.record.visits[path]
        if visit.calls == 0:
            return Verdict(None, "unproven", "never runs in a forward pass")
        if visit.calls > 1:
            return Verdict(None, "unproven", f"runs {visit.calls} times per pass, called by {_callers(visit.callers)}")
        if visit.shape is None:
            return Verdict(None, "refuted", "not spatial: returns no tensor")
        sizes = ", ".join(map(str, ("N", *visit.shape[1:])))
        return Verdict(None, "refuted", f"not spatial: no grid fits the shape ({sizes})")

    def slopes(self, paths: Sequence[str]) -> None:
        """Have the gradients at all these modules' outputs ready, for the price of one backward pass."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._slopes]
        self._slopes.update(zip(missing, self.record.gradients(missing), strict=True))

    def has_gradient(self, path: str) -> bool:
        """Whether the class score has a non-zero gradient at the spatial positions of this module's output.

        Where the layout is not known, at any position.
        """
        self.slopes([path])
        return _flows(self._slopes[path], self.verdict(path))


@contextmanager
def study(model: ProbedModel, flag: LayoutFlag, needs_gradient: bool = True) -> Iterator[Study]:
    """Study a model; its module is left as it was found.

    Args:
        model: module, preprocessing and logits.
        flag: what the user says about layouts.
        needs_gradient: False where encoders without class scores are welcome.

    Raises:
        ModelError: the output holds no logits and ``needs_gradient`` is true.
    """
    wanted = model.preprocessing
    size = (wanted.channels, wanted.height, wanted.width)
    parameter = next((p for p in model.module.parameters() if p.is_floating_point()), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    dtype = parameter.dtype if parameter is not None else torch.float32
    devices = [device] if device.type == "cuda" else []
    with undisturbed(model.module), torch.random.fork_rng(devices):
        torch.manual_seed(0)  # a model that draws at random draws the same for every probing image
        with warmed_up(model.module, noise(_CALIBRATION, *size, seed=2).to(device, dtype)) as warmed:
            images = perturbation(*size)
            recorded = record(model, images.images[:1].to(device, dtype), _scorer(model, needs_gradient))
            prover = Prover(images.boxes, size[1:])
            yield Study(model, recorded, prover, warmed, flag, images, (device, dtype))


def _scorer(model: ProbedModel, needs_gradient: bool) -> Any:
    def scores(output: Any) -> Tensor:
        try:
            return model.logits(output)
        except ModelError:
            features = main_tensor(output)
            if needs_gradient or features is None:
                raise
            return features.flatten(1)  # an encoder: whatever it returns stands for the score

    return scores


def _flows(slope: Tensor | None, verdict: Verdict) -> bool:
    if slope is None or not bool(slope.isfinite().all()):
        return False
    size = slope.detach().float().abs()
    layout = verdict.layout
    spatial = layout.to_maps(size) if layout is not None and layout.fits(tuple(size.shape)) else size
    return bool(spatial.max() > _NO_GRADIENT * size.max())


def _callers(paths: Sequence[str]) -> str:
    names = list(dict.fromkeys(path or "the model itself" for path in paths))
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
