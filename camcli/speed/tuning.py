"""The one place where a run speeds its model up, and restores it.

Convolutions get their weights in channels-last memory, and batch norms are folded into the convolutions before them.
Both are verified: on noise the model must give the same outputs as before, else it runs unchanged. That costs three
passes of one image.
"""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from camcli.capture.frozen import is_compiled
from camcli.capture.hooks import hook_calls
from camcli.capture.noise import noise
from camcli.device import number_format
from camcli.errors import is_out_of_memory
from camcli.speed.dataflow import find_pairs, tensors_in
from camcli.speed.fold import fold

TOLERANCE = 1e-4
"""By how much folding may change an output, relative to its largest value."""
ROUNDING = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
"""By how much another memory format may, which does no more than sum in another order."""
_MAGNIFIED = 4.0
"""A model may magnify rounding: folding may then change its outputs so many times as much as the memory format does."""
SLOWER = "the model gives other outputs with its images in channels-last memory; it runs in contiguous memory, slower"


class TunedModel(Protocol):
    """The part of a loaded model that is needed here."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def preprocessing(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def weights_sha256(self) -> str: ...


@dataclass(frozen=True)
class Tuning:
    """What was done to a model.

    Attributes:
        channels_last: its convolutions have their weights in channels-last memory.
        inputs: the memory format of its inputs.
        folded: batch norms folded into convolutions.
        compiled: the prefix of the network is compiled.
        notes: what the user should know.
    """

    channels_last: bool = False
    inputs: torch.memory_format = torch.channels_last
    folded: int = 0
    compiled: bool = False
    notes: tuple[str, ...] = ()

    def arrange(self, inputs: Tensor) -> Tensor:
        """A batch (N, C, H, W) in the memory format that suits the model; the values are the same."""
        return inputs.contiguous(memory_format=self.inputs)


@contextmanager
def tune(model: TunedModel, watched: Collection[str] = (), *, folding: bool = True) -> Iterator[Tuning]:
    """Inside, the model runs faster with the same outputs; afterwards it is bit for bit as before.

    Args:
        model: on its device, in eval mode, its parameters without gradients (:meth:`camcli.models.Model.prepared`).
        watched: paths of the modules whose output is read; folding leaves it the same.
        folding: fold batch norms; not for methods that read the parameters of single modules.
    """
    _ = model.weights_sha256  # cached before anything changes: the run records the weights as they were loaded
    if getattr(getattr(model, "passes", None), "seed", None) is not None:
        # Random numbers fall on other values in another memory format: outputs cannot be compared.
        yield Tuning(inputs=torch.contiguous_format)
        return
    module = model.module
    run = partial(_run, module, watched)
    image = noise(model.preprocessing, 1, model.device)
    before: list[Tensor] = []
    with number_format("fp32"):
        plain = is_plain(module)
        pairs = find_pairs(module, lambda: before.extend(run(image)), watched) if folding and plain else []
        before = before or run(image)
    convolutional = plain and sum(isinstance(part, nn.Conv2d) for part in module.modules()) > 1
    last = image.contiguous(memory_format=torch.channels_last)
    with ExitStack() as undo:
        if convolutional:
            _to_channels_last(module, undo)
        # How far outputs change by rounding alone is the measure for folding, which also rounds differently.
        rounding = _deviation(before, run, last)
        if rounding <= ROUNDING.get(before[-1].dtype, 0.0):
            with ExitStack() as unfold:
                folded = fold(module, pairs, unfold)
                if folded and _deviation(before, run, last) > max(TOLERANCE, _MAGNIFIED * rounding):
                    unfold.close()
                    folded = 0
                yield Tuning(convolutional, torch.channels_last, folded)
                return
    yield Tuning(inputs=torch.contiguous_format, notes=(SLOWER,))


def _run(module: nn.Module, watched: Collection[str], inputs: Tensor) -> list[Tensor]:
    """The outputs of the watched modules and of the whole, of one pass in float32."""
    outputs: list[Tensor] = []

    def keep(_path: str, output: Any) -> None:
        outputs.extend(tensor.detach().clone() for tensor in tensors_in(output))

    with hook_calls(module, watched, keep), torch.no_grad():
        outputs.extend(tensors_in(module(inputs)))
    return outputs


def _deviation(before: list[Tensor], run: Callable[[Tensor], list[Tensor]], inputs: Tensor) -> float:
    """How far the outputs are from those before, each relative to its largest value; infinite for other outputs."""
    try:
        with number_format("fp32"):
            now = run(inputs)
    except RuntimeError as error:  # the model takes a view that channels-last memory does not allow
        if is_out_of_memory(error):
            raise
        return math.inf
    if len(now) != len(before):
        return math.inf
    return max(map(distance, before, now), default=0.0)


def distance(before: Tensor, now: Tensor) -> float:
    """The largest difference, relative to the largest value before; infinite for another shape or other NaN."""
    if before.shape != now.shape or not torch.equal(before.isnan(), now.isnan()):
        return math.inf
    change = (before.float() - now.float()).nan_to_num().abs()
    largest = before.float().nan_to_num().abs()
    return float(change.max() / largest.max().clamp(min=1e-30)) if change.numel() else 0.0


def is_plain(module: nn.Module) -> bool:
    """Whether all of it runs as written: nothing scripted, compiled or copied to several devices."""
    return not is_compiled(module) and not any(
        isinstance(part, (torch.jit.ScriptModule, nn.DataParallel)) for part in module.modules()
    )


def _to_channels_last(module: nn.Module, undo: ExitStack) -> None:
    """Put the weights of convolutions into channels-last memory; the values stay."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and isinstance(part._parameters.get("weight"), nn.Parameter):
            weight = part.weight
            undo.callback(setattr, weight, "data", weight.data)
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
