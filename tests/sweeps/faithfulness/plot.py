"""Faithfulness against cost, one panel a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.sweeps.faithfulness.contenders import FAST, REFERENCES
from tests.sweeps.faithfulness.results import ModelResult, Row
from tests.sweeps.faithfulness.table import TITLES

CHEAP = 6
"""Forward passes up to which a label stands on the left; there most methods are, and the others on the right."""
FONT = 7
COLOURS = {"pathcam": "#c2410c", FAST: "#c2410c", **dict.fromkeys(REFERENCES, "#1d4ed8")}
PLAIN = "#525252"


def draw(results: Sequence[ModelResult], file: Path) -> None:
    """Write the figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(2, len(results))
    lines = -(-len(results) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(7.4 * columns, 5.2 * lines), squeeze=False)
    for place, panel in enumerate(axes.flat):
        if place < len(results):
            draw_panel(panel, results[place])
        else:
            panel.axis("off")
    figure.tight_layout(w_pad=2)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def draw_panel(panel: Any, result: ModelResult) -> list[Any]:
    """A point with its interval for each method, a line for each baseline; the labels, none on another."""
    rows = [row for row in result.rows if not row.is_baseline]
    panel.set_xscale("log")
    most = max(row.images for row in rows)
    for row in rows:
        figure = row.figure("ins-del")
        low, high = figure.interval or (figure.value, figure.value)
        panel.plot([_x(row)] * 2, [low, high], color="#d4d4d4", linewidth=1, zorder=1)
        filled = {} if row.images == most else {"markerfacecolor": "white"}
        panel.plot(_x(row), figure.value, "o", color=_colour(row), markersize=4.5, zorder=3, **filled)
    for row in (row for row in result.rows if row.is_baseline):
        panel.axhline(row.figure("ins-del").value, color="#a3a3a3", linewidth=0.8, linestyle=":", zorder=0)
    xs = [_x(row) for row in rows]
    panel.set_xlim(min(0.45, min(xs) / 1.2), max(xs) * 1.3)
    panel.set_title(TITLES.get(result.model, result.model), fontsize=10, loc="left")
    panel.set_xlabel("cost of a map, forward passes (log scale)", fontsize=8)
    panel.set_ylabel("Insertion − Deletion", fontsize=8, labelpad=102)
    panel.tick_params(labelsize=7)
    panel.tick_params(axis="y", pad=-6, direction="in")  # inside, since the names of methods stand outside
    for label in panel.get_yticklabels():
        label.set_horizontalalignment("left")
    return [
        *_label_side(panel, [row for row in rows if _x(row) <= CHEAP], left=True),
        *_label_side(panel, [row for row in rows if _x(row) > CHEAP], left=False),
        *_label_baselines(panel, [row for row in result.rows if row.is_baseline]),
    ]


def _x(row: Row) -> float:
    return max(row.passes or 1.0, 0.5)


def _colour(row: Row) -> str:
    return COLOURS.get(row.name, PLAIN)


def _label_side(panel: Any, rows: Sequence[Row], *, left: bool) -> list[Any]:
    """Labels in a column beside the panel, in the order of the values, each joined to its point by a thin line."""
    rows = sorted(rows, key=lambda row: row.figure("ins-del").value or 0)
    low, high = panel.get_ylim()
    wanted = np.array([((row.figure("ins-del").value or 0) - low) / (high - low) for row in rows])
    labels = []
    for row, place in zip(rows, apart(wanted, least_distance(panel, len(rows))), strict=True):
        ends = {"xy": (_x(row), row.figure("ins-del").value), "xycoords": "data"}
        labels.append(panel.annotate(
            row.name, **ends, xytext=(-0.03 if left else 1.03, place), textcoords="axes fraction", fontsize=FONT,
            color=_colour(row), ha="right" if left else "left", va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#c4c4c4", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
        ))  # fmt: skip
    return labels


def _label_baselines(panel: Any, rows: Sequence[Row]) -> list[Any]:
    """Names inside the panel, at the right end of the dotted lines."""
    rows = sorted(rows, key=lambda row: row.figure("ins-del").value or 0)
    low, high = panel.get_ylim()
    wanted = np.array([((row.figure("ins-del").value or 0) - low) / (high - low) for row in rows])
    places = apart(wanted, least_distance(panel, 1))
    return [
        panel.text(0.99, place, row.name.removeprefix("baseline-"), transform=panel.transAxes, fontsize=FONT - 1,
                   color="#737373", ha="right", va="bottom")
        for row, place in zip(rows, places, strict=True)
    ]  # fmt: skip


def least_distance(panel: Any, count: int) -> float:
    """Between the middles of labels, as a share of the panel's height; smaller only where they would not fit."""
    inches = panel.get_window_extent().height / panel.figure.dpi
    return min(1.25 * FONT / 72 / inches, 1 / max(1, count - 1))


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
