"""Why ``--method best`` chose the method of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SOURCES = {
    "trial": "measured on images of this run", "default": "the default, as nothing was measured",
    "evaluation": "read from eval.json",
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What the page says of it.

    Attributes:
        name: of the method, with its options.
        summary: one line.
        facts: (what, value).
        candidates: best first: method, forward passes of a map, Insertion − Deletion with its interval.
        excluded: method, reason.
    """

    name: str
    summary: str
    facts: Sequence[tuple[str, str]]
    candidates: Sequence[tuple[str, str, str]]
    excluded: Sequence[tuple[str, str]]


def choice_of(header: Mapping[str, Any]) -> Choice | None:
    """The choice that a header records; None where the method was named."""
    chosen = header.get("chosen_method")
    if not chosen:
        return None
    name, why = name_of(chosen["method"], chosen["options"]), list(chosen["why"])
    facts = [
        ("layers", "+".join(chosen.get("layer") or ())),
        ("how", _SOURCES.get(chosen["source"], chosen["source"])), *(("why", line) for line in why),
        ("asked for", _requested(chosen["requested"])),
        ("budget", "" if chosen["budget"] is None else f"{chosen['budget']} forward passes a map"),
        ("trial", _trial(chosen)),
    ]  # fmt: skip
    return Choice(
        name,
        ". Why: ".join([f"--method best chose {name}", *why[:1]]),
        [(what, value) for what, value in facts if value],
        [(name_of(one["method"], one["options"]), _number(one["passes"]), _value(one)) for one in chosen["candidates"]],
        [(name_of(one["method"], one["options"]), one["reason"]) for one in chosen["excluded"]],
    )


def name_of(method: str, options: Sequence[str]) -> str:
    """A method with those of the options (``METHOD.KEY=VALUE``) that are its own."""
    own = [text.removeprefix(f"{method}.") for text in options if text.startswith(f"{method}.")]
    return f"{method} ({', '.join(own)})" if own else method


def _requested(requested: Mapping[str, Sequence[str]]) -> str:
    words = [f"--method {','.join(requested['method'])}", *(f"--option {text}" for text in requested["option"])]
    return " ".join(words)


def _trial(chosen: Mapping[str, Any]) -> str:
    trial = chosen["trial"]
    if trial is None:
        return ""
    images = f"{len(chosen['images'])} images" if len(chosen["images"]) != 1 else "1 image"
    return f"{images}, {trial['passes']:,} forward passes, {trial['seconds']:.1f} s, before the first map"


def _value(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "not measured"
    interval = "" if one["interval"] is None else f" [{_signed(one['interval'][0])}, {_signed(one['interval'][1])}]"
    return f"{_signed(one['value'])}{interval}"


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _number(value: float | None) -> str:
    return "not counted" if value is None else f"{value:g}"
