"""What is declared with each field of the settings; flags, files, checks and fingerprints are derived from it."""

import dataclasses
import math
import os
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, SupportsFloat, SupportsIndex, get_args, get_origin, get_type_hints

from camcli.config.parse import flag
from camcli.errors import ConfigError, did_you_mean

Effect = Literal["maps", "pictures", "nothing"]
"""What another value changes: the maps; only how they are drawn and listed; neither of them. A run folder is continued
with other values of the last kind only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """One field of the settings.

    Attributes:
        name: of the field; the flag has dashes for underscores.
        kind: ``str``, ``int``, ``float``, ``bool`` or ``tuple`` (of strings).
        default: value without the flag.
        help: what the flag does, for ``--help``.
        affects: what another value changes.
        resolved: a fingerprint holds what becomes of the setting (the hash of the weights, the path of the layer)
            instead of the setting itself.
        group: the panel of ``--help``, and which commands have the flag.
        metavar: placeholder of the value in ``--help``.
        short: short form of the flag.
        synonyms: names in other tools, for which this one is suggested.
        choices: the only values allowed; empty: any.
        aliases: names of these choices in other tools, for which they are suggested.
        least, most: bounds of a number, both allowed.
        path: a path that is read (``input``) or written (``output``).
        comma: a tuple whose flag also takes a comma list; a value counts once.
        separator: between the parts when a value that is kept as text is given as a sequence.
        quoted: a part with the separator in it is then kept in double quotes, as in CSV.
    """

    name: str
    kind: type
    default: Any
    help: str
    affects: Effect
    resolved: bool = False
    group: str
    metavar: str = ""
    short: str | None = None
    synonyms: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    least: float = -math.inf
    most: float = math.inf
    path: Literal["input", "output"] | None = None
    comma: bool = False
    separator: str = ","
    quoted: bool = False

    def normalise(self, value: Any) -> Any:
        """The value as the settings keep it: lists as tuples of strings, numbers of text fields and paths as text."""
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if self.kind is tuple:
            items = [value] if isinstance(value, str) else [str(item) for item in value or ()]
            if not self.comma:
                return tuple(items)
            return tuple(dict.fromkeys(part.strip() for item in items for part in item.split(",") if part.strip()))
        if self.kind is str and isinstance(value, list | tuple):
            items = [str(item) for item in value]
            return self.separator.join(map(self._quote, items) if self.quoted else items)
        if self.kind is str and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        return value

    def _quote(self, text: str) -> str:
        is_plain = self.separator not in text and not text.startswith('"')
        return text if is_plain else '"' + text.replace('"', '""') + '"'

    def check(self, value: Any) -> None:
        """Check choices and bounds.

        Raises:
            ConfigError: naming the flag, the value and what is allowed.
        """
        if value is None and self.default is None:
            return
        if self.kind is str and self.choices and value not in self.choices:
            listed = f" Choose one of {', '.join(self.choices)}." if len(self.choices) < 12 else ""
            meant = self.aliases.get(str(value).lower().removeprefix("torch."))
            hint = f" Did you mean {meant}?" if meant else did_you_mean(str(value), self.choices)
            raise ConfigError(f"{flag(self.name)} {value}: no such choice.{hint}{listed}")
        if self.kind in _WANTED and not self._is_of_kind(value):
            raise ConfigError(f"{flag(self.name)} {value}: must be {_WANTED[self.kind][1]}.")
        if self.kind in (int, float) and (value is None or not self.least <= value <= self.most):
            span = f"at least {self.least}" if self.most == math.inf else f"between {self.least} and {self.most}"
            raise ConfigError(f"{flag(self.name)} {value}: must be {span}.")

    def _is_of_kind(self, value: Any) -> bool:
        return isinstance(value, _WANTED[self.kind][0]) and isinstance(value, bool) == (self.kind is bool)


_WANTED: dict[type, tuple[type, str]] = {
    int: (SupportsIndex, "a whole number"), float: (SupportsFloat, "a number"), bool: (bool, "true or false"),
}  # fmt: skip
"""What a value of each kind has to be, and in words."""


def setting(default: Any, help: str, **declared: Any) -> Any:  # noqa: A002
    """Declare a field of the settings; ``declared`` are attributes of :class:`Declaration`."""
    return dataclasses.field(default=default, metadata={"help": help, **declared})


def declarations_of(config: type) -> dict[str, Declaration]:
    """The declarations of a dataclass whose fields are made by :func:`setting`, by name, in order."""
    types = get_type_hints(config)
    return {
        f.name: Declaration(name=f.name, kind=_kind(types[f.name]), default=f.default, **f.metadata)
        for f in dataclasses.fields(config)
    }


def _kind(annotation: Any) -> type:
    """``str | None`` → str, ``tuple[str, ...]`` → tuple."""
    parts = [part for part in get_args(annotation) if part is not NoneType] if NoneType in get_args(annotation) else []
    single = parts[0] if parts else annotation
    kind: type = get_origin(single) or single
    return kind
