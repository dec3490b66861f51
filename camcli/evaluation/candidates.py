"""The methods that ``--method best`` chooses from, and which of them a run can afford."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from camcli.config.choice import method_of_option
from camcli.config.settings import BEST, RunConfig
from camcli.errors import CamError, ConfigError
from camcli.evaluation.work import passes_of_map
from camcli.explainer import Explainer
from camcli.methods import find_method
from camcli.methods.choose import parse_options
from camcli.methods.cost import count_whole_passes
from camcli.pipeline.setup import Setup
from camcli.schemas.index import ExcludedCandidate


@dataclass(frozen=True)
class Candidate:
    """A method with options.

    Attributes:
        method: its key.
        options: as they are typed, those that differ from the defaults.
    """

    method: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``pathcam (fast=true)``."""
        own = ", ".join(text.partition(".")[2] for text in self.options)
        return f"{self.method} ({own})" if own else self.method


CANDIDATES = (
    Candidate("gradcam"),
    Candidate("hirescam"),
    Candidate("layercam"),
    Candidate("finercam"),
    Candidate("ablationcam"),
    Candidate("chefer"),
    Candidate("legrad"),
    Candidate("pathcam", ("pathcam.fast=true",)),
    Candidate("pathcam", ("pathcam.ordered=0",)),
    Candidate("pathcam"),
    Candidate("eigencam"),
    Candidate("fullgrad"),
)
"""What is tried, where the model allows it and the budget is enough. Of :data:`LAST_RESORTS` only where no other is."""

LAST_RESORTS = ("eigencam", "fullgrad")
"""The first one ignores the class, so that it explains no prediction; the other one needs no layer."""


@dataclass(frozen=True)
class Affordable:
    """A candidate that the model allows, within the budget.

    Attributes:
        candidate: which.
        explainer: makes its maps.
        passes: what one costs, in forward passes an image.
    """

    candidate: Candidate
    explainer: Explainer
    passes: float


@dataclass(frozen=True)
class Field:
    """The candidates of a run.

    Attributes:
        affordable: those that can be tried, in the order of the table.
        excluded: the others, each with the reason.
    """

    affordable: tuple[Affordable, ...]
    excluded: tuple[ExcludedCandidate, ...]

    @property
    def default(self) -> Affordable:
        """What is taken where nothing can be measured."""
        order = by_preference([one.candidate for one in self.affordable])
        return next(one for one in self.affordable if one.candidate == order[0])


def by_preference(candidates: Sequence[Candidate]) -> list[Candidate]:
    """What is taken first where nothing can be measured: PathCAM as complete as can be, Grad-CAM, then the others."""
    pathcam = [one for one in reversed(candidates) if one.method == "pathcam"]
    gradcam = [one for one in candidates if one.method == "gradcam"]
    return [*pathcam, *gradcam, *(one for one in candidates if one not in (*pathcam, *gradcam))]


def find_candidates(setup: Setup, config: RunConfig, budget: int, *, first_alone: bool = False) -> Field:
    """The candidates that the model allows and that cost no more than the budget.

    Args:
        setup: with the layers at which they are applied.
        config: the settings with ``best``.
        budget: forward passes an image.
        first_alone: look for the default alone, and no further than to it.

    Raises:
        ConfigError: an option of a method that is no candidate; not one candidate is left.
    """
    affordable: list[Affordable] = []
    excluded: list[ExcludedCandidate] = []
    candidates = with_options(config)
    for candidate in by_preference(candidates) if first_alone else candidates:
        if affordable and (first_alone or candidate.method in LAST_RESORTS):
            continue
        found = _examine(setup, candidate, budget)
        if isinstance(found, Affordable):
            affordable.append(found)
        else:
            excluded.append(found)
    if not affordable:
        raise _nothing(budget, excluded)
    return Field(tuple(affordable), tuple(excluded))


def _examine(setup: Setup, candidate: Candidate, budget: int) -> Affordable | ExcludedCandidate:
    passes: float | None = None
    try:
        passes = _least_passes(setup, candidate)
        if find_method(candidate.method).needs_layer_gradient and not has_gradient(setup):
            passes, reason = None, "needs the score's gradient at a layer, and no layer that can be used has one"
        elif passes <= budget:
            explainer = _explainer(setup, candidate)
            passes = passes_of_map(explainer, setup.model, len(setup.targets))
            if passes <= budget:
                return Affordable(candidate, explainer, passes)
            reason = f"costs {counted(passes)} an image"
        else:
            reason = f"costs at least {counted(passes)} an image"
    except CamError as error:
        passes, reason = None, str(error)
    return {"method": candidate.method, "options": list(candidate.options), "passes": passes, "reason": reason}


def _nothing(budget: int, excluded: Sequence[ExcludedCandidate]) -> ConfigError:
    """Why there is nothing to choose from."""
    costs = {row["method"]: row["passes"] for row in excluded if row["passes"] is not None}
    if not costs:
        return ConfigError(f"--method best: no candidate works with this model. {excluded[0]['reason']}")
    least = min(costs, key=lambda key: costs[key])
    return ConfigError(
        f"--budget {budget}: no method that this model allows costs so little; {least} costs the least, "
        f"{counted(costs[least])} an image."
    )


def counted(passes: float) -> str:
    """``1 forward pass``, ``26.9 forward passes``."""
    return f"{passes:,.1f}".removesuffix(".0") + " forward pass" + "es" * (passes != 1)


def with_options(config: RunConfig) -> list[Candidate]:
    """The table for these settings: a method that is named as well, or has an option given, is one candidate.

    Raises:
        ConfigError: an option of a method that is neither a candidate nor named.
        MethodError: an option that its method does not have, or a value that it does not take.
    """
    named = [find_method(name).key for name in config.method if name != BEST]
    given: dict[str, list[str]] = {key: [] for key in named}
    for text in config.option:
        key = find_method(method_of_option(text)).key
        if key not in named and key not in {candidate.method for candidate in CANDIDATES}:
            listed = ", ".join(dict.fromkeys(candidate.method for candidate in CANDIDATES))
            raise ConfigError(f"--option {text}: {key} is not among what --method best chooses from: {listed}.")
        given.setdefault(key, []).append(text)
    for key, own in given.items():
        parse_options([find_method(key)], own)  # what is typed wrongly must not pass for a method that does not fit
    chosen = [Candidate(one.method, tuple(given.get(one.method, one.options))) for one in CANDIDATES]
    return list(dict.fromkeys(chosen))


def _least_passes(setup: Setup, candidate: Candidate) -> float:
    """What a candidate costs at least, which shows before anything is run."""
    method = find_method(candidate.method)
    settings: Mapping[str, Any] = parse_options([method], candidate.options)[method.key]
    channels = max((layer.channels for layer in setup.layers), default=0)
    return count_whole_passes(method.cost_with(settings), min(channels, settings.get("max_channels") or channels))


def has_gradient(setup: Setup) -> bool:
    """Whether the layers were chosen by a method that needs the score's gradient there."""
    return any(find_method(key).needs_layer_gradient for key in setup.config.method)


def _explainer(setup: Setup, candidate: Candidate) -> Explainer:
    own = setup.explainer.options
    options = replace(setup.explain_options, method_options=candidate.options, one_at_a_time=own.one_at_a_time)
    return Explainer(setup.model, setup.layers, [candidate.method], options)


def probes() -> Iterator[str]:
    """Methods by which the layers are chosen: one with the score's gradient, one without, one without a layer."""
    yield from ("gradcam", "eigencam", "fullgrad")
