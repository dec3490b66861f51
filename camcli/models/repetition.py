"""Models whose output depends on more than the image: found out by two equal passes, and made repeatable.

=============================  =========================================================================================
in the forward pass            what is done
=============================  =========================================================================================
random numbers                 one image at a time; every pass of it starts from a seed of its content and ``--seed``
buffers that change            one image at a time; every pass starts from the buffers as they were loaded
batch statistics               one image at a time
a state or generator that is   refused: results would depend on the order of the images, or on chance
out of reach
=============================  =========================================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from camcli.capture.frozen import copied_buffers
from camcli.capture.outputs import tensors_in
from camcli.errors import ModelError
from camcli.models.model import Model
from camcli.models.passes import RepeatablePasses
from camcli.randomness import Kind, repeat, watch_draws

_ROUNDING = 1e-4
"""Of the largest output: two passes of a device may round so differently; in half precision 200 times as much."""


@dataclass(frozen=True)
class RepeatedPass:
    """What two equal passes of a model gave.

    Attributes:
        images: that went in, (N, C, H, W).
        first, second: what the module returned.
        kind: whether they can be repeated, see :class:`camcli.randomness.Repetition`.
        changed: paths of the buffers that a pass changes.
        uses_batch: whether an image's output depends on the others of its batch.
        rows: of the output of two images; None where that was not tried, or fails.
    """

    images: Tensor
    first: object
    second: object
    kind: Kind
    changed: tuple[str, ...]
    uses_batch: bool = False
    rows: int | None = None


def run_beside(
    model: Model,
    images: Tensor,
    alone: Tensor,
    run: Callable[[], object],
    as_rows: Callable[[object], Tensor | None],
) -> RepeatedPass:
    """Run two images in one pass, of which the first has been run alone.

    Where all is equal, one pass has shown that it can be repeated, and that images do not depend on each other.

    Args:
        model: inside :meth:`camcli.models.Model.prepared`.
        images: (2, C, H, W).
        alone: the output of the first of them, (1, n).
        run: one pass of both, which returns what the module returned; None where it fails.
        as_rows: from that to (images, n).
    """
    with copied_buffers(model.module) as changed:
        output, is_drawing = watch_draws(run)
    rows = as_rows(output)
    count = None if rows is None else len(rows)
    is_equal = rows is not None and rows.shape == (len(images), alone.shape[1]) and _are_close(alone, rows[:1].detach())
    kind: Kind = "random" if is_drawing else "unrepeatable" if changed else "constant"
    uses_batch = count == len(images) and not is_equal
    return RepeatedPass(images, output, output, kind, tuple(sorted(changed)), uses_batch, count)


def repeat_pass(model: Model, image: Tensor, run: Callable[[], object]) -> RepeatedPass:
    """Run a pass twice; a third time where it draws random numbers.

    Args:
        model: inside :meth:`camcli.models.Model.prepared`.
        image: (1, C, H, W).
        run: one pass of it, which returns what the module returned.
    """
    changed: set[str] = set()

    def run_once() -> object:
        with copied_buffers(model.module) as of_this_pass:
            output = run()
        changed.update(of_this_pass)
        return output

    repetition = repeat(run_once, _agree)
    return RepeatedPass(image, repetition.first, repetition.second, repetition.kind, tuple(sorted(changed)))


def make_repeatable(model: Model, repeated: RepeatedPass, seed: int) -> Model:
    """The model with passes, and preprocessing, that can be repeated.

    Args:
        model: as it was loaded.
        repeated: what two of its passes gave.
        seed: of the run.

    Raises:
        ModelError: a model whose passes differ, whatever the seed.
    """
    if repeated.kind == "unrepeatable":
        raise ModelError(
            f"model {model.name}: two passes of the same image give different outputs, and no seed of torch, NumPy or "
            "Python decides them. Its forward pass keeps a state outside its buffers (a counter, a list), or has a "
            "random generator or a clock of its own, so that results would depend on the order of the images or on "
            "chance. Remove that for evaluation mode, or draw from torch's own generator, which is seeded."
        )
    model = replace(model, preprocessing=model.preprocessing.seeded(seed))
    is_random = repeated.kind == "random"
    has_batch_norm = any(isinstance(part, _BatchNorm) and part.running_mean is None for part in model.module.modules())
    uses_batch = repeated.uses_batch or has_batch_norm
    if not (repeated.changed or is_random or uses_batch):
        return model
    return replace(model, passes=RepeatablePasses(seed if is_random else None, repeated.changed, uses_batch))


def _agree(one: object, other: object) -> bool:
    pairs = list(tensors_in(one)), list(tensors_in(other))
    return len(pairs[0]) == len(pairs[1]) and all(
        _are_close(a.detach(), b.detach()) for a, b in zip(*pairs, strict=True)
    )


def _are_close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or torch.equal(one, other):
        return one.shape == other.shape
    share = _ROUNDING * (1 if one.dtype in (torch.float32, torch.float64) else 200)
    one, other = one.float().nan_to_num(), other.float().nan_to_num()
    return float((one - other).abs().max()) <= share * float(one.abs().max())
