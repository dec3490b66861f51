"""Faithfulness against cost, one panel a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.sweeps.faithfulness.contenders import FAST, LAST_BLOCK
from tests.sweeps.faithfulness.results import ModelResult, Row
from tests.sweeps.faithfulness.table import TITLES

CHEAP = 6
"""Forward passes up to which a label stands on the left; there most methods are, and the others on the right."""
FONT = 7
PATHS = "paths at several layers"
FAMILIES = {
    PATHS: ("#c2410c", ("pathcam", FAST)),
    "gradients at a layer": ("#1d4ed8", (
        "cam", "gradcam", "gradcam++", "smoothgradcam++", "xgradcam", "hirescam", LAST_BLOCK, "gradcamelementwise",
        "layercam", "finercam", "shapleycam", "eigengradcam", "segeigencam", "refinecam",
    )),
    "gradients of the image": ("#15803d", ("fullgrad", "guidedbackprop", "guidedgradcam")),
    "activations, no class": ("#737373", ("eigencam", "kpcacam", "fem", "lafam", "randomcam")),
    "masks and removal": ("#7e22ce", (
        "scorecam", "sscam", "iscam", "ablationcam", "reciprocam", "groupcam", "opticam", "rise",
    )),
    "attention": ("#0f766e", ("rollout", "chefer", "legrad")),
}  # fmt: skip
"""Colour and contenders of each."""
COLOURS = {name: colour for colour, names in FAMILIES.values() for name in names}
LINE = "#a3a3a3"


@dataclass(frozen=True)
class Point:
    """Contenders whose maps have the same figure, as those have that are the same on a linear head.

    Attributes:
        rows: all of them; the first one is drawn.
    """

    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        return self.rows[0]

    @property
    def label(self) -> str:
        """Their names, or the first one and how many others."""
        names = [row.name.removeprefix("baseline-") for row in self.rows]
        return " = ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} equal"

    @property
    def colour(self) -> str:
        return LINE if self.row.is_baseline else COLOURS[self.row.name]

    @property
    def is_path(self) -> bool:
        """Whether it is emphasised."""
        return self.row.name in FAMILIES[PATHS][1]

    @property
    def x(self) -> float:
        """Cost in forward passes."""
        return max(min(row.passes or 1.0 for row in self.rows), 0.5)

    @property
    def y(self) -> float:
        """Insertion − Deletion."""
        return self.row.figure("ins-del").value or 0.0


def draw(results: Sequence[ModelResult], file: Path) -> None:
    """Write the figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    count = len(results) + 1  # the key stands in the last one
    columns = min(2, len(results))
    lines = -(-count // columns)
    heights = [4.4] * (lines - 1) + [4.4 if columns > 1 else 2.6]
    figure, axes = plt.subplots(
        lines, columns, figsize=(6.6 * columns, sum(heights)), squeeze=False, height_ratios=heights
    )
    for place, panel in enumerate(axes.flat):
        if place < len(results):
            draw_panel(panel, results[place])
        else:
            panel.axis("off")
    _draw_key(axes.flat[len(results)])
    figure.tight_layout(w_pad=2, h_pad=2)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def draw_panel(panel: Any, result: ModelResult) -> list[Any]:
    """A point with its interval for each method, a line for each baseline; the labels, none on another."""
    from matplotlib.ticker import MaxNLocator

    points = points_of([row for row in result.rows if not row.is_baseline])
    baselines = points_of([row for row in result.rows if row.is_baseline])
    panel.set_xscale("log")
    most = max(point.row.images for point in points)
    for point in points:
        is_path = point.is_path
        low, high = point.row.figure("ins-del").interval or (point.y, point.y)
        panel.plot(
            [point.x] * 2, [low, high], color=point.colour, alpha=0.8 if is_path else 0.25, linewidth=1, zorder=1
        )
        style: dict[str, Any] = {"marker": "o" if point.row.is_measured else "s", "markersize": 7 if is_path else 4.5}
        if point.row.images < most:
            style["markerfacecolor"] = "white"
        panel.plot(point.x, point.y, color=point.colour, zorder=3, **style)
    for point in baselines:
        panel.axhline(point.y, color=LINE, linewidth=0.8, linestyle=":", zorder=0)
    xs = [point.x for point in points]
    panel.set_xlim(min(xs) / 4, max(xs) * 1.5)
    bottom, top = panel.get_ylim()
    panel.set_ylim(bottom - 0.03 * (top - bottom), top + 0.03 * (top - bottom))
    panel.set_title(TITLES.get(result.model, result.model), fontsize=10, loc="left")
    panel.set_xlabel("forward passes a map costs", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.tick_params(axis="y", pad=-5, direction="in")  # inside, since the names of methods stand outside
    low, high = panel.get_ylim()
    edge = 0.04 * (high - low)
    panel.set_yticks([tick for tick in MaxNLocator(7).tick_values(low, high) if low + edge < tick < high - edge])
    for label in panel.get_yticklabels():
        label.set_horizontalalignment("left")
    return [
        *_label_side(panel, [point for point in points if point.x <= CHEAP], left=True),
        *_label_side(panel, [*(point for point in points if point.x > CHEAP), *baselines], left=False),
    ]


def points_of(rows: Sequence[Row]) -> list[Point]:
    """Rows of a family and the same figure together, Grad-CAM first among them, then short names."""
    groups: dict[tuple[str | None, int, int], list[Row]] = {}
    for row in rows:
        same = COLOURS.get(row.name), row.images, round(10_000 * (row.figure("ins-del").value or 0))
        groups.setdefault(same, []).append(row)
    return [
        Point(tuple(sorted(own, key=lambda row: (row.name != "gradcam", len(row.name))))) for own in groups.values()
    ]


def _draw_key(panel: Any) -> None:
    """What colours, marks and lines mean."""
    from matplotlib.lines import Line2D

    marks: list[tuple[str, dict[str, Any]]] = [
        (name, {"marker": "o", "color": colour, "linestyle": ""}) for name, (colour, _) in FAMILIES.items()
    ]
    plain = {"color": "#404040", "linestyle": "", "markersize": 5}
    marks += [
        ("cost measured (processor time)", {**plain, "marker": "o"}),
        ("cost as documented (number of passes)", {**plain, "marker": "s"}),
        ("fewer photographs", {**plain, "marker": "o", "markerfacecolor": "white"}),
        ("95 % interval", {"color": "#404040", "alpha": 0.4}),
        ("baselines, which look at no model", {"color": LINE, "linestyle": ":"}),
    ]
    handles = [Line2D([], [], label=label, **style) for label, style in marks]
    title = "Vertical: Insertion − Deletion, higher is better"
    panel.legend(handles=handles, title=title, loc="center", frameon=False, fontsize=9, title_fontsize=9)


def _label_side(panel: Any, points: Sequence[Point], *, left: bool) -> list[Any]:
    """Labels in a column beside the panel, in the order of the values, each joined to its point by a thin line."""
    points = sorted(points, key=lambda point: point.y)
    low, high = panel.get_ylim()
    wanted = np.array([(point.y - low) / (high - low) for point in points])
    edge = panel.get_xlim()[1]
    labels = []
    for point, place in zip(points, apart(wanted, least_distance(panel, len(points))), strict=True):
        labels.append(panel.annotate(
            point.label, xy=(edge if point.row.is_baseline else point.x, point.y), xycoords="data",
            xytext=(-0.03 if left else 1.04, place), textcoords="axes fraction", fontsize=FONT,
            color="#737373" if point.row.is_baseline else point.colour, ha="right" if left else "left", va="center",
            style="italic" if point.row.is_baseline else "normal", weight="bold" if point.is_path else "normal",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#d4d4d4", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
        ))  # fmt: skip
    return labels


def least_distance(panel: Any, count: int) -> float:
    """Between the middles of labels, as a share of the panel's height; smaller only where they would not fit."""
    inches = panel.get_window_extent().height / panel.figure.dpi
    return min(1.35 * FONT / 72 / inches, 1 / max(1, count - 1))


def apart(wanted: np.ndarray, distance: float) -> np.ndarray:
    """The places nearest to the wanted ones (ascending), at that distance at least, within [0, 1] where they fit."""
    if not len(wanted):
        return wanted
    steps = distance * np.arange(len(wanted))
    free = wanted - steps
    blocks: list[tuple[float, int]] = []  # mean of the wanted places and size: isotonic regression
    for value in free:
        blocks.append((float(value), 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, n), (b, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    shifted = np.concatenate([np.full(count, mean) for mean, count in blocks])
    return np.clip(shifted, 0, max(0.0, 1 - float(steps[-1]))) + steps
