"""A model with its photographs, opened once for all contenders that are measured on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from camcli.concurrency import Clock
from camcli.config.settings import RunConfig
from camcli.device import BatchLimit
from camcli.evaluation.entries import Maps, MethodEntry, upsample
from camcli.evaluation.mosaics import Candidates
from camcli.evaluation.scorer import ClassScorer
from camcli.explainer import Explainer
from camcli.images import Sources, to_input
from camcli.map_summary import map_status
from camcli.metrics import Images
from camcli.metrics.baselines import baseline
from camcli.pipeline.items import Loaded, seed_of
from camcli.pipeline.loader import make_loader
from camcli.pipeline.passes import passes_of_method
from camcli.pipeline.setup import Setup, open_model, setup_for
from tests.sweeps.faithfulness.contenders import Contender
from tests.sweeps.faithfulness.models import ModelSpec
from tests.sweeps.faithfulness.photographs import halves, list_photos, spread
from tests.sweeps.faithfulness.plan import Plan

_STAGES = ("decode", "preprocess", "model")
GRID = 2
"""Images a side of a mosaic."""


@dataclass(frozen=True)
class Batch:
    """Some photographs as the model takes them; ``start``: the number of the first."""

    start: int
    inputs: Tensor
    classes: Tensor
    seeds: list[int]

    def __len__(self) -> int:
        return len(self.seeds)


class Session:
    """A model and its photographs.

    Attributes:
        names: of the photographs, relative to their folder.
        classes: that the model predicts, (N,); they are explained.
        probabilities: of these classes, (N,).
    """

    def __init__(self, spec: ModelSpec, plan: Plan) -> None:
        self.spec, self.plan = spec, plan
        chosen = choose_photos(spec, plan)
        self.names = [str(path.relative_to(plan.photos)) for path in chosen]
        self.config = RunConfig(
            image_path=tuple(str(path) for path in chosen), device=plan.device, precision="fp32",
            batch_size=str(plan.batch), save=(), seed=plan.seed, **spec.settings(plan.checkpoints),
        )  # fmt: skip
        self.sources = Sources(self.config.image_path)
        self.model = open_model(self.config, torch.device(plan.device))
        self.base = self._setup(Contender("gradcam", "gradcam"))
        self._images: dict[tuple[int, int, str | None, int], Images] = {}
        with self.base.model.prepared(), torch.inference_mode():
            load = make_loader(self.base, Clock(_STAGES))
            loaded = [load(entry) for entry in self.sources]
            self.loaded = [one for one in loaded if isinstance(one, Loaded)]
            assert len(self.loaded) == len(loaded), "a photograph cannot be read"
            parts = [self._probabilities(self.loaded[i : i + plan.batch]) for i in range(0, len(loaded), plan.batch)]
        self.probabilities, self.classes = torch.cat(parts).cpu().max(1)

    def _setup(self, contender: Contender) -> Setup:
        config = replace(self.config, method=(contender.method,), layer=(contender.layer,), option=contender.option)
        return setup_for(config, self.model, self.sources)

    def _probabilities(self, images: Sequence[Loaded]) -> Tensor:
        model = self.base.model
        inputs = to_input([one.pixels for one in images], model.preprocessing, self.base.device)
        return model.probabilities(model.logits(model.module(inputs)), "auto")

    @contextmanager
    def opened(self, contender: Contender) -> Iterator[Explained]:
        """A contender that is ready to explain.

        Raises:
            UsageError: the method does not suit the model.
        """
        setup = self.base if contender.is_baseline else self._setup(contender)
        with setup.model.prepared():
            yield Explained(self, setup, contender)

    def batches(self, count: int, size: int | None = None) -> Iterator[Batch]:
        """The first ``count`` photographs."""
        size = size or self.plan.batch
        for start in range(0, min(count, len(self.loaded)), size):
            part = slice(start, min(start + size, count, len(self.loaded)))
            pixels = [one.pixels for one in self.loaded[part]]
            seeds = [seed_of(one.metadata.sha256, self.plan.seed) for one in self.loaded[part]]
            inputs = to_input(pixels, self.base.model.preprocessing, self.base.device)
            yield Batch(start, inputs, self.classes[part].to(self.base.device), seeds)

    def images(self, batch: Batch, substrate: str | None, steps: int) -> Images:
        """The batch as metrics take it; what does not depend on a map is computed once for all contenders."""
        key = batch.start, len(batch), substrate, steps
        if key not in self._images:
            scorer = ClassScorer(self.base.model)
            self._images[key] = Images(
                batch.inputs, batch.classes, batch.seeds, None, scorer, steps, self.plan.scored, substrate
            )
        return self._images[key]

    def candidates(self, count: int) -> Candidates:
        """The first photographs that the model is sure of, for mosaics."""
        sure = [i for i in range(min(count, len(self.loaded))) if self.probabilities[i] >= self.plan.grid_probability]
        pixels, classes = [self.loaded[i].pixels for i in sure], [int(self.classes[i]) for i in sure]
        return Candidates(GRID, self.plan.grid_probability, pixels, classes)


class Explained:
    """A contender on the model of a session, inside :meth:`Session.opened`.

    Attributes:
        entry: as an evaluation names it; known after the first map.
    """

    def __init__(self, session: Session, setup: Setup, contender: Contender) -> None:
        self.session, self.setup, self.contender = session, setup, contender
        layer = setup.layers[0].path if setup.layers else None
        self.entry = MethodEntry(contender.method, layer, contender.is_baseline, contender.name)

    @property
    def passes(self) -> int:
        """About how many passes of the model a map takes, as the method's documented cost says."""
        if self.contender.is_baseline:
            return 0
        ((method, settings),) = self.setup.explainer.methods()
        return passes_of_method(self.setup, method, settings, self.setup.layers[:1])

    @property
    def documented_cost(self) -> str:
        """In the words of the list of methods."""
        if self.contender.is_baseline:
            return ""
        ((method, settings),) = self.setup.explainer.methods()
        return method.cost_with(settings)

    def native(self, batch: Batch, classes: Tensor | None = None, explainer: Explainer | None = None) -> Tensor:
        """Raw maps (N, h, w) float32 on the CPU, of the predicted classes unless others are given."""
        if self.contender.is_baseline:
            grid = self.setup.layers[0].layout.grid
            return baseline(self.contender.method, batch.inputs, grid, batch.seeds).cpu()
        explain = explainer or self.setup.explainer
        targets = (batch.classes if classes is None else classes.to(batch.classes.device))[:, None]

        def explained(part: slice) -> Tensor:
            maps = explain(batch.inputs[part], lambda _: targets[part], batch.seeds[part]).maps
            ((key, raw),) = maps.items()
            self.entry = MethodEntry(key.method, key.layer, False, self.contender.name)
            return raw.float().cpu()

        return torch.cat(list(BatchLimit(len(batch)).run(len(batch), explained)))

    def maps(self, batch: Batch) -> Maps:
        """Those of an evaluation."""
        native = self.native(batch)
        size = batch.inputs.shape[-2], batch.inputs.shape[-1]
        degenerate = np.array([map_status(raw) != "ok" for raw in native.numpy()])
        return Maps(native, upsample(native, size, batch.inputs.device), degenerate)


def choose_photos(spec: ModelSpec, plan: Plan) -> list[Path]:
    """The photographs of a model, those it never saw first.

    Of a model that is trained here those whose class it predicts, as the report of its training lists them: maps of a
    wrong class would say little. Photographs that it was trained on follow only where the others are too few.
    """
    photos = list_photos(plan.photos)
    _, unseen = halves(photos)
    most = max(plan.images, plan.candidates)
    if not spec.trained_here:
        return spread(unseen or photos)[:most]
    assert plan.checkpoints is not None
    report = json.loads((plan.checkpoints / f"{spec.name}.json").read_text())
    right = [plan.photos / name for half in ("unseen", "trained_on") for name in spread(report[half]["right"])]
    if not right:
        raise SystemExit(f"{spec.name} predicts the class of no photograph: train it for longer.")
    return right[:most]
