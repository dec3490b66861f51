"""The bar plot of an evaluation: one panel a metric, one bar an entry, whiskers for the intervals."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camcli.errors import ConfigError
from camcli.evaluation.entries import MethodEntry
from camcli.evaluation.result import Evaluation
from camcli.metrics import Metric
from camcli.output import write_named_file
from camcli.stats import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")

_COLUMNS = 3
_WIDTH, _DOTS_PER_INCH = 12.0, 200
_LONGEST_NAME = 30
_COLOURS = ("#2f6fab", "#e08a1e", "#3a9a5b", "#b5485d", "#7b61a8", "#2b9aa0", "#8c6d31", "#c05a9b")
_BASELINE, _INK, _FAINT, _GRID = "#b4b8bd", "#23272e", "#6b7280", "#e6e8eb"
_BETTER = {"higher": "higher is better →", "lower": "← lower is better", "neither": "neither is better"}
_SETTINGS: dict[Any, Any] = {
    "font.size": 9, "axes.edgecolor": _FAINT, "text.color": _INK, "xtick.color": _FAINT, "pdf.fonttype": 42,
    "svg.hashsalt": "cam eval",  # the same figures give the same file
}  # fmt: skip
_METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None}, ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}  # fmt: skip


def check_plot(path: str | Path) -> None:
    """Refuse a plot that could not be written in the end.

    Raises:
        ConfigError: the extension is of no known format, or matplotlib is not installed.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ConfigError(f"--plot {path}: the extension decides the format; give one of {', '.join(FORMATS)}.")
    if not can_plot():
        raise ConfigError(
            f"--plot {path}: matplotlib is not installed. Install the extra 'plot': pip install matplotlib."
        )


def can_plot() -> bool:
    """Whether matplotlib, the extra ``plot``, is installed."""
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        return False
    return True


def write_plot(evaluation: Evaluation, path: Path, option: str = "--plot") -> None:
    """Draw the plot and write it to the file that a flag names; the extension of the path decides the format.

    Raises:
        ConfigError: as :func:`check_plot`.
        OutputError: the file cannot be written.
    """
    check_plot(path)
    import matplotlib

    kind = path.suffix.lower()
    data = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own style file says
        matplotlib.rcParams.update(_SETTINGS)
        draw(evaluation).savefig(data, format=kind[1:], dpi=_DOTS_PER_INCH, metadata=_METADATA.get(kind))
    write_named_file(option, path, [data.getvalue()])


def draw(evaluation: Evaluation) -> Figure:
    """The figures of an evaluation; without pyplot, which keeps every figure in a global list."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = max(1, min(_COLUMNS, len(evaluation.metrics)))
    rows_of_panels = max(1, -(-len(evaluation.metrics) // columns))
    height = 0.9 + rows_of_panels * (0.85 + 0.24 * len(evaluation.entries))
    figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
    panels = figure.subplots(rows_of_panels, columns, squeeze=False, sharey=True).ravel()
    for panel, metric in zip(panels, evaluation.metrics, strict=False):
        _panel(panel, evaluation, metric)
    for panel in panels[len(evaluation.metrics) :]:
        panel.set_axis_off()
    for panel in panels[::columns]:
        _name_rows(panel, evaluation.entries)
    about = f"{len(evaluation.images)} images; whiskers: bootstrap {100 * LEVEL:g} % intervals over images"
    if len(evaluation.methods) < len(evaluation.entries):
        about += "; grey: model-independent baselines"
    figure.suptitle(f"Evaluation of explanations: {evaluation.settings['model']['name']}\n", x=0.01, ha="left", size=14)
    figure.text(0.01, 1 - 0.42 / height, about, color=_FAINT, va="top")
    return figure


def _panel(panel: Axes, evaluation: Evaluation, metric: Metric) -> None:
    panel.set_title(metric.name, loc="left", size=10.5, weight="bold")
    panel.set_xlabel(_BETTER[metric.better], loc="right", size=8, color=_FAINT)
    panel.grid(axis="x", color=_GRID)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.axvline(0, color=_FAINT, linewidth=0.8)
    for place, entry in enumerate(evaluation.entries):
        estimate = evaluation.figures[entry.name][metric.key]
        if estimate.value is None:
            text = "no value"
        else:
            text = f"{estimate.value:.{metric.decimals}f}"
            panel.barh(place, estimate.value, height=0.68, color=_colour(entry, evaluation))
        if estimate.interval is not None:
            panel.plot(estimate.interval, [place, place], color=_INK, linewidth=1, marker="|", markersize=5)
        panel.annotate(
            text, (1, place), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", size=8, color=_FAINT if entry.baseline else _INK, annotation_clip=False,
        )  # fmt: skip


def _name_rows(panel: Axes, entries: Sequence[MethodEntry]) -> None:
    panel.set_yticks(range(len(entries)), [_shorten(entry.name) for entry in entries])
    panel.set_ylim(len(entries) - 0.5, -0.5)
    for label, entry in zip(panel.get_yticklabels(), entries, strict=True):
        label.set_color(_FAINT if entry.baseline else _INK)


def _shorten(name: str) -> str:
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def _colour(entry: MethodEntry, evaluation: Evaluation) -> str:
    return _BASELINE if entry.baseline else _COLOURS[evaluation.methods.index(entry) % len(_COLOURS)]
