"""``--method best`` decided by a run itself: candidates within a budget, tried on a few of the run's own images.

``candidates``  what is tried, and what each costs for this model
``work``        the cost: work that is counted, so that the same command always has the same candidates
``trial``       Insertion − Deletion of each on the same images

The one with the highest mean is taken; of equal ones the cheapest. Nothing is compared where Insertion − Deletion
means nothing (outputs that are no probabilities, evidence against a class), or with few images: then PathCAM is taken,
as complete as the budget allows, and where it does not work Grad-CAM.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from camcli.config.choice import budget_of, requested_method
from camcli.config.recommended import FILE
from camcli.config.settings import RunConfig
from camcli.errors import CamError
from camcli.evaluation.candidates import LAST_RESORTS, Affordable, Field, counted, find_candidates, has_gradient, probes
from camcli.evaluation.options import RANKED_BY
from camcli.evaluation.trial import FEWEST, OTHER_SUBSTRATE, STEPS, Pool, Trial, choose_images, with_one_target
from camcli.images import Sources
from camcli.methods import find_method
from camcli.models import Model
from camcli.pipeline.setup import Setup, setup_for
from camcli.schemas.index import CandidateFields, ChosenMethod, TrialFields
from camcli.stats import Estimate, difference, estimate

Tell = Callable[[str], None]

_LITTLE = 0.005
"""Insertion − Deletion below which a method points at nothing that matters."""


def choose_method(
    config: RunConfig, model: Model, sources: Sources, tell: Tell | None = None, *, dry_run: bool = False
) -> ChosenMethod:
    """The method for ``--method best``, with the evidence.

    Args:
        config: the settings of the run.
        model: loaded.
        sources: the inputs.
        tell: called with how far it is, a line each.
        dry_run: try nothing; what would be tried is told, and the default is returned.

    Raises:
        UsageError: no method fits the settings, the budget and the model.
    """
    started = time.perf_counter()
    setup = _setup(replace(config, save=(), budget=None, method=("gradcam",), option=()), model, sources)
    with setup.model.prepared():
        return _Choice(config, setup, tell or (lambda line: None), started).make(dry_run)


def _setup(config: RunConfig, model: Model, sources: Sources) -> Setup:
    """Layers, targets and inputs, as gradients allow."""
    first: CamError | None = None
    for probe in probes():
        try:
            return setup_for(replace(config, method=(probe,)), model, sources)
        except CamError as error:
            first = first or error
    assert first is not None
    raise first


class _Choice:
    def __init__(self, config: RunConfig, setup: Setup, tell: Tell, started: float) -> None:
        self.config, self.setup, self.tell, self.started = config, setup, tell, started
        self.budget = budget_of(config)

    def make(self, dry_run: bool) -> ChosenMethod:
        reason = self._no_trial()
        pool = choose_images(self.setup) if reason is None else Pool((), 0)
        if reason is None and len(pool.entries) < FEWEST:
            reason = _few(len(pool.entries))
        if reason is not None:
            return self._default(self._field(first_alone=True), reason)
        field = self._field()
        if len(field.affordable) == 1:
            return self._default(field, "no other candidate fits the model and the budget")
        plan = self._plan(field, pool)
        if dry_run:
            self.tell(f"a run would try {plan}")
            return self._default(field, "a dry run tries nothing")
        self.tell(f"trying {plan}")
        trial = Trial(with_one_target(self.setup), field.affordable, self.tell)
        count = trial.load(pool)
        if count < FEWEST:
            return self._default(field, _few(count))
        trial.run()
        return self._measured(field, trial)

    def _field(self, *, first_alone: bool = False) -> Field:
        return find_candidates(self.setup, self.config, self.budget, first_alone=first_alone)

    def _no_trial(self) -> str | None:
        """Why Insertion − Deletion cannot decide; None where it can."""
        model = self.setup.model
        if model.num_classes is None:
            return "the model is an encoder without classes, and Insertion − Deletion compares class probabilities"
        if model.returns_values:
            return "the model's outputs are values, and Insertion − Deletion compares class probabilities"
        if self.config.score == "neg-logit":
            return "--score neg-logit explains evidence against a class, and Insertion − Deletion judges that for it"
        if not self.setup.layers:
            return "no layer of the model can be used, and most methods need one"
        return None

    def _plan(self, field: Field, pool: Pool) -> str:
        count, images = len(field.affordable), pool.size
        maps = sum(one.passes for one in field.affordable)
        each = 1 if self.config.fuse != "none" else max(1, len(self.setup.layers))  # maps of an image
        about = images * (maps + 2 * STEPS * each * (count + 2))  # two once more, with another substrate
        of = "the first images" if pool.count is None else f"{images} of {pool.count} images"
        return (
            f"{count} candidates of at most {counted(self.budget)} an image on {of}, "
            f"by Insertion − Deletion; about {round(about, -2):,.0f} passes"
        )

    def _default(self, field: Field, reason: str) -> ChosenMethod:
        one = field.default
        why = [
            f"nothing was compared: {reason}",
            f"{one.candidate.name} is the default within {counted(self.budget)} an image; "
            f"it costs {counted(one.passes)}",
        ]
        rows = [_row(other, Estimate(None, None, 0)) for other in field.affordable]
        return self._chosen(one, "default", why, rows, field)

    def _measured(self, field: Field, trial: Trial) -> ChosenMethod:
        candidates, seed = field.affordable, self.config.seed
        in_all = ~np.isnan(np.stack(trial.values)).any(axis=0)
        if not in_all.any():
            return self._default(field, "the probabilities of the images are not finite")
        values = [own[in_all, None] for own in trial.values]
        figures = [estimate(own, seed=seed) for own in values]
        ranked = sorted(range(len(candidates)), key=lambda i: (-(figures[i].value or 0), candidates[i].passes))
        best = ranked[0]
        why = [
            f"{candidates[best].candidate.name}: Insertion − Deletion {_text(figures[best])} on {len(values[best])} "
            f"images of this run, the highest of {len(candidates)} candidates of at most {counted(self.budget)} an "
            f"image; it costs {counted(candidates[best].passes)}"
        ]
        if (interval := figures[best].interval) is not None and interval[0] < _LITTLE:
            why.append("that is about nothing: on these images no candidate says much about the model")
        twins = [i for i in ranked if i != best and trial.draw_the_same(candidates[i], candidates[best])]
        if twins:
            listed = " and ".join(candidates[i].candidate.name for i in twins)
            why.append(f"{listed} draw{'s' * (len(twins) == 1)} the same maps here")
        others = [i for i in ranked if i != best and i not in twins]
        rival = next((i for i in others if candidates[i].candidate.method != candidates[best].candidate.method), None)
        for i in dict.fromkeys((next(iter(others), None), rival)):
            if i is not None:
                apart = difference(values[best], values[i], seed=seed)
                name = candidates[i].candidate.name
                why.append(f"{_verdict(apart)} {name} ({_text(figures[i])}): difference {_text(apart)}")
        if rival is not None:
            why.append(self._with_other_substrate(trial, candidates[best], candidates[rival]))
        spent: TrialFields = {
            "metric": RANKED_BY, "steps": STEPS, "seed": seed, "passes": trial.passes,
            "seconds": round(time.perf_counter() - self.started, 1),
        }  # fmt: skip
        rows = [_row(candidates[i], figures[i]) for i in ranked]
        images = [name for name, counts in zip(trial.images, in_all, strict=True) if counts]
        return self._chosen(candidates[best], "trial", why, rows, field, images, spent)

    def _with_other_substrate(self, trial: Trial, best: Affordable, rival: Affordable) -> str:
        """Whether the best one leads its rival of another method with other pixels in place of those removed."""
        own, other = (trial.measure(one, OTHER_SUBSTRATE)[:, None] for one in (best, rival))
        apart = difference(own, other, seed=self.config.seed)
        name, also = rival.candidate.name, "also " if apart.interval is not None and apart.interval[0] > 0 else ""
        return (
            f"with the mean colour in place of removed pixels {also}{_verdict(apart)} {name}: difference {_text(apart)}"
        )

    def _chosen(
        self,
        one: Affordable,
        source: Literal["trial", "default"],
        why: Sequence[str],
        candidates: list[CandidateFields],
        field: Field,
        images: Sequence[str] = (),
        trial: TrialFields | None = None,
    ) -> ChosenMethod:
        notes = []
        if self._unread:
            notes.append(f"{FILE} is not used: --budget asks for a choice within {counted(self.budget)}")
        if one.candidate.method in LAST_RESORTS and self.setup.layers and self.setup.model.num_classes is not None:
            notes.append(f"{one.candidate.method} ignores the class: nothing that explains one costs so little")
        return {
            "method": one.candidate.method,
            "options": list(one.candidate.options),
            "layer": self._layers(one),
            "source": source,
            "why": [*why, *notes],
            "budget": self.budget,
            "requested": requested_method(self.config),
            "images": list(images),
            "candidates": candidates,
            "excluded": list(field.excluded),
            "trial": trial,
        }

    @property
    def _unread(self) -> bool:
        """Whether the run folder has a recommendation that the budget outweighs."""
        return self.config.budget is not None and os.path.exists(Path(self.config.run_dir) / FILE)

    def _layers(self, one: Affordable) -> list[str] | None:
        """The layers of the trial, where ``auto`` might be others for this method alone."""
        method = find_method(one.candidate.method)
        is_settled = method.needs_layer_gradient or not method.needs_layer or not has_gradient(self.setup)
        if is_settled or self.config.layer != ("auto",):
            return None
        return [layer.path for layer in self.setup.layers]


def _few(count: int) -> str:
    images = "1 image" if count == 1 else f"{count} images"
    return f"{images} can be explained, and fewer than {FEWEST} tell no method from another"


def _row(one: Affordable, figure: Estimate) -> CandidateFields:
    return {
        "method": one.candidate.method,
        "options": list(one.candidate.options),
        "passes": one.passes,
        "value": figure.value,
        "interval": None if figure.interval is None else list(figure.interval),
    }


def _verdict(apart: Estimate) -> str:
    """How the first of two is to the second, by the interval of their difference."""
    low, high = apart.interval or (0.0, 0.0)
    return "ahead of" if low > 0 else "behind" if high < 0 else "not told apart from"


def _text(result: Estimate) -> str:
    interval = f" [{_number(result.interval[0])}, {_number(result.interval[1])}]" if result.interval else ""
    return ("" if result.value is None else _number(result.value)) + interval


def _number(value: float) -> str:
    return f"{value:.{4 if abs(value) < 0.001 else 3}f}".replace("-", "−")
