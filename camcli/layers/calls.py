"""Modules that run several times in a pass, in words."""

from collections.abc import Sequence

from camcli.capture.hooks import CALL
from camcli.layers.probe import Visit


def describe_calls(visit: Visit) -> str:
    """Why a module that runs several times has no single activation, and what can be named instead."""
    choices = f"{visit.path}{CALL}1" + (" or " if visit.calls == 2 else " to ") + f"{visit.path}{CALL}{visit.calls}"
    return f"runs {visit.calls} times per pass, called by {_callers(visit.callers)}; name one of its calls: {choices}"


def _callers(paths: Sequence[str]) -> str:
    names = list(dict.fromkeys(path or "the model itself" for path in paths))
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
