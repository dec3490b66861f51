"""The timing of a run of several processes."""

from __future__ import annotations

from collections.abc import Iterable

from camcli.engines.merge import sum_stages
from camcli.pipeline.stream import STAGES
from camcli.schemas.index import Timing


def timing_of_run(seconds: float, explained: int, timings: Iterable[Timing]) -> Timing:
    """The seconds and the rate of the whole run, and the busy seconds of all processes.

    Args:
        seconds: since the command started.
        explained: images.
        timings: of the processes, or of what each explained.
    """
    stages = dict.fromkeys(STAGES, 0.0) | sum_stages(timings)
    rate = round(explained / seconds, 3) if seconds else 0.0
    return {"seconds": round(seconds, 3), "images_per_second": rate, "stages": stages}
