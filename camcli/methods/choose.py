"""From what was typed to methods and their options."""

from collections.abc import Sequence
from typing import Any

from camcli.errors import MethodError, did_you_mean
from camcli.methods.base import Method
from camcli.methods.registry import METHODS


def find_method(key: str) -> Method:
    """The method of this key, in any case.

    Raises:
        MethodError: there is none; with the keys most like it.
    """
    method = METHODS.get(key.strip().lower())
    if method is None:
        raise MethodError(f"unknown method {key!r}.{did_you_mean(key, METHODS)} `cam methods` lists them all.")
    return method


def parse_options(methods: Sequence[Method], texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The options of every method: what was typed, and the defaults of the rest.

    Args:
        methods: those of the run.
        texts: ``METHOD.KEY=VALUE`` each; the last one of a key wins.

    Raises:
        MethodError: malformed, an unknown method or key, a value the option does not take, or an option of a method
            that the run does not use.
    """
    values = {method.key: {option.key: option.default for option in method.options} for method in methods}
    typed: dict[str, set[str]] = {method.key: set() for method in methods}
    for text in texts:
        name, dot, rest = text.partition(".")
        key, equals, value = rest.partition("=")
        if not (dot and equals):
            raise MethodError(f"--option {text}: write METHOD.KEY=VALUE, for example randomcam.key=value.")
        method = find_method(name)
        key = key.strip().replace("-", "_")
        options = {option.key: option for option in method.options}
        if key not in options:
            has = f"It has {', '.join(options)}." if options else "It has no options."
            raise MethodError(f"--option {text}: {method.key} has no option {key!r}.{did_you_mean(key, options)} {has}")
        if method.key not in values:
            raise MethodError(f"--option {text}: {method.key} is not among the methods of this run (--method).")
        values[method.key][key] = options[key].parse(value.strip(), method.key)
        typed[method.key].add(key)
    for method in methods:
        own = values[method.key]
        for option in method.options:
            if option.preset is not None and own[option.key]:
                own |= {key: value for key, value in option.preset.items() if key not in typed[method.key]}
    return values
