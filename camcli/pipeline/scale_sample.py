"""``--scale sample:N``: fixed normalisation limits from the first images of a run."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import numpy as np

from camcli.concurrency import Clock, in_order
from camcli.pipeline.batching import BatchExplainer
from camcli.pipeline.items import Explanation, pixel_bytes
from camcli.pipeline.loader import make_loader
from camcli.pipeline.pictures import limits_of
from camcli.pipeline.setup import Setup


def sample_limits(setup: Setup, clock: Clock) -> dict[str, tuple[float, float]]:
    """For each method, the 1st and 99th percentile of its rectified native maps over the first N images.

    Images that cannot be explained do not count; where there is none that can, no method has limits.
    """
    count = setup.config.parsed.scale.sample
    values: dict[str, list[np.ndarray]] = {}
    with (
        ThreadPoolExecutor(setup.workers, "sample") as pool,
        closing(in_order(pool, make_loader(setup, clock), setup.sources, setup.batch_size, pixel_bytes)) as loaded,
        closing(BatchExplainer(setup, clock).stream(loaded)) as results,
    ):
        for result in islice((one for one in results if isinstance(one, Explanation)), count):
            for class_map in result.maps:
                values.setdefault(class_map.method, []).append(class_map.raw)
    return {method: limits_of(maps, setup.config.signed) for method, maps in values.items()}
