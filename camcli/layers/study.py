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
from camcli.layers.layout import Layout, LayoutFlag
from camcli.layers.perturb import Perturbation, movements, noise, perturbation
from camcli.layers.probe import ProbedModel, Record, record, undisturbed
from camcli.layers.proof import Prover, Verdict
from camcli.layers.structure import main_tensor
from camcli.layers.warmup import warmed_up

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
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _slopes: dict[str, Tensor | None] = field(default_factory=dict)

    def plausible(self, path: str) -> bool:
        """Whether the module ran exactly once and its output's shape has a layout."""
        visit = self.record.visits[path]
        if visit.calls != 1 or visit.shape is None or visit.shape[0] != 1:
            return False
        return any(reading.layout is not None for reading in self.prover.readings(visit.shape))

    def prove(self, paths: Sequence[str]) -> None:
        """Have the verdicts on all these modules ready, for the price of one batch."""
        wanted = [path for path in dict.fromkeys(paths) if path not in self._verdicts and self.plausible(path)]
        if not wanted:
            return
        device, dtype = self._place
        images = self._perturbation.images.to(device, dtype)
        moved = movements(self.model.module, wanted, images, self.model.module)
        for path in wanted:
            if path in moved:
                self._verdicts[path] = self.prover.verdict(moved[path], self.flag)
            else:
                self._verdicts[path] = Verdict(None, "refuted", "not spatial: images of a batch do not stay apart")

    def verdict(self, path: str) -> Verdict:
        """What the perturbations say about this module's output."""
        self.prove([path])
        if path in self._verdicts:
            return self._verdicts[path]
        visit = self.record.visits[path]
        if visit.calls == 0:
            return Verdict(None, "unproven", "never runs in a forward pass")
        if visit.calls > 1:
            return Verdict(None, "unproven", f"runs {visit.calls} times per pass, called by {_callers(visit.callers)}")
        if visit.shape is None:
            return Verdict(None, "refuted", "not spatial: returns no tensor")
        sizes = ", ".join(map(str, ("N", *visit.shape[1:])))
        return Verdict(None, "refuted", f"not spatial: no grid fits the shape ({sizes})")

    def has_gradient(self, paths: Sequence[str]) -> list[bool]:
        """Whether the class score has a non-zero gradient at the spatial positions of these modules' outputs.

        Where the layout is not known, at any position.
        """
        missing = [path for path in dict.fromkeys(paths) if path not in self._slopes]
        self._slopes.update(zip(missing, self.record.gradients(missing), strict=True))
        return [_flows(self._slopes[path], self._verdicts.get(path)) for path in paths]


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
        with warmed_up(model.module, noise(2, *size, seed=2).to(device, dtype)) as warmed:
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


def _flows(slope: Tensor | None, verdict: Verdict | None) -> bool:
    if slope is None or not bool(slope.isfinite().all()):
        return False
    size = slope.detach().float().abs()
    layout: Layout | None = verdict.layout if verdict is not None else None
    spatial = layout.to_maps(size) if layout is not None and layout.fits(tuple(size.shape)) else size
    return bool(spatial.max() > _NO_GRADIENT * size.max())


def _callers(paths: Sequence[str]) -> str:
    names = list(dict.fromkeys(path or "the model itself" for path in paths))
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
