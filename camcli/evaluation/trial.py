"""A trial: candidates for ``--method best`` on a few images of the run, judged by Insertion − Deletion."""

import hashlib
import heapq
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor

from camcli.concurrency import Clock, in_order
from camcli.device import BatchLimit
from camcli.evaluation.candidates import Affordable, Candidate
from camcli.evaluation.entries import upsample
from camcli.evaluation.options import RANKED_BY
from camcli.evaluation.scorer import ClassScorer
from camcli.images import Entry, pillow_limits, to_input
from camcli.metrics import METRICS, Images, Sample
from camcli.metrics.scoring import BATCH
from camcli.pipeline.batching import BatchExplainer
from camcli.pipeline.items import Explanation, seed_of
from camcli.pipeline.loader import make_loader
from camcli.pipeline.setup import Setup

FEWEST = 8
"""Images below which nothing is compared."""
MOST = 24
SHARE = 16
"""One image in so many is tried, between :data:`FEWEST` and :data:`MOST`."""
STEPS = 8
"""Of both curves: more images tell candidates apart better than finer curves do."""
OTHER_SUBSTRATE = "mean"
"""Of both curves, to see whether a method leads with the usual ones alone."""

_STAGES = ("decode", "preprocess", "model")
_SPARE = 2
"""So many times the images of the trial are tried, where some cannot be read."""


