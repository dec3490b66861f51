"""Dotted layer paths as users type them, and the canonical name of the module they lead to.

A path is a chain of child names; where a child is wanted by position, ``[-1]``, ``[2]`` or a bare ``-1`` counts among
the children in the order of registration. ``layer4``, ``layer4.2``, ``features[-1]``, ``blocks[-1].norm1`` and
``layers.-1.blocks.-1.norm1`` are all paths. The canonical path is the one ``named_modules()`` gives. Of a module that
runs several times in a pass, ``encoder@2`` is the second call.
"""

import re

from torch import nn

from camcli.capture.hooks import CALL, split_call
from camcli.errors import LayerError, did_you_mean

_INDEX = re.compile(r"\[\s*(['\"]?)([^\]'\"]+)\1\s*\]")
_WRAPPERS = ("module", "_orig_mod")  # the attribute behind which DataParallel, DDP and torch.compile keep the model


def find_module(module: nn.Module, path: str) -> tuple[str, nn.Module]:
    """The module a typed path leads to.

    Args:
        module: the root.
        path: a path as described above; the wrappers of DataParallel and ``torch.compile`` may be left out.

    Returns:
        The canonical path and the module.

    Raises:
        LayerError: nothing is there; the message names what is, nearest first.
    """
    base, call = split_call(path)
    if call == 0:
        raise LayerError(f"--layer {path}: calls are counted from 1, as in {base}@1.")
    parts = split_path(base)
    if not parts:
        raise LayerError(f"--layer {path!r} names no module: give a path such as layer4 or blocks[-1].norm1, or auto.")
    current, names = module, [""]
    for part in parts:
        child = _child(current, part)
        while child is None and (inner := _unwrap(current)) is not None:
            current = inner
            child = _child(current, part)
        if child is None:
            raise LayerError(_not_found(module, path, part, names[-1], current))
        current = child
        names.append(f"{names[-1]}.{part}" if names[-1] else part)
    canonical = _canonical(module, current)
    return canonical if call is None else f"{canonical}{CALL}{call}", current


def split_path(path: str) -> list[str]:
    """``layers[-1].blocks.-1`` → ``['layers', '-1', 'blocks', '-1']``."""
    return [part.strip() for part in _INDEX.sub(r".\2", path).split(".") if part.strip()]


def _child(parent: nn.Module, part: str) -> nn.Module | None:
    by_name = {name: child for name, child in parent._modules.items() if child is not None}  # shared children too
    if part in by_name:
        return by_name[part]
    if re.fullmatch(r"-?\d+", part):
        children, index = list(by_name.values()), int(part)
        if -len(children) <= index < len(children):
            return children[index]
    return None


def _unwrap(parent: nn.Module) -> nn.Module | None:
    children = list(parent.named_children())
    return children[0][1] if len(children) == 1 and children[0][0] in _WRAPPERS else None


def _canonical(root: nn.Module, module: nn.Module) -> str:
    names: dict[int, str] = {id(module): name for name, module in root.named_modules()}
    return names[id(module)]


def _not_found(root: nn.Module, path: str, part: str, at: str, parent: nn.Module) -> str:
    children = [name for name, _ in parent.named_children()]
    where = f"{at!r} ({type(parent).__name__})" if at else f"the model ({type(parent).__name__})"
    if not children:
        has = "has no children"
    else:
        shown = children if len(children) <= 8 else [*children[:4], "…", *children[-3:]]
        has = f"has {', '.join(shown)}"
    names = [name for name, _ in root.named_modules() if name]
    normal = ".".join(split_path(path))
    return f"no layer {path!r}: {where} {has}, not {part!r}.{did_you_mean(normal, names)}"
