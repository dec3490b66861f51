"""A method's own options: ``--option METHOD.KEY=VALUE``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camcli.errors import MethodError


@dataclass(frozen=True)
class Option:
    """One option of a method.

    Attributes:
        key: what is typed behind the method's name and a dot.
        default: its value where none is typed; None means "no limit" or "chosen by the method".
        help: one line.
        kind: ``int``, ``float`` or ``str``.
        choices: the only values allowed; empty: any.
        least, most: bounds of a number, both allowed.
        check: for what the other fields cannot say: takes the text, returns the value or raises ``ValueError``.
        preset: where the value is true, the defaults of other options by key; what was typed for them remains.
    """

    key: str
    default: Any
    help: str
    kind: type[int] | type[float] | type[str] = str
    choices: Sequence[str] = ()
    least: float | None = None
    most: float | None = None
    check: Callable[[str], Any] | None = None
    preset: Mapping[str, Any] | None = None

    def parse(self, text: str, method: str) -> Any:
        """The value of what was typed.

        Raises:
            MethodError: naming the option and the values it takes.
        """
        try:
            value = self.check(text) if self.check is not None else self.kind(text)
        except ValueError as error:
            raise self._refusal(text, method) from error
        if self.choices and value not in self.choices:
            raise self._refusal(text, method)
        if self.kind is not str and self.check is None and not self._within(float(value)):
            raise self._refusal(text, method)
        return value

    def expects(self) -> str:
        """The values it takes, for people."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind is str:
            return self.help
        noun = "a whole number" if self.kind is int else "a number"
        low = "" if self.least is None else f" from {self.least:g}"
        return noun + low + ("" if self.most is None else f" to {self.most:g}")

    def as_json(self) -> dict[str, Any]:
        """What ``cam methods --json`` prints."""
        return {"key": self.key, "default": self.default, "values": self.expects(), "help": self.help}

    def _within(self, value: float) -> bool:
        low = float("-inf") if self.least is None else self.least
        high = float("inf") if self.most is None else self.most
        return low <= value <= high and abs(value) != float("inf")  # NaN is within nothing

    def _refusal(self, text: str, method: str) -> MethodError:
        return MethodError(f"--option {method}.{self.key}={text}: give {self.expects()}.")


def parse_switch(text: str) -> bool:
    """``true`` or ``false``, in any case; a ``check`` of an option."""
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]
