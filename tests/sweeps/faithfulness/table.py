"""The tables of a sweep, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from camcli.metrics import METRICS
from camcli.stats import Estimate
from tests.sweeps.faithfulness.contenders import LAST_BLOCK, REFERENCES
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.results import CURVES, ModelResult, Row, load

METRICS_SHOWN = ("insertion", "deletion", "road", "gridpg", "drop", "sparsity")
FILE, FIGURE = "faithfulness.md", "faithfulness.png"
TITLES = {
    "lite0": "EfficientNet-Lite0 (built-in)", "lite1": "EfficientNet-Lite1", "lite2": "EfficientNet-Lite2",
    "resnet18": "ResNet-18", "vit_tiny": "ViT-Tiny/16",
}  # fmt: skip


def write_all(out: Path, folder: Path, checkpoints: Path | None) -> None:
    """Write the tables and the figure of the results in ``out`` into ``folder``."""
    from tests.sweeps.faithfulness.plot import draw

    results = load(out)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("\n".join(lines_of(results, checkpoints)) + "\n")
    draw(results, folder / FIGURE)
    print(f"{folder / FILE}, {folder / FIGURE}")


def lines_of(results: Sequence[ModelResult], checkpoints: Path | None = None) -> list[str]:
    """A section for each model."""
    lines = training_lines(checkpoints)
    for result in results:
        lines += [f"## {TITLES[result.model]}", "", _photographs(result), "", *figure_table(result), ""]
        lines += ["Insertion − Deletion with other substrates:", "", *substrate_table(result), ""]
        if any(row.random.get("values") for row in result.rows):
            lines += ["With re-initialised weights, and of another class:", "", *random_table(result), ""]
        if result.unsuitable:
            why = "; ".join(f"`{name}`: {_one_line(text)}" for name, text in sorted(result.unsuitable.items()))
            lines += [f"Left out: {why}", ""]
    return lines


def training_lines(checkpoints: Path | None) -> list[str]:
    """How well the networks that were trained here classify."""
    files = [checkpoints / f"{name}.json" for name in MODELS] if checkpoints else []
    reports = [json.loads(file.read_text()) for file in files if file.exists()]
    if not reports:
        return []
    lines = ["| network | photographs | top 1 | teacher's top 1 | same class as the teacher | mean probability |"]
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
        cells += [_with_interval(row.figure(key), METRICS[key].decimals) for key in METRICS_SHOWN]
        lines.append(_line([*cells, *cost_cells(row)]))
    return lines


def cost_cells(row: Row) -> list[str]:
    """Forward passes and milliseconds; where they were not measured, the documented passes."""
    if row.is_baseline:
        return ["0", ""]
    if not row.is_measured:
        return [f"({row.figures['passes']:,})", ""]
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
    lines = _head(["method", "n", "top third new", "two thirds", "all weights new", "another class"])
    rows = [row for row in result.rows if row.random.get("values")]
    for row in rows:
        cells = [_number(value, 2) for value in row.random["median_by_stage"]]
        other = _number(row.median("otherclass"), 2) if "otherclass" in row.random["values"] else "agnostic"
        lines.append(_line([f"`{row.name}`", str(len(row.random["images"])), *cells, other]))
    return lines


def _difference(apart: Estimate | None) -> str:
    if apart is None:
        return ""
    text = _with_interval(apart, 3)
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


def _one_line(text: str) -> str:
    return text.split(". ", maxsplit=1)[0].replace("\n", " ").rstrip(".")


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
