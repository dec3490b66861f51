"""The options of an evaluation, beside the settings of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from camcli.errors import ConfigError, did_you_mean
from camcli.methods import METHODS
from camcli.metrics import METRICS, Metric, find_metrics
from camcli.metrics.curve import STEPS
from camcli.metrics.substrate import SUBSTRATES

CANDIDATES = tuple(method.key for method in METHODS.values() if method.candidate)
"""What ``--recommend`` tries where no method but the default is named."""
RANKED_BY = next(metric.key for metric in METRICS.values() if metric.headline)
TIED_BY = next(metric.key for metric in METRICS.values() if metric.breaks_ties)
"""The metrics that a recommendation is made from: the first, and the one that decides between equals."""


@dataclass(frozen=True)
class EvalOptions:
    """The flags of ``cam eval`` that ``cam run`` does not have.

    Attributes:
        metrics: keys; none: those by default. ``all`` is every one.
        steps: intervals of the deletion and insertion curves.
        baselines: whether the model-independent baselines stand in the table.
        grid: images a side of a GridPG mosaic.
        grid_probability: least probability of the top class of an image that goes into a mosaic.
        recommend: whether the best method and layer are to be named.
        substrate: what stands in place of pixels in both curves, of :data:`.SUBSTRATES`; None: the usual one of each,
            ``blur`` for insertion and ``zero`` for deletion.
        reference: the method that all others are compared with; None: Grad-CAM where it is among them, else the first.

    Raises:
        ConfigError: a value out of its range, an unknown metric.
    """

    metrics: Sequence[str] = ()
    steps: int = STEPS
    baselines: bool = True
    grid: int = 2
    grid_probability: float = 0.9
    recommend: bool = False
    substrate: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ConfigError(f"--steps {self.steps}: a curve needs at least 2 steps; 16 to 64 are usual.")
        if not 2 <= self.grid <= 5:
            raise ConfigError(f"--grid {self.grid}: mosaics of 2×2 to 5×5 images can be made.")
        if not 0 <= self.grid_probability <= 1:
            raise ConfigError(f"--grid-probability {self.grid_probability}: must be between 0 and 1.")
        if self.substrate is not None and self.substrate not in SUBSTRATES:
            listed = ", ".join(SUBSTRATES)
            hint = did_you_mean(self.substrate, SUBSTRATES)
            raise ConfigError(f"--substrate {self.substrate}: no such substrate.{hint} Choose one of {listed}.")
        find_metrics(self.metrics)

    @cached_property
    def chosen(self) -> tuple[Metric, ...]:
        """The metrics, in the order of the table; a recommendation brings those it is made from."""
        keys = {metric.key for metric in find_metrics(self.metrics)}
        return find_metrics([*keys, RANKED_BY, TIED_BY] if self.recommend else list(keys))
