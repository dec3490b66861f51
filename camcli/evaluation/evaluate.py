"""The stream of an evaluation: explanations as a run makes them, and instead of pictures, figures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from camcli._version import __version__
from camcli.concurrency import Clock, in_order
from camcli.config.settings import RunConfig
from camcli.errors import ConfigError, ErrorKind, ImageError, SourceError
from camcli.evaluation.comparison import compare
from camcli.evaluation.cost import CostMeter
from camcli.evaluation.entries import MapMaker, MethodEntry, entries_of, on_grid
from camcli.evaluation.measure import exclusions, measure, parameters, regions_of
from camcli.evaluation.mosaics import Candidates, MosaicResult, measure_mosaics
from camcli.evaluation.options import CANDIDATES, EvalOptions
from camcli.evaluation.recommend import finer_layer, recommend
from camcli.evaluation.reference import figures_so_far, reference_of, require_reference
from camcli.evaluation.result import Evaluation, among_entries, figure
from camcli.evaluation.scorer import ClassScorer
from camcli.images import pillow_limits, to_input
from camcli.metrics import METRICS, Images, Metric, Sample
from camcli.metrics.scoring import BATCH
from camcli.pipeline.batching import BatchExplainer, in_batches
from camcli.pipeline.header import environment, layer_fields, model_fields
from camcli.pipeline.items import Explanation, Failed, seed_of
from camcli.pipeline.loader import make_loader
from camcli.pipeline.setup import Setup, prepare
from camcli.stats import DRAWS, LEVEL

_STAGES = ("decode", "preprocess", "model")
_BATCH = {"cpu": BATCH, "cuda": 64, "mps": 16}
"""Altered inputs scored at once."""

Progress = Callable[[Setup, int, str], None]
"""Called with how many images are done and what is done next; once with 0 and nothing when all is decided."""


def evaluate(config: RunConfig, options: EvalOptions | None = None, progress: Progress | None = None) -> Evaluation:
    """Figures of methods on images: what ``cam eval`` does.

    Args:
        config: the settings of the run whose maps are judged; what concerns its output plays no part.
        options: which figures.
        progress: called with how far it is.

    Raises:
        UsageError: something is wrong with the configuration; raised before any image is explained.
        ImageError: not one image could be explained.
    """
    options = options or EvalOptions()
    setup = _prepare(replace(config, save=()), options)
    tell = progress or (lambda setup, done, doing: None)
    tell(setup, 0, "")
    with setup.model.prepared(), pillow_limits(max_pixels=config.max_pixels):
        return _EvaluationRun(setup, options, tell).run()


def _prepare(config: RunConfig, options: EvalOptions) -> Setup:
    if options.recommend and config.method == RunConfig().method:
        config = replace(config, method=CANDIDATES)
    setup = prepare(config)
    require_reference(options.reference, setup.config.method)
    if setup.model.num_classes is None:
        raise ConfigError(f"cam eval judges maps by a class probability. {setup.model.no_classifier}")
    _require_probabilities(setup, options)
    if not setup.layers:
        raise ConfigError(
            f"cam eval compares maps on the grid of a layer, and no layer of model {setup.model.name} has a layout "
            "that can be verified. Name one with --layer and --layout; cam layers shows what each returns."
        )
    if len(setup.targets) > 1:
        raise ConfigError(f"--target {config.target}: cam eval takes one target an image, such as predicted or label.")
    objects = [metric.key for metric in options.chosen if metric.needs == "regions"]
    if options.metrics and "all" not in options.metrics and objects and not any(_has_object(setup)):
        raise SourceError(
            f"--metrics {','.join(objects)}: no image has a box or a mask. Give --image-path a .csv or .jsonl manifest "
            "with a column `box` or `mask`."
        )
    if options.recommend and config.layer == ("auto",) and (finer := finer_layer(setup)) is not None:
        setup = prepare(replace(config, layer=("auto", finer)))
    return setup


def _require_probabilities(setup: Setup, options: EvalOptions) -> None:
    """Of values, the metrics that compare probabilities are left out; none may be left."""
    if setup.model.returns_values and (options.recommend or not _measurable(setup, options)):
        what = "--recommend" if options.recommend else "these metrics"
        raise ConfigError(
            f"cam eval: {what} compare class probabilities, and the outputs of model {setup.model.name} are values "
            f"(--probability). Without them: --metrics {','.join(_WITHOUT_PROBABILITY)}."
        )


def _measurable(setup: Setup, options: EvalOptions) -> list[Metric]:
    """The metrics that the outputs allow."""
    if not setup.model.returns_values:
        return list(options.chosen)
    return [metric for metric in options.chosen if metric.key in _WITHOUT_PROBABILITY]


_WITHOUT_PROBABILITY = [metric.key for metric in METRICS.values() if metric.needs in ("maps", "regions")]


def _has_object(setup: Setup) -> Iterator[bool]:
    return (entry.mask is not None or entry.box is not None for entry in setup.sources)


class _EvaluationRun:
    def __init__(self, setup: Setup, options: EvalOptions, tell: Progress) -> None:
        self.setup, self.options, self.tell = setup, options, tell
        self.precision = setup.explain_options.precision_on(setup.device, trials=True)
        self.scorer = ClassScorer(setup.model, setup.config.probability, self.precision)  # type: ignore[arg-type]
        self.chosen = _measurable(setup, options)
        self.metrics = [metric for metric in self.chosen if metric.needs != "mosaics"]
        self.maker = MapMaker(setup)
        self.meter = CostMeter(setup, self.maker)
        self.candidates = Candidates(options.grid, options.grid_probability)
        self.entries: list[MethodEntry] = []
        self.images: list[str] = []
        self.failed: list[dict[str, str]] = []
        self.parts: dict[str, dict[str, list[np.ndarray]]] = {}
        self.so_far = ""
        self.degenerate: dict[str, int] = {}
        self.exclusions = exclusions(self.metrics)
        self.guarded = dict.fromkeys(self.exclusions, 0)

    def run(self) -> Evaluation:
        for batch in self._batches():
            self._measure(batch)
        if not self.images:
            first = self.failed[0]
            count = f"{len(self.failed)} image" + "s" * (len(self.failed) != 1)
            why = f"none of {count} could be explained. {first['image']}: {first['message']}"
            raise ImageError(cast(ErrorKind, first["kind"]), why)
        return self._evaluation()

    def _batches(self) -> Iterator[list[Explanation]]:
        setup, clock = self.setup, Clock(_STAGES)
        with ThreadPoolExecutor(setup.workers, "load") as pool, ExitStack() as stack:
            loaded = in_order(pool, make_loader(setup, clock), setup.sources, 2 * setup.batch_size)
            explained = stack.enter_context(closing(BatchExplainer(setup, clock).stream(loaded)))
            for results in in_batches(explained, setup.batch_size):
                for failed in (result for result in results if isinstance(result, Failed)):
                    error = failed.error
                    self.failed.append({"image": failed.entry.image, "kind": error.kind, "message": error.message})
                if batch := [result for result in results if isinstance(result, Explanation)]:
                    yield batch

    def _measure(self, batch: list[Explanation]) -> None:
        setup = self.setup
        if not self.entries:
            self.entries = entries_of(batch[0], len(setup.layers) > 1, self.options.baselines)
            self.parts = {entry.name: {metric.key: [] for metric in self.metrics} for entry in self.entries}
            self.degenerate = dict.fromkeys(self.parts, 0)
        pre = setup.model.preprocessing
        inputs = to_input([e.loaded.pixels for e in batch], pre, setup.device)
        classes = torch.tensor(
            [chosen.index for e in batch if (chosen := e.maps[0].target) is not None], device=setup.device
        )
        seeds = [seed_of(e.loaded.metadata.sha256, setup.config.seed) for e in batch]
        regions = regions_of([e.loaded for e in batch], (pre.height, pre.width))
        images = Images(
            inputs, classes, seeds, None if regions is None else regions.to(setup.device),
            self.scorer, self.options.steps, _BATCH[setup.device.type], self.options.substrate,
        )  # fmt: skip
        for place, entry in enumerate(self.entries):
            self._say(f"{entry.name}, {place + 1} of {len(self.entries)}, on the next {len(batch)}")
            self.meter.measure(entry, inputs, classes, seeds)
            maps = self.maker.run_maps(entry, batch, inputs, seeds)
            self.degenerate[entry.name] += int(maps.degenerate.sum())

            def explain(masked: torch.Tensor, entry: MethodEntry = entry) -> torch.Tensor:
                return self.maker.maps_of(entry, masked, classes, seeds).heat

            native = on_grid(maps.native, setup.layers[0].layout.grid)
            measured = measure(self.metrics, Sample(images, native, maps.heat, explain))
            for key, parts in self.parts[entry.name].items():
                parts.append(measured.get(key, np.full((len(batch), 1), np.nan)))
        for explanation in batch:
            self.images.append(explanation.loaded.entry.image)
            self.candidates.offer(explanation)
        for key, exclusion in self.exclusions.items():
            self.guarded[key] += int(exclusion.applies(images.probabilities).sum())
        self.so_far = figures_so_far(self.metrics, self.entries, self.parts)

    def _say(self, doing: str) -> None:
        done = len(self.images) + len(self.failed)
        self.tell(self.setup, done, f"{doing}; {self.so_far}" if self.so_far else doing)

    def _evaluation(self) -> Evaluation:
        options, seed = self.options, self.setup.config.seed
        values = {name: {k: _join(parts) for k, parts in by_metric.items()} for name, by_metric in self.parts.items()}
        for metric in self.metrics:
            for name, compared in among_entries(metric, self.entries, values).items():
                values[name][metric.key] = compared
        grids = MosaicResult({}, 0)
        for metric in self.chosen:
            if metric.needs == "mosaics":
                self._say(f"mosaics for {metric.name}")
                grids = measure_mosaics(self.setup, self.entries, self.candidates)
                for name, shares in grids.values.items():
                    values[name][metric.key] = shares
        some = [m for m in self.chosen if any(_is_defined(by_metric.get(m.key)) for by_metric in values.values())]
        figures = {
            entry.name: {m.key: figure(values[entry.name][m.key], m, seed) for m in some} for entry in self.entries
        }
        comparisons = compare(self.entries, values, some, seed)
        return Evaluation(
            entries=self.entries, metrics=some, images=self.images, failed=self.failed, values=values,
            degenerate=self.degenerate, guarded=self.guarded,
            settings=self._settings(grids), notes=self._notes(some, grids), figures=figures, comparisons=comparisons,
            reference=reference_of(self.entries, options.reference),
            costs={entry.name: self.meter.cost(entry) for entry in self.entries},
            recommended=recommend(self.entries, figures, comparisons) if options.recommend else None,
        )  # fmt: skip

    def _settings(self, grids: MosaicResult) -> Mapping[str, Any]:
        setup, pre = self.setup, self.setup.model.preprocessing
        return {
            "camcli": __version__,
            "model": model_fields(setup),
            "layers": layer_fields(setup),
            "methods": list(setup.config.method),
            "environment": environment(setup),
            "settings": {
                "target": setup.config.target or "predicted", "probability": setup.config.probability,
                "seed": setup.config.seed, "steps": self.options.steps,
                "substrate": self.options.substrate, "scoring_precision": self.precision,
                **parameters(pre.height, pre.width, self.options.substrate),
                "gridpg": {"n": self.options.grid, "probability": self.options.grid_probability,
                           "mosaics": grids.mosaics, "shrunk": grids.shrunk},
                "intervals": {"level": LEVEL, "draws": DRAWS},
            },
        }  # fmt: skip

    def _notes(self, some: Sequence[Any], grids: MosaicResult) -> list[str]:
        absent = [m.name for m in self.chosen if m.needs == "regions" and m not in some]
        notes = [*self.setup.assumptions, *self.setup.model.notes, *self.setup.explainer.notes]
        if left_out := [metric.name for metric in self.options.chosen if metric not in self.chosen]:
            notes.append(f"left out, since the outputs are values and no probabilities: {', '.join(left_out)}")
        if self.maker.limit.size < self.setup.batch_size:
            notes.append(f"maps of masked images were made {self.maker.limit.size} at a time after memory ran out")
        if grids.missing:
            notes.append(grids.missing)
        if grids.shrunk:
            notes.append(f"GridPG: the images of a mosaic were shrunk to fit: {grids.shrunk}")
        if absent and self.options.metrics:
            notes.append(f"{', '.join(absent)}: no image has a box or a mask that the model sees")
        notes += [f"{name}: {count} map(s) show nothing" for name, count in self.degenerate.items() if count]
        excluded = ((self.guarded[key], exclusion.reason) for key, exclusion in self.exclusions.items())
        return notes + [f"{count} image(s) {reason}" for count, reason in excluded if count]


def _join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """(N, K); batches without any box or mask have one column of NaN where others have K."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.broadcast_to(p, (len(p), width)) if p.shape[1] < width else p for p in parts])


def _is_defined(values: np.ndarray | None) -> bool:
    return values is not None and not bool(np.isnan(values).all())
