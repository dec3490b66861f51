"""The readable form of ``cam eval``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from camcli.cli.check_report import console_for_people
from camcli.evaluation.result import defined_values

if TYPE_CHECKING:
    from camcli.evaluation import Comparison, Evaluation
    from camcli.metrics import Metric
    from camcli.stats import Estimate

_ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


def print_evaluation(evaluation: Evaluation, *, quiet: bool) -> None:
    """Print the tables, one for each group of metrics, then comparisons and notes."""
    console = console_for_people()
    if not quiet:
        failed = f", {len(evaluation.failed)} failed" if evaluation.failed else ""
        settings = evaluation.settings["settings"]
        steps, substrate = settings["steps"], settings["substrate"]
        console.print(
            f"\n[bold]{len(evaluation.images)} images[/bold]{failed}; 95 % intervals over images in brackets; "
            f"↑ higher or ↓ lower is better, [bold green]best method[/bold green]; {steps} steps"
            + (f"; substrate {substrate}" if substrate else "")
        )
    for group in dict.fromkeys(metric.group for metric in evaluation.metrics):
        metrics = [metric for metric in evaluation.metrics if metric.group == group]
        console.print(_table(evaluation, group, metrics))
    if not quiet:
        for line in (*_in_words(evaluation), *_warnings(evaluation)):
            console.print(line)
    if evaluation.recommended is not None:
        chosen = evaluation.recommended
        layer = f" --layer {chosen.entry.layer_path}" if chosen.entry.layer_path else ""
        console.print(f"\nrecommended: [bold green]--method {chosen.entry.method}{escape(layer)}[/bold green]")
        for line in chosen.why if not quiet else ():
            console.print(f"  {escape(line)}")


def _table(evaluation: Evaluation, group: str, metrics: list[Metric]) -> Table:
    table = Table(title=f"\n{group}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{metric.name} {_ARROWS[metric.better]}".strip(), justify="right")
    best = {metric.key: _best(evaluation, metric) for metric in metrics}
    for entry in evaluation.entries:
        cells = [_cell(evaluation.figures[entry.name][m.key], m, best[m.key] == entry.name) for m in metrics]
        table.add_row(escape(entry.name), *cells, style="dim" if entry.baseline else None)
    return table


def _cell(estimate: Estimate, metric: Metric, best: bool) -> str:
    if estimate.value is None:
        return "–"
    value = _number(estimate.value, metric)
    value = f"[bold green]{value}[/bold green]" if best else value
    if estimate.interval is None:
        return value
    low, high = (_number(end, metric) for end in estimate.interval)
    return f"{value} [dim]\\[{low}, {high}][/dim]"


def _number(value: float, metric: Metric, more: int = 0) -> str:
    text = f"{value:.{more + (0 if metric.percent else 2)}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _best(evaluation: Evaluation, metric: Metric) -> str | None:
    """The best method; None if there is only one, or if neither direction of the metric is better."""
    values = defined_values(evaluation.figures, evaluation.methods, metric.key)
    if len(values) < 2 or metric.better == "neither":
        return None
    pick = max if metric.better == "higher" else min
    return pick(values, key=lambda name: values[name])


def _in_words(evaluation: Evaluation) -> list[str]:
    """The best method against every other entry, on the first metric that judges faithfulness."""
    metric = next((m for m in evaluation.metrics if m.headline), None)
    if metric is None:
        return []
    best = _best(evaluation, metric) or evaluation.methods[0].name
    against = [c for c in evaluation.comparisons if c.metric == metric.key and best in (c.a, c.b)]
    if not against:
        return []
    lines = [f"\n[bold]{escape(best)}[/bold], compared image by image ({metric.name}):"]
    return lines + [_compare_in_words(best, c, metric) for c in against]


def _compare_in_words(best: str, comparison: Comparison, metric: Metric) -> str:
    other = comparison.b if comparison.a == best else comparison.a
    sign = 1 if comparison.a == best else -1
    estimate = comparison.estimate
    if estimate.value is None:
        return f"  {escape(other)}: no image has both"
    value = sign * estimate.value
    ends = ", ".join(_number(sign * end, metric, 1) for end in (estimate.interval or ())[::sign])
    good = (value > 0) == (metric.better == "higher")
    verdict = ("better than" if good else "[red]worse than[/red]") if comparison.certain else "not told apart from"
    return f"  {verdict} {escape(other)} (difference {_number(value, metric, 1)}" + (f" \\[{ends}])" if ends else ")")


def _warnings(evaluation: Evaluation) -> list[str]:
    lines = [f"[dim]note: {escape(note)}[/dim]" for note in evaluation.notes]
    lines[:0] = [
        f"[dim]note: {metric.led_by} has the best {metric.name} by construction, and explains nothing: that figure "
        "alone does not say that a map explains[/dim]"
        for metric in evaluation.metrics
        if _led_by_baseline(evaluation, metric)
    ]
    if len(evaluation.images) < 30:
        lines.append(f"[dim]note: {len(evaluation.images)} images are few; intervals are rough below about 30[/dim]")
    return [f"\n{lines[0]}", *lines[1:]] if lines else []


def _led_by_baseline(evaluation: Evaluation, metric: Metric) -> bool:
    """Whether the baseline that leads this metric by construction has its best figure."""
    values = defined_values(evaluation.figures, evaluation.entries, metric.key)
    pick = max if metric.better == "higher" else min
    return metric.led_by in values and values[metric.led_by] == pick(values.values())
