"""Forward hooks by the paths of modules, removed when the block ends."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn


@contextmanager
def hook_calls(
    module: nn.Module,
    paths: Iterable[str],
    leave: Callable[[str, Any], Any],
    enter: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """Inside, functions are called whenever one of these modules is called.

    Args:
        module: the root.
        paths: canonical paths of the modules; a path that comes twice counts once.
        leave: called with the path and the output; what it returns, unless None, replaces the output.
        enter: called with the path before all other hooks of the module.
    """
    with ExitStack() as hooks:
        for path in dict.fromkeys(paths):
            part = module.get_submodule(path)
            if enter is not None:
                before = part.register_forward_pre_hook(lambda _module, _args, path=path: enter(path), prepend=True)
                hooks.callback(before.remove)
            after = part.register_forward_hook(lambda _module, _args, output, path=path: leave(path, output))
            hooks.callback(after.remove)
        yield
