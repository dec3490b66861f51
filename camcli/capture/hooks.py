"""Forward hooks by the paths of modules, removed when the block ends.

A module that runs several times in a pass has a path for each call: ``encoder@1`` is the first call of ``encoder``.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

CALL = "@"
"""Between the path of a module and the number of its call in a pass, from 1."""


def split_call(path: str) -> tuple[str, int | None]:
    """``encoder@2`` → ``("encoder", 2)``; the number is None where all calls are meant."""
    base, mark, number = path.rpartition(CALL)
    return (base, int(number)) if mark and number.isdecimal() else (path, None)


def module_at(root: nn.Module, path: str) -> nn.Module:
    """The module of a canonical path, with or without a call."""
    return root.get_submodule(split_call(path)[0])


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
        paths: canonical paths of the modules; a path that comes twice counts once. Of a path with a call, only that
            call of each pass of the root counts.
        leave: called with the path and the output; what it returns, unless None, replaces the output.
        enter: called with the path before all other hooks of the module.
    """
    with ExitStack() as hooks:
        for path in dict.fromkeys(paths):
            if split_call(path)[1] is not None:
                _hook_one_call(module, path, leave, enter, hooks)
                continue
            part = module.get_submodule(path)
            if enter is not None:
                before = part.register_forward_pre_hook(lambda _module, _args, path=path: enter(path), prepend=True)
                hooks.callback(before.remove)
            after = part.register_forward_hook(lambda _module, _args, output, path=path: leave(path, output))
            hooks.callback(after.remove)
        yield


def _hook_one_call(
    root: nn.Module,
    path: str,
    leave: Callable[[str, Any], Any],
    enter: Callable[[str], object] | None,
    hooks: ExitStack,
) -> None:
    part, (_, wanted) = module_at(root, path), split_call(path)
    calls = 0

    def start(*_: Any) -> None:
        nonlocal calls
        calls = 0

    def before(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == wanted and enter is not None:
            enter(path)

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        return leave(path, output) if calls == wanted else None

    inner = getattr(root, "module", None)  # DataParallel and its kind: a pass may begin at the module inside
    for beginning in (root, inner) if isinstance(inner, nn.Module) else (root,):
        hooks.callback(beginning.register_forward_pre_hook(start, prepend=True).remove)
    hooks.callback(part.register_forward_pre_hook(before, prepend=True).remove)
    hooks.callback(part.register_forward_hook(after).remove)
