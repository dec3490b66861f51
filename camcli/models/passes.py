"""What makes every pass of a model a function of the image and a seed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from camcli.capture.frozen import copied_buffers
from camcli.randomness import seeded


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
            lines.append(
                "the output for an image depends on the others of its batch (batch norms without running statistics, a "
                "mean over the batch): one image at a time"
            )
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
