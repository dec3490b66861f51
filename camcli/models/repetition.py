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

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from camcli.capture import noise
from camcli.capture.frozen import copied_buffers
from camcli.capture.outputs import main_tensor
from camcli.errors import ModelError
from camcli.models.model import Model
from camcli.randomness import Repetition, repeat, seeded

_ROUNDING = 1e-4
"""Of the largest output: two passes of a device may round so differently; in half precision 200 times as much."""


@dataclass
class RepeatablePasses:
    """What makes every pass of a module a function of the image and a seed.

    Attributes:
        seed: from which the shared random generators start in every pass; None where it draws none.
        changed: paths of the buffers that a pass changes, of which every pass gets copies.
        uses_batch: whether an image's output depends on the others of its batch.
    """

    seed: int | None = None
    changed: tuple[str, ...] = ()
    uses_batch: bool = False
    _open: list[ExitStack] = field(default_factory=list, repr=False)

    @property
    def alone(self) -> bool:
        """Whether images must go through the model one at a time."""
        return self.uses_batch or bool(self.changed) or self.seed is not None

    @property
    def lines(self) -> tuple[str, ...]:
        """What is done, one line each."""
        lines = []
        if self.seed is not None:
            lines.append(
                "the model draws random numbers in its forward pass (dropout that stays on, noise): one image at a "
                "time, seeded by its content and --seed; another seed gives another result"
            )
        if self.changed:
            more = f" and {len(self.changed) - 3} more" if len(self.changed) > 3 else ""
            lines.append(
                f"the model changes its buffers in its forward pass ({', '.join(self.changed[:3])}{more}): one image "
                "at a time, each from the buffers as they were loaded"
            )
        if self.uses_batch:
            lines.append("the model has batch norms without running statistics: one image at a time")
        return tuple(lines)

    @contextmanager
    def of_image(self, seed: int) -> Iterator[None]:
        """Inside, passes start from the seed of an image."""
        before = self.seed
        if before is not None:
            self.seed = seed
        try:
            yield
        finally:
            self.seed = before

    @contextmanager
    def applied_to(self, module: nn.Module) -> Iterator[None]:
        """Inside, every pass of the module is so. May be nested."""
        with ExitStack() as undo:
            if self.seed is not None or self.changed:
                undo.callback(module.register_forward_pre_hook(self._enter, prepend=True).remove)
                undo.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            yield

    def _enter(self, module: nn.Module, _: Any) -> None:
        one_pass = ExitStack()
        if self.changed:
            one_pass.enter_context(copied_buffers(module, self.changed))
        if self.seed is not None:
            one_pass.enter_context(seeded(self.seed))
        self._open.append(one_pass)

    def _leave(self, *_: Any) -> None:
        if self._open:
            self._open.pop().close()


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
