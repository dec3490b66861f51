"""The readable form of ``cam eval``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from camcli.cli.check_report import console_for_people
from camcli.evaluation.reference import leading_metric
from camcli.evaluation.result import defined_values

if TYPE_CHECKING:
    from camcli.evaluation import Comparison, Evaluation, MethodEntry
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
    console.print(_lead_table(evaluation))
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


def _lead_table(evaluation: Evaluation) -> Table:
    """Every entry against the reference by the leading metric, and what a map costs; methods with the best first."""
    metric, reference = leading_metric(evaluation.metrics), evaluation.reference
    title = "Cost of a map"
    if metric is not None and reference is not None:
        title = f"{metric.name} {_ARROWS[metric.better]}, image by image against {escape(reference.name)}"
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    if metric is not None:
        table.add_column("difference", justify="right")
        table.add_column("")
        table.add_column("better on", justify="right")
        table.add_column(metric.name, justify="right")
    table.add_column("passes", justify="right")
    table.add_column("ms an image", justify="right")
    for entry in _best_first(evaluation, metric):
        compared = [] if metric is None else _against_reference(evaluation, entry, metric)
        cost = evaluation.costs[entry.name]
        passes = "–" if cost.text is None else f"{cost.passes:,}"
        time = "–" if cost.milliseconds is None else f"{cost.milliseconds:,.{int(cost.milliseconds < 10)}f}"
        table.add_row(escape(entry.name), *compared, passes, time, style="dim" if entry.baseline else None)
    return table


def _best_first(evaluation: Evaluation, metric: Metric | None) -> list[MethodEntry]:
    """Methods, the best by a metric first, then baselines."""
    if metric is None:
        return list(evaluation.entries)
    values = defined_values(evaluation.figures, evaluation.entries, metric.key)
    sign = -1 if metric.better == "higher" else 1
    place = {name: sign * value for name, value in values.items()}
    return sorted(evaluation.entries, key=lambda entry: (entry.baseline, place.get(entry.name, math.inf)))


def _against_reference(evaluation: Evaluation, entry: MethodEntry, metric: Metric) -> list[str]:
    """Difference with its interval, what it says, the share of images that are better, and the entry's own figure."""
    own = _cell(evaluation.figures[entry.name][metric.key], metric, best=False)
    compared = evaluation.against_reference(entry.name, metric.key)
    if compared is None or compared.estimate.value is None:
        return ["reference" if entry == evaluation.reference else "–", "", "–", own]
    value, interval = compared.estimate.value, compared.estimate.interval
    ends = f" [dim]\\[{_signed(interval[0], metric)}, {_signed(interval[1], metric)}][/dim]" if interval else ""
    is_same = value == 0 and interval is not None and not any(interval)
    verdict = "[dim]the same[/dim]" if is_same else "[dim]not told apart[/dim]"
    if compared.certain:
        is_better = (value > 0) == (metric.better == "higher")
        verdict = "[green]better[/green]" if is_better else "[red]worse[/red]"
    share = "–" if compared.a_better is None else f"{100 * compared.a_better:.0f} %"
    return [_signed(value, metric) + ends, verdict, share, own]


def _signed(value: float, metric: Metric) -> str:
    text = _number(value, metric, 1)
    return f"+{text}" if value > 0 and text.strip("0.") else text


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
