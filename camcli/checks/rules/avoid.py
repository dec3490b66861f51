"""``avoid``: does the model keep away from where it must not look?

Value: mass in the forbidden region over the region's share of the view: 1 for a map that is independent of the region,
0 for one that lies outside. The region is one box for all images (``box``: x0, y0, x1, y1 as shares of the upright
picture, such as a caption bar or a timestamp), or each image's own from the manifest's ``avoid`` column (a box in
pixels, or a mask).
"""

from camcli.checks.context import Context
from camcli.checks.judge import Words
from camcli.checks.manifest_regions import relative_mass
from camcli.checks.recorded import ImageRecord, SaliencyMap
from camcli.checks.result import Result, skip
from camcli.checks.settings import Check, Setting
from camcli.errors import ConfigError
from camcli.images.regions import Region

WORDS = Words(
    "heat in the region to avoid (1: spread evenly)",
    "The model looks at what it must not look at: it may be trained to use the caption, mark or device instead.",
    "heat in the region {} (1: spread evenly)",
)


def run(context: Context) -> Result:
    box = _parse_box(context.settings["box"])
    if box is None and (problem := context.regions.problem):
        return skip("avoid", problem)

    def measure_image(record: ImageRecord, heat: SaliencyMap) -> float | None:
        region = context.regions.forbidden(record) if box is None else _scale_box(box, record)
        return relative_mass(heat.raw, region, record)

    images, values = context.measure(measure_image)
    if not images:
        how = "give one with --set avoid.box=x0,y0,x1,y1 (shares of the picture), or an `avoid` column in the manifest"
        return skip("avoid", f"no region to avoid is known, or the model sees none of it: {how}")
    judge = context.judge()
    return judge.conclude("avoid", judge({"": values}), WORDS, images, values, high_is_bad=True)


def _parse_box(value: object) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    try:
        x0, y0, x1, y1 = (float(part) for part in parts)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        x0 = y0 = x1 = y1 = -1.0
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ConfigError(
            f"avoid.box {value!r}: give x0,y0,x1,y1 as shares of the picture, 0 to 1, for example 0,0.9,1,1 for a bar "
            "at the bottom."
        )
    return x0, y0, x1, y1


def _scale_box(box: tuple[float, float, float, float], record: ImageRecord) -> Region:
    width, height = record.size
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


SETTINGS = {
    "median_max": Setting(1.2, "largest median of mass in the region over its share of the view", low=0),
    "p95_max": Setting(2.0, "largest 95th percentile of the same", low=0),
    "box": Setting(None, "x0,y0,x1,y1 as shares of the upright picture; the manifest's `avoid` otherwise", str),
}
CHECK = Check("avoid", "does the model keep away from where it must not look?", run, SETTINGS)
