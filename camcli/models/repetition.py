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

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from camcli.capture import noise
from camcli.capture.frozen import copied_buffers
from camcli.capture.outputs import main_tensor
from camcli.errors import ModelError
from camcli.models.model import Model
from camcli.models.passes import RepeatablePasses
from camcli.randomness import Repetition, repeat

_ROUNDING = 1e-4
"""Of the largest output: two passes of a device may round so differently; in half precision 200 times as much."""


def make_repeatable(model: Model, seed: int) -> Model:
    """The model with passes, and preprocessing, that can be repeated; inside :meth:`camcli.models.Model.prepared`.

    Args:
        model: as it was loaded.
        seed: of the run.

    Raises:
        ModelError: a model whose passes differ, whatever the seed.
    """
    preprocessing = model.preprocessing.seeded(seed)
    examined = _examine(model)
    uses_batch = any(isinstance(part, _BatchNorm) and part.running_mean is None for part in model.module.modules())
    changed, is_random = ((), False) if examined is None else (examined[1], examined[0].kind == "random")
    if not (changed or is_random or uses_batch):
        return replace(model, preprocessing=preprocessing)
    passes = RepeatablePasses(seed if is_random else None, changed, uses_batch)
    return replace(model, preprocessing=preprocessing, passes=passes)


def _examine(model: Model) -> tuple[Repetition[Tensor | None], tuple[str, ...]] | None:
    """What two equal passes showed, and the buffers that they changed; None where no pass succeeds."""
    image = noise(model.preprocessing, 1, model.device)
    changed: set[str] = set()

    def run() -> Tensor | None:
        with copied_buffers(model.module) as of_this_pass, torch.no_grad():
            tensor = main_tensor(model.module(image))
        changed.update(of_this_pass)
        return None if tensor is None else tensor.detach().clone()

    try:
        repetition = repeat(run, _agree)
    except Exception:  # a model can fail in any way: the verification of its layout runs it again and says why
        return None
    if repetition.kind == "unrepeatable":
        raise ModelError(
            f"model {model.name}: two passes of the same image give different outputs, and no seed of torch, NumPy or "
            "Python decides them. Its forward pass keeps a state outside its buffers (a counter, a list), or has a "
            "random generator or a clock of its own, so that results would depend on the order of the images or on "
            "chance. Remove that for evaluation mode, or draw from torch's own generator, which is seeded."
        )
    return repetition, tuple(sorted(changed))


def _agree(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape:
        return False
    if torch.equal(one, other):
        return True
    share = _ROUNDING * (1 if one.dtype in (torch.float32, torch.float64) else 200)
    one, other = one.float().nan_to_num(), other.float().nan_to_num()
    return float((one - other).abs().max()) <= share * float(one.abs().max())
