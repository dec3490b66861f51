"""``border``: does the model look at the edge of the picture?

Value: mass in the outer 10 % band of the map over the band's share of the area (0.36): 1 for an even map, 0 for one
that keeps to the middle, about 2 for a pure outer ring on a 7×7 grid. Cells that the band cuts count by their share.
High values mean padding artefacts, black frames, captions, timestamps, or scanner borders. On grids with fewer than 7
cells a side the band is thinner than a cell, and nothing can be concluded.
"""

from camcli.checks.context import Context
from camcli.checks.distances import mass
from camcli.checks.judge import Words
from camcli.checks.result import Result
from camcli.checks.settings import Check, Setting
from camcli.map_summary import border_share

LEAST_SIDE = 7
MOST = 1 / 0.36
"""Of a map whose mass lies in the band alone: 1 over the band's share of the area."""
WORDS = Words(
    "heat at the edge (1: spread evenly)",
    "The heat sits at the edge of the pictures: look for frames, captions, padding, or objects that the crop cuts off.",
    "heat at the edge {} (1: spread evenly)",
)


def run(context: Context) -> Result:
    images, values = context.measure(lambda record, heat: border_share(mass(heat.raw)))
    smallest = min((min(heat.raw.shape) for _, heat in context.meaningful_maps()), default=LEAST_SIDE)
    if smallest < LEAST_SIDE:
        why = f"the maps have only {smallest} cells along a side; the border of a grid under 7×7 is thinner than a cell"
        return Result("border", "inconclusive", why, n=len(images))
    judge = context.judge()
    return judge.conclude("border", judge({"": values}), WORDS, images, values, high_is_bad=True)


SETTINGS = {
    "median_max": Setting(1.3, "largest median of mass at the border over the border's area", low=0, high=MOST),
    "p95_max": Setting(1.9, "largest 95th percentile of the same", low=0, high=MOST),
}
CHECK = Check("border", "does the model look at the edge of the picture?", run, SETTINGS)
