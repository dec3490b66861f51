"""What ``--method best`` stands for, as a run records it: the record and the settings that it leads to."""

from collections.abc import Sequence
from dataclasses import replace

from camcli.config.settings import BEST, DEFAULT_BUDGET, RunConfig
from camcli.schemas.index import ChosenMethod, RequestedMethod


def budget_of(config: RunConfig) -> int:
    """Forward passes an image that the chosen method may cost."""
    return config.budget or DEFAULT_BUDGET


def requested_method(config: RunConfig) -> RequestedMethod:
    """What a choice is made for; the same request leads to the same choice in a run folder that is continued."""
    return {"method": list(config.method), "option": list(config.option)}


def is_choice_for(choice: ChosenMethod, config: RunConfig) -> bool:
    """Whether a recorded choice was made for what these settings ask."""
    budget = None if choice["source"] == "evaluation" and config.budget is None else budget_of(config)
    return choice["requested"] == requested_method(config) and choice["budget"] == budget


def with_choice(config: RunConfig, choice: ChosenMethod) -> RunConfig:
    """The settings with ``best`` replaced by the method that was chosen, and the options that it was chosen with.

    Options of candidates that were not chosen are dropped.
    """
    method = choice["method"]
    others = [name for name in config.method if name not in (BEST, method)]
    kept = [text for text in config.option if method_of_option(text) in others]
    pinned = choice["layer"] is not None and config.layer == ("auto",)
    return replace(
        config,
        method=replace_best(config.method, [method]),
        option=(*kept, *choice["options"]),
        layer=tuple(choice["layer"] or ()) if pinned else config.layer,
        budget=None,
    )


def method_of_option(text: str) -> str:
    """The key of the method that an option is of."""
    return text.partition(".")[0].strip().lower()


def replace_best(names: Sequence[str], best: Sequence[str]) -> tuple[str, ...]:
    """The names with ``best`` replaced in its place, each name once."""
    return tuple(dict.fromkeys(one for name in names for one in (best if name == BEST else (name,))))
