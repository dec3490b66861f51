"""Which method, at which layer, explains this model best on these images."""

from collections.abc import Mapping, Sequence

from camcli.evaluation.comparison import Comparison
from camcli.evaluation.entries import MethodEntry
from camcli.evaluation.options import RANKED_BY, TIED_BY
from camcli.evaluation.result import Recommendation, defined_values
from camcli.layers import report_layers
from camcli.pipeline.setup import Setup
from camcli.stats import Estimate


def finer_layer(setup: Setup) -> str | None:
    """A layer with a finer grid than the automatic one: the last stage that has it; None where no layer does.

    Its layout is verified and the class score has a gradient there.
    """
    chosen = setup.layers[0]
    with setup.model.prepared():
        reports = report_layers(setup.model, setup.config.layout)
    usable = [r for r in reports if r.proof == "proven" and r.gradient and r.grid and r.grid[0] > chosen.layout.grid[0]]
    if not usable:
        return None
    coarsest = min(r.grid[0] for r in usable if r.grid)
    same = [r for r in usable if r.grid and r.grid[0] == coarsest]
    # Users name stages, which are nearer to the root of the tree than the modules inside them.
    shallow = min(r.path.count(".") for r in same)
    return [r.path for r in same if r.path.count(".") == shallow][-1]


def recommend(
    entries: Sequence[MethodEntry], figures: Mapping[str, Mapping[str, Estimate]], comparisons: Sequence[Comparison]
) -> Recommendation | None:
    """The best entry by Insertion − Deletion; among those not clearly different from it, the best by GridPG.

    Args:
        entries: of the table.
        figures: by entry name and metric.
        comparisons: paired, for both metrics.

    Returns:
        None where no method has a figure.
    """
    values = defined_values(figures, [entry for entry in entries if not entry.baseline], RANKED_BY)
    if not values:
        return None
    best = max(values, key=lambda name: values[name])
    tied = [best, *(name for name in values if name != best and not _apart(comparisons, best, name))]
    why = [f"{best}: Insertion − Deletion {_text(figures[best][RANKED_BY])}, the highest of {len(values)}"]
    winner = best
    places = {name: figures[name][TIED_BY] for name in tied if TIED_BY in figures[name]}
    localised = {name: result.value for name, result in places.items() if result.value is not None}
    if len(tied) > 1:
        why.append(f"not told apart from it on these images: {', '.join(tied[1:])}")
    if len(tied) > 1 and len(localised) == len(tied):
        winner = max(localised, key=lambda name: localised[name] or 0.0)
        why.append(f"{winner}: GridPG {_text(places[winner])}, the highest of these")
    for name, value in defined_values(figures, [entry for entry in entries if entry.baseline], RANKED_BY).items():
        relation = "is better than" if values[winner] > value else "is worse than"
        if not _apart(comparisons, winner, name):
            relation = "cannot be told from"
        why.append(f"{winner} {relation} the baseline {name} ({_number(value)})")
    return Recommendation(next(entry for entry in entries if entry.name == winner), tuple(why))


def _apart(comparisons: Sequence[Comparison], a: str, b: str) -> bool:
    return any(c.certain for c in comparisons if c.metric == RANKED_BY and {c.a, c.b} == {a, b})


def _text(result: Estimate) -> str:
    interval = f" [{_number(result.interval[0])}, {_number(result.interval[1])}]" if result.interval else ""
    return ("" if result.value is None else _number(result.value)) + interval


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
