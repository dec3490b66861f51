"""The bar plot: one panel a metric, one bar a row, whiskers for the intervals. Drawn with Pillow alone."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from camcli.errors import OutputError
from camcli.evaluation.result import Evaluation
from camcli.evaluation.rows import Row
from camcli.metrics import Metric
from camcli.stats import Estimate

_SCALE = 2  # drawn in pixels of half this size, so that it is sharp on today's screens
_WIDTH, _COLUMNS = 1200, 3
_MARGIN, _GAP = 28, 26
_BAR, _TITLE = 20, 40
_NAMES, _NUMBERS = 128, 48
_COLOURS = ("#2f6fab", "#e08a1e", "#3a9a5b", "#b5485d", "#7b61a8", "#2b9aa0", "#8c6d31", "#c05a9b")
_BASELINE, _INK, _FAINT, _PAPER = "#b4b8bd", "#23272e", "#6b7280", "#ffffff"
_ARROWS = {"higher": "higher is better", "lower": "lower is better", "neither": "neither way is better"}


def plot(evaluation: Evaluation) -> Image.Image:
    """The figures of an evaluation as one RGB picture."""
    panels = list(evaluation.metrics)
    rows_of_panels = -(-len(panels) // _COLUMNS)
    high = _TITLE + _BAR * len(evaluation.rows)
    height = 2 * _MARGIN + 58 + rows_of_panels * (high + _GAP) + 6
    picture = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _PAPER)
    pen = _Pen(ImageDraw.Draw(picture))
    model = evaluation.settings["model"]["name"]
    pen.text(_MARGIN, _MARGIN - 6, f"How well explanations explain {model}", 19, _INK)
    under = (
        f"{len(evaluation.images)} images, bootstrap 95 % intervals over images; "
        "grey: baselines that do not know the model"
    )
    pen.text(_MARGIN, _MARGIN + 20, under, 12, _FAINT)
    wide = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) / _COLUMNS
    for i, metric in enumerate(panels):
        x = _MARGIN + (i % _COLUMNS) * (wide + _GAP)
        y = _MARGIN + 58 + (i // _COLUMNS) * (high + _GAP)
        _panel(pen, evaluation, metric, (x, y, wide))
    return picture


def write_plot(evaluation: Evaluation, path: Path) -> None:
    """Save the plot; the extension of the path decides the format.

    Raises:
        OutputError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        plot(evaluation).save(path)
    except (OSError, ValueError) as error:
        raise OutputError(f"--plot {path}: cannot be written ({error}). Give a .png, .jpg, .webp or .pdf.") from error


class _Pen:
    """Draws in units that do not depend on the sharpness of the picture."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self.draw = draw

    def text(self, x: float, y: float, text: str, size: int, colour: str, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * _SCALE)
        text = text.replace("−", "-")  # the one sign of ours that Pillow's own font does not have
        self.draw.text((x * _SCALE, y * _SCALE), text, fill=colour, font=font, anchor=anchor)

    def shortened(self, text: str, size: int, wide: float) -> str:
        """The text, its middle left out where it is wider than there is room."""
        font = ImageFont.load_default(size * _SCALE)
        kept = len(text)
        shown = text
        while font.getlength(shown) > wide * _SCALE and kept > 4:
            kept -= 1
            shown = text[: kept // 2] + "…" + text[-(kept - kept // 2) :]
        return shown

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        x0, x1 = min(x0, x1), max(x0, x1)
        self.draw.rectangle([x0 * _SCALE, y0 * _SCALE, x1 * _SCALE, y1 * _SCALE], fill=colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str, width: float = 1) -> None:
        ends = [x0 * _SCALE, y0 * _SCALE, x1 * _SCALE, y1 * _SCALE]
        self.draw.line(ends, fill=colour, width=max(1, round(width * _SCALE)))


def _panel(pen: _Pen, evaluation: Evaluation, metric: Metric, place: tuple[float, float, float]) -> None:
    x, y, wide = place
    figures = {row.name: evaluation.figures[row.name][metric.key] for row in evaluation.rows}
    low, high = _span(list(figures.values()))
    left, right = x + _NAMES, x + wide - _NUMBERS

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    pen.text(x, y, metric.name, 14, _INK)
    pen.text(x + wide, y + 2, _ARROWS[metric.better], 11, _FAINT, "ra")
    top = y + _TITLE - 14
    for number, row in enumerate(evaluation.rows):
        middle = top + _BAR * (number + 0.5)
        found = figures[row.name]
        pen.text(left - 6, middle, pen.shortened(row.name, 11, _NAMES - 8), 11, _colour_of_name(row), "rm")
        if found.value is None:
            pen.text(left + 4, middle, "no value", 11, _FAINT, "lm")
            continue
        pen.box(at(0.0), middle - 6, at(found.value), middle + 6, _colour(row, evaluation))
        if found.interval is not None:
            a, b = at(found.interval[0]), at(found.interval[1])
            pen.line(a, middle, b, middle, _INK)
            for end in (a, b):
                pen.line(end, middle - 3, end, middle + 3, _INK)
        pen.text(x + wide, middle, f"{found.value:.{metric.decimals}f}", 11, _colour_of_name(row), "rm")
    pen.line(at(0.0), top, at(0.0), top + _BAR * len(evaluation.rows), _FAINT, 0.5)


def _span(figures: list[Estimate]) -> tuple[float, float]:
    """What the panel reaches over: all bars and whiskers, and 0."""
    values = [0.0]
    for found in figures:
        values += [found.value] if found.value is not None else []
        values += found.interval or ()
    low, high = min(values), max(values)
    return (low, high) if high > low else (0.0, 1.0)


def _colour(row: Row, evaluation: Evaluation) -> str:
    return _BASELINE if row.baseline else _COLOURS[evaluation.methods.index(row) % len(_COLOURS)]


def _colour_of_name(row: Row) -> str:
    return _FAINT if row.baseline else _INK