def sample_size(images: int) -> int:
    """How many of a run's images are tried."""
    return min(MOST, max(FEWEST, images // SHARE))


@dataclass(frozen=True)
class Pool:
    """The images that a trial may use.

    Attributes:
        entries: in the order in which they are tried, more than necessary.
        count: images of the run; None where it was not counted.
    """

    entries: Sequence[Entry]
    count: int | None

    @property
    def size(self) -> int:
        """How many images are tried."""
        return min(MOST if self.count is None else sample_size(self.count), len(self.entries))


def choose_images(setup: Setup) -> Pool:
    """Images spread over the inputs: those with the lowest hash of their name and the seed.

    Of a list on standard input the first ones, since the end of it may be long in coming.
    """
    if "-" in setup.config.image_path:
        return Pool(list(islice(setup.sources, _SPARE * MOST)), None)
    counter, key = count(), str(setup.config.seed).encode("ascii")
    ranked = ((_priority(entry, key), next(counter), entry) for entry in setup.sources)
    lowest = heapq.nsmallest(_SPARE * MOST, ranked)
    return Pool([entry for _, _, entry in lowest], next(counter))


def _priority(entry: Entry, key: bytes) -> int:
    data = f"{entry.source_slug}/{entry.image}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, key=key, digest_size=8).digest(), "big")


@dataclass
class _CountingScorer:
    """Counts the inputs that are scored."""

    scorer: ClassScorer
    count: int = 0

    def __call__(self, inputs: Tensor, classes: Tensor) -> Tensor:
        self.count += len(inputs)
        return self.scorer(inputs, classes)


@dataclass
class Trial:
    """Candidates on the same images.

    Args:
        setup: gives images, targets, and the layers of all candidates.
        candidates: what is compared.
        tell: called with how far it is.

    Attributes:
        values: Insertion − Deletion (images,) of each candidate, in their order.
        images: names of the images, in the order of the values.
    """

    setup: Setup
    candidates: Sequence[Affordable]
    tell: Callable[[str], None]
    values: list[np.ndarray] = field(default_factory=list)
    images: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        setup = self.setup
        precision = setup.explain_options.precision_on(setup.device, trials=True)
        self._scorer = _CountingScorer(ClassScorer(setup.model, setup.config.probability, precision))  # type: ignore[arg-type]
        self._limit = BatchLimit(setup.batch_size)
        self._maps = 0.0
        self._explanations: list[Explanation] = []
        self._natives: dict[Candidate, list[list[Tensor]]] = {}

    @property
    def passes(self) -> int:
        """Forward passes so far, those of the maps by what they cost."""
        return round(self._scorer.count + self._maps)

    def load(self, pool: Pool) -> int:
        """Explain the first images of the pool that can be; returns how many there are."""
        setup, clock = self.setup, Clock(_STAGES)
        with (
            pillow_limits(max_pixels=setup.config.max_pixels),
            ThreadPoolExecutor(setup.workers, "trial") as threads,
            closing(in_order(threads, make_loader(setup, clock), pool.entries, 2 * setup.batch_size)) as loaded,
            closing(BatchExplainer(setup, clock).stream(loaded)) as results,
        ):
            explained = (one for one in results if isinstance(one, Explanation) and one.maps[0].target is not None)
            chosen = list(islice(explained, pool.size))
        self._maps += len(chosen)
        self._explanations = sorted(chosen, key=lambda one: one.loaded.entry.ordinal)
        self.images = [one.loaded.entry.image for one in self._explanations]
        return len(chosen)

    def run(self) -> None:
        """Measure all candidates."""
        began, total = time.perf_counter(), sum(self._work(one) for one in self.candidates)
        for number, candidate in enumerate(self.candidates):
            self.values.append(self.measure(candidate))
            mean = float(self.values[-1].mean())  # NaN where the model's outputs are not finite
            text = f"{number + 1} of {len(self.candidates)} tried: {candidate.candidate.name} {mean:.3f}"
            done = sum(self._work(one) for one in self.candidates[: number + 1])
            left = (time.perf_counter() - began) * (total - done) / done
            self.tell(text.replace("-", "−") + (f"; about {left:.0f} s left" if left >= 1 else ""))

    def _work(self, one: Affordable) -> float:
        """Passes of an image for a candidate, those of both curves among them."""
        return one.passes + 2 * STEPS

    def draw_the_same(self, one: Affordable, other: Affordable) -> bool:
        """Whether the maps of two candidates are equal but for rounding."""
        return _are_same(self._maps_of(one), self._maps_of(other))

    def measure(self, one: Affordable, substrate: str | None = None) -> np.ndarray:
        """Insertion − Deletion (images,) of a candidate; of several maps of an image their mean."""
        maps = self._maps_of(one)
        for earlier, values in zip(self.candidates, self.values, strict=False):
            if substrate is None and _are_same(maps, self._natives[earlier.candidate]):
                return values  # two methods that come to the same at this layer: no more passes for it
        return np.concatenate(
            [self._score(batch, own, substrate) for batch, own in zip(self._batches(), maps, strict=True)]
        )

    def _batches(self) -> list[list[Explanation]]:
        size = self.setup.batch_size
        return [self._explanations[start : start + size] for start in range(0, len(self._explanations), size)]

    def _score(self, batch: Sequence[Explanation], natives: Sequence[Tensor], substrate: str | None) -> np.ndarray:
        inputs, classes, seeds = self._of(batch)
        images = Images(inputs, classes, seeds, None, self._scorer, STEPS, BATCH, substrate)
        measure = METRICS[RANKED_BY].measure
        assert measure is not None
        values = []
        for native in natives:
            heat = upsample(native, (inputs.shape[-2], inputs.shape[-1]), inputs.device)
            values.append(measure(Sample(images, native, heat, _no_other_inputs)).cpu().double().numpy())
        mean: np.ndarray = np.mean(values, axis=0)
        return mean

    def _of(self, batch: Sequence[Explanation]) -> tuple[Tensor, Tensor, list[int]]:
        """Inputs, classes and seeds."""
        setup = self.setup
        inputs = to_input([e.loaded.pixels for e in batch], setup.model.preprocessing, setup.device)
        targets = [e.maps[0].target for e in batch]
        classes = torch.tensor([t.index for t in targets if t is not None], device=setup.device)
        return inputs, classes, [seed_of(e.loaded.metadata.sha256, setup.config.seed) for e in batch]

    def _maps_of(self, one: Affordable) -> list[list[Tensor]]:
        """For each batch, for each map of an image: (N, h, w) raw, on the CPU; made once."""
        if one.candidate not in self._natives:
            self._natives[one.candidate] = [self._explain(one, *self._of(batch)) for batch in self._batches()]
            self._maps += len(self._explanations) * one.passes
        return self._natives[one.candidate]

    def _explain(self, one: Affordable, inputs: Tensor, classes: Tensor, seeds: Sequence[int]) -> list[Tensor]:
        def explained(part: slice) -> list[Tensor]:
            maps = one.explainer(inputs[part], lambda _: classes[part, None], seeds[part]).maps
            return [raw.cpu() for raw in maps.values()]

        parts = list(self._limit.run(len(inputs), explained, 1 if self.setup.model.is_alone else None))
        return [torch.cat(own) for own in zip(*parts, strict=True)]


def _are_same(one: Sequence[Sequence[Tensor]], other: Sequence[Sequence[Tensor]]) -> bool:
    """Whether maps are equal but for rounding."""
    pairs = [pair for batches in zip(one, other, strict=True) for pair in zip(*batches, strict=False)]
    return all(a.shape == b.shape and bool((a - b).abs().max() <= 1e-5 * b.abs().max()) for a, b in pairs)


def _no_other_inputs(inputs: Tensor) -> Tensor:
    raise AssertionError("Insertion − Deletion explains no other inputs")


def with_one_target(setup: Setup) -> Setup:
    """The same explaining the first target of each image alone."""
    return replace(setup, targets=setup.targets[:1])
