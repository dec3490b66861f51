"""Units of work, in one process or several; each leaves a file, and one that has its file is not done again."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sweeps.faithfulness.contenders import Contender, contenders_of
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.plan import Plan

_SLOW = ("sscam", "iscam", "scorecam", "rise", "ablationcam", "opticam", "groupcam")
"""Done after all others."""


@dataclass(frozen=True)
class Unit:
    """One part of one contender on one model."""

    model: str
    contender: Contender
    part: str

    def file(self, out: Path) -> Path:
        """Where its result is."""
        return out / self.model / f"{self.contender.name}.{self.part}.json"


def units_of(
    models: Sequence[str], methods: Sequence[str], parts: Sequence[str], out: Path, speed: str = "all"
) -> list[Unit]:
    """Those that have no result yet: the quick methods of all models before the slow ones; or only these or those."""
    units = [
        Unit(model, contender, part)
        for slow in {"all": (False, True), "quick": (False,), "slow": (True,)}[speed]
        for model in models
        for part in parts
        for contender in contenders_of(MODELS[model])
        if (contender.method in _SLOW) == slow and (not methods or contender.name in methods)
    ]
    return [unit for unit in units if not unit.file(out).exists()]


def work(units: Sequence[Unit], plan: Plan, processes: int, until: float | None) -> None:
    """Do all units, and begin none after the time ``until`` (of ``time.time``)."""
    jobs = [(unit, plan, until) for unit in units]
    if processes == 1:
        for job in jobs:
            _tell(*do(job))
        return
    # The environment of the processes: torch reads it when it is imported.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for result in pool.imap_unordered(do, jobs):
            _tell(*result)


def _tell(unit: Unit, seconds: float, state: str) -> None:
    print(f"{unit.model} {unit.contender.name} {unit.part}: {state}, {seconds:.1f} s", flush=True)


_sessions: dict[str, Any] = {}


def do(job: tuple[Unit, Plan, float | None]) -> tuple[Unit, float, str]:
    """Do a unit and write its file; a process keeps the models that it has opened."""
    from camcli.errors import LayerError, MethodError
    from tests.sweeps.faithfulness.measure import PARTS
    from tests.sweeps.faithfulness.session import Session

    unit, plan, until = job
    start = time.time()
    if until is not None and start > until:
        return unit, 0, "left for another time"
    state = "done"
    try:
        if unit.model not in _sessions:
            _sessions[unit.model] = Session(MODELS[unit.model], plan)
        result = PARTS[unit.part](_sessions[unit.model], unit.contender)
    except (MethodError, LayerError) as error:
        result = {"unsuitable": str(error)}
        state = "does not suit the model"
    except (Exception, SystemExit) as error:  # the others go on, and a rerun tries again
        return unit, time.time() - start, f"FAILED: {type(error).__name__}: {error}"
    seconds = time.time() - start
    _write(unit, plan, {**result, "seconds": round(seconds, 2)})
    return unit, seconds, state


def _write(unit: Unit, plan: Plan, result: dict[str, Any]) -> None:
    file = unit.file(plan.out)
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {"model": unit.model, "contender": unit.contender.name, "method": unit.contender.method, "part": unit.part}
    partly = file.with_suffix(f".{os.getpid()}")
    partly.write_text(json.dumps({**known, "device": plan.device, **result}) + "\n")
    partly.replace(file)


def read(out: Path) -> Iterator[dict[str, Any]]:
    """All results."""
    for file in sorted(out.glob("*/*.json")):
        yield json.loads(file.read_text())
