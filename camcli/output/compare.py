"""What differs between the run that a folder holds and the run that is requested."""

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from camcli.config.choice import is_choice_for, with_choice
from camcli.config.settings import BEST, SETTINGS, RunConfig
from camcli.output.jsontext import strict_json
from camcli.schemas.index import Header

_SECTIONS = ("config", "model", "layers", "methods")

_WITHOUT_EFFECT = frozenset(f"config.{name}" for name, declared in SETTINGS.items() if declared.affects == "nothing")

_LONGEST_VALUE = 88
_MOST_LISTED = 12
_CONTEXT = 12


def is_same_run(recorded: Header, header: Header) -> bool:
    """Whether a run folder can be continued: the same fingerprints, and the same list of sources."""
    return _identity(_plain(recorded)) == _identity(_plain(header))


def could_be_same_run(recorded: Header, config: RunConfig) -> bool:
    """Whether a run folder may be of the run that these settings describe, as far as can be told before it is prepared.

    What is ``auto``, left out or ``best`` in the settings may have become anything; what ``--method best`` became in a
    trial is recorded.
    """
    choice = recorded.get("chosen_method")
    if BEST in config.method and choice is not None:
        if not is_choice_for(choice, config):
            return False
        config = with_choice(config, choice)
    for name, earlier in (recorded.get("config") or {}).items():
        if name not in SETTINGS or SETTINGS[name].affects == "nothing":
            continue
        value = getattr(config, name)
        value = list(value) if isinstance(value, tuple) else value
        is_open = value in ("auto", None) or (isinstance(value, list) and BEST in value)
        if not is_open and str(earlier) != str(value):
            return False
    return True


def differences(recorded: Header, header: Header) -> list[str]:
    """One line for each setting that differs, ``config.method: "gradcam" → "layercam"``; at least one.

    Meant for headers for which :func:`is_same_run` is False.
    """
    changed = _find_changes(recorded, header, _SECTIONS)
    if not changed:  # equal settings, but not what they led to: the code of a factory, the version of a library
        changed = _find_changes(recorded, header, ("fingerprint", "render_fingerprint", "environment"))
    return [f"{key}: {_describe_change(*values)}" for key, values in changed.items()]


def first_differences(recorded: Header, header: Header) -> list[str]:
    """As :func:`differences`, at most so many as a message can list."""
    lines = differences(recorded, header)
    if len(lines) > _MOST_LISTED:
        lines[_MOST_LISTED:] = [f"and {len(lines) - _MOST_LISTED} more"]
    return lines


def _find_changes(
    recorded: Mapping[str, Any], header: Mapping[str, Any], sections: tuple[str, ...]
) -> dict[str, tuple[Any, Any]]:
    before, now = dict(_flat(_plain(recorded), sections)), dict(_flat(_plain(header), sections))
    keys = [key for key in before | now if key not in _WITHOUT_EFFECT]
    return {key: (before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)}


def _identity(header: Mapping[str, Any]) -> tuple[Any, ...]:
    sources = (header.get("config") or {}).get("image_path")
    return header.get("fingerprint"), header.get("render_fingerprint"), sources


def _plain(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header as it is after writing and reading: lists for tuples, text for paths."""
    return dict(json.loads(strict_json(dict(header))))


def _flat(header: Mapping[str, Any], sections: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for section in sections:
        yield from _flat_below(section, header.get(section))


def _flat_below(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat_below(f"{name}.{key}", part)
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        for index, part in enumerate(value):
            yield from _flat_below(f"{name}[{index}]", part)
    else:
        yield name, value


def _describe_change(before: Any, now: Any) -> str:
    """``before → now``; of long values the part where they begin to differ."""
    texts = [strict_json(value).decode() for value in (before, now)]
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
    start = same - _CONTEXT if same > _LONGEST_VALUE - _CONTEXT else 0
    return " → ".join(_cut(text, start) for text in texts)


def _cut(text: str, start: int) -> str:
    part = text[start : start + _LONGEST_VALUE]
    return ("…" if start else "") + part + ("…" if start + len(part) < len(text) else "")
