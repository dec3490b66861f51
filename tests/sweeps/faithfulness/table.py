"""The tables of a sweep, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from camcli.metrics import METRICS
from camcli.stats import Estimate
from tests.sweeps.faithfulness.contenders import FAST, LAST_BLOCK, REFERENCES, contenders_of
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.results import CURVES, ModelResult, Row, load

METRICS_SHOWN = ("insertion", "deletion", "road", "gridpg", "drop", "sparsity")
COMPARED = ("road", "gridpg", "drop")
"""Of these the first tables have paired differences to Grad-CAM too."""
PATHS = ("pathcam", FAST)
FILE, FIGURE, FIRST = "faithfulness_tables.md", "faithfulness.png", "faithfulness_first.png"
HEAD = (
    "# Faithfulness of all methods", "",
    "Printed by `python -m tests.sweeps.faithfulness --table DIR --write docs/measured`;",
    "[Faithfulness](faithfulness.md) says what was measured and how. In brackets behind a figure: its 95 % interval",
    "over photographs, of mosaics for GridPG. Differences are paired. *forward passes*: processor time of a map as",
    "a multiple of that of a forward pass, and *ms* the time itself, on one thread; in brackets by itself: not",
    "measured, the documented number of passes, in which every pass of a part of the network counts as one.", "",
    "▲ and ▼: better and worse than HiResCAM at the last block, with the whole interval on one side; =: not told",
    "apart. The columns *new* have the median rank correlation of maps with those of the network after so many of",
    "its weights, the last ones first, were drawn anew; *mean size* is the mean of its absolute value with all of",
    "them new; *another class* has the correlation with the map of a class drawn at random. Near 0 is right, and",
    "below 0 for another class.", "",
)  # fmt: skip
TITLES = {
    "lite0": "EfficientNet-Lite0 (built-in)", "lite1": "EfficientNet-Lite1", "lite2": "EfficientNet-Lite2",
    "resnet18": "ResNet-18", "vit_tiny": "ViT-Tiny/16",
}  # fmt: skip


def write_all(out: Path, folder: Path, checkpoints: Path | None) -> None:
    """Write the tables and the figures of the results in ``out`` into ``folder``: of all models, of the first."""
    from tests.sweeps.faithfulness.plot import draw

    results = load(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("\n".join(lines_of(results, checkpoints)) + "\n")
    draw(results, folder / FIGURE)
    draw(results[:1], folder / FIRST)
    print(f"{folder / FILE}, {folder / FIGURE}, {folder / FIRST}")


def lines_of(results: Sequence[ModelResult], checkpoints: Path | None = None) -> list[str]:
    """A section for each model."""
    lines = [*HEAD, *summary_lines(results), *training_lines(checkpoints)]
    for result in results:
        lines += [f"## {TITLES[result.model]}", "", _photographs(result), "", *figure_table(result), ""]
        lines += ["Insertion − Deletion with other substrates:", "", *substrate_table(result), ""]
        if any(row.random.get("values") for row in result.rows):
            lines += ["With re-initialised weights, and of another class:", "", *random_table(result), ""]
        if result.unsuitable:
            why = "; ".join(f"`{name}`: {_one_line(text, name)}" for name, text in sorted(result.unsuitable.items()))
            lines += [f"Left out: {why}.", ""]
        rows = {row.name for row in result.rows}
        missing = [f"`{one.name}`" for one in contenders_of(MODELS[result.model]) if one.name not in rows]
        if missing := [name for name in missing if name.strip("`") not in result.unsuitable]:
            lines += [f"Not measured, for want of time: {', '.join(missing)}.", ""]
    return lines


def summary_lines(results: Sequence[ModelResult]) -> list[str]:
    """PathCAM on every model: paired differences, and the weight-randomisation check beside Grad-CAM's."""
    heads = ["model", "method", f"Insertion − Deletion, − `{LAST_BLOCK}`", "better on", "− `gradcam`"]
    lines = _head([*heads, *(f"{METRICS[key].name}, − `gradcam`" for key in COMPARED), "forward passes"])
    for result in results:
        for row in (row for name in PATHS if (row := result.row(name))):
            block, usual = (result.row(name) for name in REFERENCES)
            cells = [TITLES[result.model], f"`{row.name}`"]
            cells += [_difference(row.against(block, "ins-del")) if block else "", _share_better(row, block)]
            for key in ("ins-del", *COMPARED):
                decimals = METRICS[key].decimals
                cells.append(_difference(row.against(usual, key), decimals) if usual else "")
            lines.append(_line([*cells, cost_cells(row)[0]]))
    return ["## `pathcam` in short", "", *lines, ""]


def _share_better(row: Row, other: Row | None) -> str:
    if other is None or row.figures["images"] != other.figures["images"]:
        return ""
    return f"{100 * float((row.values('ins-del') > other.values('ins-del')).mean()):.0f} %"


