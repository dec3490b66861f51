"""Everything that is measured about a model's layers, in one place and no more than is asked for.

One recorded pass, one batch of perturbed images per set of layers, and gradients from the recorded graph on demand:
choosing and proving a layer costs about eight forward passes of one image, and up to twice that for tiny networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from camcli.capture.frozen import freeze
from camcli.capture.outputs import main_tensor
from camcli.errors import ModelError
from camcli.layers.activation_change import HOLD
from camcli.layers.evidence import Evidence
from camcli.layers.initialise import warmed_up
from camcli.layers.layout import LayoutFlag
from camcli.layers.perturb import more, perturbation
from camcli.layers.probe import ProbedModel, Record, record
from camcli.layers.verification import Verdict

_CERTAIN = 0.85  # agreement below which a proof is asked for twice
_AHEAD = 4 << 20  # bytes of activations that may be kept in any case before anybody asks for them
_NO_GRADIENT = 1e-9  # of the largest gradient anywhere in the activation


@dataclass
class Study:
    """A model's layers under study; made by :func:`study`.

    Attributes:
        model: the model.
        record: the recorded pass.
        warmed: whether the network was found untrained and given signals.
        flag: what the user says about layouts.
        evidence: the batch of perturbed images.
    """

    model: ProbedModel
    record: Record
    warmed: bool
    flag: LayoutFlag
    evidence: Evidence
    _verdicts: dict[str, Verdict] = field(default_factory=dict)
    _slopes: dict[str, Tensor | None] = field(default_factory=dict)

    @cached_property
    def second(self) -> Evidence:
        """Other blocks, for where the first leave doubt."""
        return self.evidence.more(more(self.evidence.perturbation))

    def plausible(self, path: str) -> bool:
        """Whether the module ran exactly once and its output's shape has a layout."""
        visit = self.record.visits[path]
        if visit.calls != 1 or visit.shape is None or visit.shape[0] != 1:
            return False
        return self.evidence.prover.is_readable(visit.shape)

    def perturb(self, paths: Sequence[str]) -> None:
        """Have the evidence on all these modules ready, for the price of one batch."""
        self.evidence.gather(path for path in paths if self.plausible(path))

    def perturb_ahead(self, paths: Sequence[str]) -> None:
        """The same for the first of these, as far as that costs little: which are asked for is not known yet.

        Those of which the image as it is would have to go through again wait until they are asked for. Keeping
        activations costs time too, so no more bytes are kept than a pass of one image writes.
        """
        known = {path: kept.nbytes for path, visit in self.record.visits.items() if (kept := visit.still) is not None}
        left = min(HOLD, max(_AHEAD, sum(known.values())))
        cheap = list(paths[:1])
        for path in paths[1:]:
            size = known.get(path, left) * len(self.evidence.perturbation.images)
            if size < left:
                left -= size
                cheap.append(path)
        self.perturb(cheap)

    def is_perturbed(self, path: str) -> bool:
        """Whether the evidence on this module is ready."""
        return path in self.evidence.paths

    def verdict(self, path: str) -> Verdict:
        """What the perturbations say about this module's output."""
        if path not in self._verdicts:
            self._verdicts[path] = self._judged(path) if self.plausible(path) else self._why_not(path)
        return self._verdicts[path]

    def _judged(self, path: str) -> Verdict:
        first = self.evidence.verdict(path, self.flag)
        if first.proof != "proven" or first.agreement >= _CERTAIN:
            return first
        self.second.gather(self.evidence.paths)
        second = self.second.verdict(path, self.flag)
        agreement = min(first.agreement, second.agreement)
        if second.proof == "proven" and second.layout == first.layout:
            return replace(first, agreement=agreement)
        reason = f"some blocks speak for {first.layout} ({first.agreement:.2f}), others do not ({second.agreement:.2f})"
        return Verdict(first.layout, "unproven", reason, agreement)

    def _why_not(self, path: str) -> Verdict:
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
    images = perturbation(*size)
    network: nn.Module = model.module
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        network = cast(nn.Module, network.module)  # hooks see the module itself, not its replicas

    def feed(batch: Tensor) -> Any:
        try:
            return network(batch.to(device, dtype))
        except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
            raise ModelError(
                f"the model fails on images of {size[0]} channels and {size[1]}x{size[2]} pixels: {error}. "
                "If it wants another size, say so with --input-size."
            ) from error

    with freeze(model.module), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)  # a model that draws at random draws the same for every probing image
        with warmed_up(model.module) as warmed:
            recorded = record(model.module, feed, images.images[:1].to(device, dtype), _scorer(model, needs_gradient))
            yield Study(model, recorded, warmed, flag, Evidence.of(model.module, images, feed, recorded.visits))


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
