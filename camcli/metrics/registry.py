"""All metrics, one entry each: what ``--metrics`` takes, what a figure means, which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from camcli.errors import ConfigError, did_you_mean
from camcli.metrics.maxboxacc import max_box_accuracy
from camcli.stats import Finish, first

Better = Literal["higher", "lower", "neither"]
Needs = Literal["scores", "maps", "regions", "mosaics"]
Group = Literal["Pixels by rank", "Dimmed by the map", "Place", "Form"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        key: what is typed.
        name: for people.
        paper: where it comes from.
        needs: what it is computed from: more passes through the model, the maps alone, boxes or masks, mosaics.
        group: what is done to the image, or looked at; tables are printed by group.
        better: which way is better; ``neither`` describes without judging.
        factor: from the mean to the figure; 100 for percentages.
        finish: from means over images to the figure, before the factor.
        usual: whether it is computed without being asked for.
    """

    key: str
    name: str
    paper: str
    needs: Needs
    group: Group
    better: Better = "higher"
    factor: float = 1.0
    finish: Finish = first
    usual: bool = True

    @property
    def decimals(self) -> int:
        return 1 if self.factor == 100 else 3

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "name": self.name, "better": self.better, "paper": self.paper, "percent": self.percent}

    @property
    def percent(self) -> bool:
        return self.factor == 100


# What the metrics of a group share.
_rank = partial(Metric, needs="scores", group="Pixels by rank")
_dimmed = partial(Metric, needs="scores", group="Dimmed by the map")
_object = partial(Metric, needs="regions", group="Place")
_form = partial(Metric, better="neither", needs="maps", group="Form")

_TABLE = (
    _rank("ins-del", "Insertion − Deletion", "Petsiuk 2018, arXiv:1806.07421"),
    _rank("insertion", "Insertion", "Petsiuk 2018, arXiv:1806.07421"),
    _rank("deletion", "Deletion", "Petsiuk 2018, arXiv:1806.07421", better="lower"),
    _rank("road", "ROAD", "Rong 2022, arXiv:2202.00449", usual=False),
    _dimmed("drop", "Average Drop %", "Chattopadhyay 2018, arXiv:1710.11063", better="lower", factor=100),
    _dimmed("increase", "Average Increase %", "Chattopadhyay 2018, arXiv:1710.11063", factor=100),
    _dimmed("gain", "Average Gain %", "Zhang 2023, arXiv:2301.07002", factor=100),
    _dimmed("win", "Win %", "Chattopadhyay 2018, arXiv:1710.11063", factor=100),
    _dimmed("adcc", "ADCC", "Poppi 2021, arXiv:2104.10252"),
    Metric("gridpg", "GridPG", "Böhle 2021, arXiv:2104.00032", needs="mosaics", group="Place"),
    _object("pointing", "Pointing game %", "Zhang 2018, arXiv:1608.00507", factor=100),
    _object("energy", "Energy in object", "Wang 2020, arXiv:1910.01279"),
    _object("maxboxacc", "MaxBoxAccV2 %", "Choe 2020, arXiv:2007.04178", factor=100, finish=max_box_accuracy),
    _form("sparsity", "Sparsity", "Chalasani 2020, arXiv:1810.06583"),
    _form("entropy", "Entropy", "Shannon 1948"),
)

METRICS = MappingProxyType({metric.key: metric for metric in _TABLE})
"""By key, in the order of the tables. Read-only."""


def find_metrics(keys: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of these keys, in the order of the table; ``all`` is every one, none at all the usual ones.

    Raises:
        ConfigError: an unknown key, with those most like it.
    """
    if not keys:
        return tuple(metric for metric in _TABLE if metric.usual)
    for key in keys:
        if key not in METRICS and key != "all":
            raise ConfigError(
                f"--metrics {key}: no such metric.{did_you_mean(key, METRICS)} Choose from {', '.join(METRICS)}, all."
            )
    return tuple(metric for metric in _TABLE if "all" in keys or metric.key in keys)