def training_lines(checkpoints: Path | None) -> list[str]:
    """How well the networks that were trained here classify."""
    files = [checkpoints / f"{name}.json" for name in MODELS] if checkpoints else []
    reports = [json.loads(file.read_text()) for file in files if file.exists()]
    if not reports:
        return []
    lines = ["## The networks that were trained here", ""]
    lines.append("| network | photographs | top 1 | teacher's top 1 | same class as the teacher | mean probability |")
    lines.append("|---|---|---|---|---|---|")
    for report in reports:
        for half, words in (("trained_on", "trained on"), ("unseen", "never seen")):
            shares = report[half]["shares"]
            cells = [f"{100 * shares[key]:.0f} %" for key in ("top 1", "teacher's top 1", "agreement")]
            count = f"{report[half]['photographs']}, {words}"
            lines.append(_line([f"`{report['model']}`", count, *cells, f"{shares['mean probability']:.2f}"]))
    return [*lines, ""]


def _photographs(result: ModelResult) -> str:
    most = max(row.images for row in result.rows)
    fewer = sorted({row.images for row in result.rows} - {most})
    text = f"{most} photographs"
    if fewer:
        text += f"; {' or '.join(map(str, fewer))} for methods that take many passes (column *n*)"
    return text + "."


def figure_table(result: ModelResult) -> list[str]:
    """Every metric, with the paired difference to both references and the cost."""
    references = [row for name in REFERENCES if (row := result.row(name))]
    heads = ["method", "n", "Insertion − Deletion", *(f"− `{row.name}`" for row in references)]
    heads += [METRICS[key].name for key in METRICS_SHOWN]
    lines = _head([*heads, "forward passes", "ms"])
    for row in result.rows:
        apart = [_difference(row.against(other, "ins-del")) for other in references]
        cells = [f"`{row.name}`", str(row.images), _with_interval(row.figure("ins-del"), 3), *apart]
        cells += [_cell(row.figure(key), key) for key in METRICS_SHOWN]
        lines.append(_line([*cells, *cost_cells(row)]))
    return lines


def _cell(result: Estimate, key: str) -> str:
    decimals = METRICS[key].decimals
    return _with_interval(result, decimals) if key in COMPARED else _number(result.value, decimals)


def cost_cells(row: Row) -> list[str]:
    """Forward passes and milliseconds; where they were not measured, the documented passes."""
    if row.is_baseline:
        return ["0", ""]
    if not row.is_measured:
        return [f"({row.figures['passes']:,})", ""]  # in brackets: documented
    passes, spent = row.cost["measured_passes"], row.cost["milliseconds"]
    return [f"{passes:,.1f}" if passes < 100 else f"{passes:,.0f}", f"{spent:,.0f}"]


def substrate_table(result: ModelResult) -> list[str]:
    """Each value, and in which it differs from HiResCAM at the last block for certain."""
    reference = result.row(LAST_BLOCK)
    lines = _head(["method", "usual", *(key for key in CURVES.values() if key)])
    for row in result.rows:
        lines.append(_line([f"`{row.name}`", *(_marked(row, reference, key) for key in CURVES)]))
    return lines


def _marked(row: Row, reference: Row | None, key: str) -> str:
    value = _number(row.figure(key).value, 3)
    apart = row.against(reference, key) if reference else None
    if apart is None or apart.interval is None:
        return value
    low, high = apart.interval
    return f"{value} {'▲' if low > 0 else '▼' if high < 0 else '='}"


def random_table(result: ModelResult) -> list[str]:
    """Median rank correlations of maps that should differ: near 0 is good."""
    lines = _head(["method", "n", "top third new", "two thirds", "all weights new", "mean size", "another class"])
    rows = [row for row in result.rows if row.random.get("values")]
    for row in rows:
        cells = [_number(value, 2) for value in row.random["median_by_stage"]]
        cells.append(_number(row.mean_size("weights"), 2))
        other = _number(row.median("otherclass"), 2) if "otherclass" in row.random["values"] else "agnostic"
        lines.append(_line([f"`{row.name}`", str(len(row.random["images"])), *cells, other]))
    return lines


def _difference(apart: Estimate | None, decimals: int = 3) -> str:
    if apart is None:
        return ""
    text = _with_interval(apart, decimals)
    return text if text.startswith(("−", "+")) or not text else f"+{text}"


def _with_interval(result: Estimate, decimals: int) -> str:
    if result.value is None:
        return ""
    value = _number(result.value, decimals)
    if result.interval is None:
        return value
    low, high = (_number(end, decimals) for end in result.interval)
    return f"{value} [{low}, {high}]"


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}".replace("-", "−")


def _one_line(text: str, name: str) -> str:
    return text.split(". ", maxsplit=1)[0].replace("\n", " ").rstrip(".").removeprefix(f"{name}: ")


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
