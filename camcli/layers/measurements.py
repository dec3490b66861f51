"""Everything that is measured about a model's layers, in one place and no more than is asked for.

One recorded pass, one batch of perturbed images per set of layers, and gradients from the recorded graph on demand:
choosing and verifying a layer costs about eight forward passes of one image, up to twice that for tiny networks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from camcli.capture.failures import describe_failed_batch
from camcli.capture.frozen import freeze
from camcli.capture.hooks import split_call
from camcli.capture.programs import WITHOUT_PARTS
from camcli.errors import CamError, ModelError, is_out_of_memory
from camcli.layers.activation_change import KEEP_BYTES
from camcli.layers.calls import describe_calls
from camcli.layers.evidence import Evidence
from camcli.layers.initialise import initialise_untrained
from camcli.layers.layout import LayoutFlag
from camcli.layers.layout_verification import Verification
from camcli.layers.perturb import perturb_elsewhere, perturb_image
from camcli.layers.probe import Feed, PassError, ProbedModel, Record, record
from camcli.layers.scores import are_saturated, scorer
from camcli.user_code import describe_failure

_CERTAIN = 0.85  # agreement below which a layout is verified with other blocks as well
_SCALES = (1.0, 0.25, 0.25)  # of the image, one after the other, where the model is certain of it beyond rounding
_IN_ADVANCE = 4 << 20  # bytes of activations that may be kept in any case before they are asked for
_NO_GRADIENT = 1e-9  # of the largest gradient anywhere in the activation


@dataclass
class LayerMeasurements:
    """What is measured about a model's layers; made by :func:`measure_layers`.

    Attributes:
        model: the model.
        record: the recorded pass.
        is_untrained: the network was initialised for the measurements.
        flag: the user's ``--layout``.
        evidence: the batch of perturbed images.
        feed: runs the network on a batch of images.
        failed_backward: what a backward pass raised, after which no layer has a gradient.
    """

    model: ProbedModel
    record: Record
    is_untrained: bool
    flag: LayoutFlag
    evidence: Evidence
    feed: Feed
    failed_backward: str | None = None
    _verifications: dict[str, Verification] = field(default_factory=dict)
    _gradients: dict[str, Tensor | None] = field(default_factory=dict)

    @cached_property
    def second(self) -> Evidence:
        """Other blocks, for where the first are not conclusive."""
        return self.evidence.with_other_blocks(perturb_elsewhere(self.evidence.perturbation))

    def is_plausible(self, path: str) -> bool:
        """Whether the module ran exactly once and its output's shape has a layout."""
        visit = self.record.visits[path]
        if visit.calls != 1 or visit.shape is None or visit.shape[0] != 1:
            return False
        return self.evidence.verifier.has_candidates(visit.shape)

    def perturb(self, paths: Sequence[str]) -> None:
        """Have the evidence on all these modules ready, for the price of one batch."""
        self.evidence.gather(path for path in paths if self.is_plausible(path))

    def perturb_in_advance(self, paths: Sequence[str]) -> None:
        """The same for the first of these, as far as that costs little, since not all of them may be asked for.

        Those that would need another pass of the unperturbed image wait until they are asked for. Keeping activations
        costs time too, so no more bytes are kept than a pass of one image writes.
        """
        visits = self.record.visits.items()
        sizes = {path: own.nbytes for path, visit in visits if (own := visit.reference) is not None}
        budget = min(KEEP_BYTES, max(_IN_ADVANCE, sum(sizes.values())))
        cheap = list(paths[:1])
        for path in paths[1:]:
            size = sizes.get(path, budget) * len(self.evidence.perturbation.images)
            if size < budget:
                budget -= size
                cheap.append(path)
        self.perturb(cheap)

    def is_perturbed(self, path: str) -> bool:
        """Whether the evidence on this module is ready."""
        return path in self.evidence.paths

    def verify(self, path: str) -> Verification:
        """What the perturbations show about the layout of this module's output."""
        if path not in self._verifications:
            self._verifications[path] = self._verify(path) if self.is_plausible(path) else self._refuse(path)
        return self._verifications[path]

    def _verify(self, path: str) -> Verification:
        first = self.evidence.verify(path, self.flag)
        if first.proof != "proven" or first.agreement >= _CERTAIN:
            return first
        self.second.gather(self.evidence.paths)
        second = self.second.verify(path, self.flag)
        agreement = min(first.agreement, second.agreement)
        if second.proof == "proven" and second.layout == first.layout:
            return replace(first, agreement=agreement)
        reason = (
            f"some blocks agree with {first.layout} ({first.agreement:.2f}), others do not ({second.agreement:.2f})"
        )
        return Verification(first.layout, "unproven", reason, agreement)

    def _refuse(self, path: str) -> Verification:
        visit = self.record.visits[path]
        if visit.calls == 0:
            is_scripted = isinstance(visit.module, torch.jit.ScriptModule)
            reason = f"is a TorchScript module, {WITHOUT_PARTS}" if is_scripted else self._never_runs(path)
            return Verification(None, "unproven", reason)
        if visit.calls > 1:
            return Verification(None, "unproven", describe_calls(visit))
        if visit.shape is None:
            return Verification(None, "refuted", "not spatial: returns no tensor")
        if visit.shape[0] > 1 and self.evidence.verifier.has_candidates((1, *visit.shape[1:])):
            several = f"returns {visit.shape[0]} maps for one image: several views or parts of it go through together"
            return Verification(None, "unproven", several)
        sizes = ", ".join(map(str, ("N", *visit.shape[1:])))
        return Verification(None, "refuted", f"not spatial: no grid fits the shape ({sizes})")

    def _never_runs(self, path: str) -> str:
        base, call = split_call(path)
        if call is None:
            return "never runs in a forward pass"
        calls = self.record.visits[base].calls
        return f"{base} runs {calls} time{'s' * (calls != 1)} per pass, so that it has no call {call}"

    def prepare_gradients(self, paths: Sequence[str]) -> None:
        """Have the gradients at all these modules' outputs ready, for the price of one backward pass."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._gradients]
        try:
            gradients = self.record.gradients(missing)
        except Exception as error:  # an operation of the user's can fail in any way
            if is_out_of_memory(error):
                raise
            self.failed_backward, gradients = describe_failure(error), [None] * len(missing)
        self._gradients.update(zip(missing, gradients, strict=True))

    def has_gradient(self, path: str) -> bool:
        """Whether the class score has a non-zero gradient at the spatial positions of this module's output.

        At any position where there is no layout.
        """
        self.prepare_gradients([path])
        return _is_nonzero(self._gradients[path], self.verify(path))

    def scores_of_another_image(self) -> Tensor | None:
        """The scores of an image that has nothing in common with the recorded one; None where the model fails on it."""
        try:
            with torch.no_grad():
                return self.model.logits(self.feed(self.evidence.perturbation.images[-1:])).float()
        except ModelError:
            return None

    def has_image_gradient(self) -> bool:
        """Whether the class score has a gradient at the image itself."""
        try:
            gradient = self.record.image_gradient()
        except Exception as error:  # an operation of the user's can fail in any way
            if is_out_of_memory(error):
                raise
            return False
        return gradient is not None and bool(gradient.any())


@contextmanager
def measure_layers(
    model: ProbedModel,
    flag: LayoutFlag,
    needs_gradient: bool = True,
    calls: Sequence[str] = (),
    batch_size: int | None = None,
) -> Iterator[LayerMeasurements]:
    """Measure the layers of a model; its module is restored afterwards.

    Args:
        model: module, preprocessing and logits.
        flag: the user's ``--layout``.
        needs_gradient: False where encoders without class scores are welcome.
        calls: paths of single calls of modules that run several times (``encoder@1``), to be measured as well.
        batch_size: images that go through the model at once, at most; None: as many as are the fastest.

    Raises:
        ModelError: the output holds no logits and ``needs_gradient`` is true; the model fails.
        PassError: among these, a pass that fails.
    """
    shape = model.preprocessing
    size = (shape.channels, shape.height, shape.width)
    parameter = next((p for p in model.module.parameters() if p.is_floating_point()), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    dtype = parameter.dtype if parameter is not None else torch.float32
    perturbation = perturb_image(*size)
    network: nn.Module = model.module
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        network = cast(nn.Module, network.module)  # hooks see the module itself, not its replicas

    def feed(batch: Tensor) -> Any:
        try:
            return network(batch.to(device, dtype))
        except CamError:
            raise
        except Exception as error:  # a user's module can fail in any way
            if is_out_of_memory(error):
                raise
            message, failure = describe_failed_batch(error, batch.shape), error.with_traceback(None)
        # Outside the handler and without the traceback, which hold the frames, and so the activations, of what failed.
        if len(batch) > 1:
            single = next((own for image in torch.split(batch, 1) if (own := failure_of(image)) is not None), None)
            if single is not None:  # not since there are several
                raise PassError(single, 1) from failure
        raise PassError(message, len(batch)) from failure

    def failure_of(image: Tensor) -> str | None:
        try:
            network(image.to(device, dtype))
        except Exception as error:  # as above
            if is_out_of_memory(error):
                raise
            return describe_failed_batch(error, image.shape)
        return None

    with freeze(model.module), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)  # a model that draws at random draws the same for every perturbed image
        with initialise_untrained(model.module) as is_untrained:
            for scale in _SCALES:
                perturbation = replace(perturbation, images=perturbation.images * scale)
                image = perturbation.images[:1].to(device, dtype)
                recorded = record(model.module, feed, image, scorer(model, needs_gradient), calls)
                if not are_saturated(model, recorded):
                    break
            evidence = Evidence.of(model.module, perturbation, feed, recorded.visits, batch_size)
            yield LayerMeasurements(model, recorded, is_untrained, flag, evidence, feed)


def _is_nonzero(gradient: Tensor | None, verification: Verification) -> bool:
    if gradient is None or not bool(gradient.isfinite().all()):
        return False
    size = gradient.detach().abs()
    layout = verification.layout
    spatial = layout.to_maps(size) if layout is not None and layout.fits(tuple(size.shape)) else size
    return bool(spatial.max() > _NO_GRADIENT * size.max())
