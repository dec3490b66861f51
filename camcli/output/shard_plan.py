"""What the shards of a run agree on, ``shards/plan.json``, and the names of their files.

The first shard writes the plan, and the others compare: they cut the same inputs, in the same way, and compute the same
maps. ``shards/I-of-N.jsonl`` is the journal of a shard, ``shards/I-of-N.json`` says how it ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from camcli.config.parse import Shard
from camcli.errors import ResumeError
from camcli.output.atomic import naming_os_errors, write_atomically
from camcli.output.compare import first_differences, is_same_run
from camcli.output.header import journal_header
from camcli.output.jsontext import strict_json
from camcli.output.lock import RunLock
from camcli.output.names import FOLDERS
from camcli.output.row_keys import key_of, names_of
from camcli.output.tar_names import TARS
from camcli.schemas.index import Header
from camcli.storage import is_remote, run_path

SHARDS = "shards"
"""The folder of a run folder that holds the files of its shards."""
FOLDERS_OF_PARTS = (*FOLDERS.values(), TARS, SHARDS)
"""All folders of a run folder that the parts of a run write into."""
UNITS = f"{SHARDS}/units"
"""Where the rows of units are."""
PLAN_SCHEMA = "camcli.shards/1"
WHOLE = Shard(0, 1)
"""The one shard of a run that nobody has divided."""
_PLAN = f"{SHARDS}/plan.json"
_MOST_BATCHES, _ENOUGH_UNITS = 32, 64
_MOST_IN_TAR = 1024  # images: some 100 MB of overlays and heatmaps


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run, in their order.

    Attributes:
        count: how many there are.
        sha256: of their names, in order.
    """

    count: int
    sha256: str


class InputDigest:
    """Adds up the names of inputs, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._count = 0

    def add(self, source: str, image: str) -> int:
        """Add the true names of one; returns their key."""
        key = key_of(names_of({"image": image, "source": source}))
        self.add_key(key)
        return key

    def add_key(self, key: int) -> None:
        """Add one whose key is there already (:func:`.row_keys.key_of_line`)."""
        self._hash.update(key.to_bytes(8, "little"))
        self._count += 1

    @property
    def inputs(self) -> Inputs:
        """All that were added."""
        return Inputs(self._count, f"sha256:{self._hash.hexdigest()}")


@dataclass(frozen=True)
class Plan:
    """What all shards of a run have in common.

    Attributes:
        shards: how many there are.
        batch_size: parts are whole batches.
        inputs: of the whole run.
        header: of the index, as the first shard began it.
        unit: how many images have their rows in one file (:mod:`.units`), which is a whole number of batches; None:
            each shard has a journal.
    """

    shards: int
    batch_size: int
    inputs: Inputs
    header: Header
    unit: int | None = None

    @property
    def part(self) -> int:
        """How many images in a row belong to the same shard."""
        return self.unit or self.batch_size

    def all_shards(self) -> list[Shard]:
        """Every part, in order."""
        return [Shard(index, self.shards) for index in range(self.shards)]

    def share(self, shard: Shard) -> int:
        """How many inputs a part has."""
        return shard.share(self.inputs.count, self.part)

    @property
    def units(self) -> int:
        """How many units there are; 0 where shards have journals."""
        return 0 if self.unit is None else -(-self.inputs.count // self.unit)

    def shard_of(self, ordinal: int) -> int:
        """The number of the shard that an input belongs to, by its position."""
        return ordinal // self.part % self.shards


def make_plan(header: Header, shards: int, inputs: Inputs, *, in_units: bool = False) -> Plan:
    """The plan of a run that is about to begin."""
    size, in_tars = int(header["config"]["batch_size"]), header["config"].get("save_to") == "tar"
    unit = size_of_unit(inputs.count, size, in_tars=in_tars) if in_units else None
    return Plan(shards, size, inputs, _of_whole_run(header), unit)


def size_of_unit(images: int, batch_size: int, *, in_tars: bool) -> int:
    """How many images have their rows in one file, or their artefacts in one tar, of a run in units."""
    most = max(1, _MOST_IN_TAR // batch_size) if in_tars else _MOST_BATCHES
    return batch_size * batches_of_a_unit(images, batch_size, most)


def batches_of_a_unit(images: int, batch_size: int, most: int = _MOST_BATCHES) -> int:
    """So many that there are enough units for many workers, and that a unit is long against its beginning and end."""
    batches = -(-images // batch_size)
    return min(most, max(1, batches // _ENOUGH_UNITS))


def _of_whole_run(header: Header) -> Header:
    whole = json.loads(strict_json(dict(journal_header(header))))
    whole["config"] |= {"shard": None}
    return cast(Header, whole)


def read_plan(run_dir: str | Path) -> Plan | None:
    """The plan of a run folder, or None where it has no shards.

    Raises:
        ResumeError: a file in its place that is none.
        OutputError: it cannot be read.
    """
    path = run_path(run_dir) / _PLAN
    with naming_os_errors(path, "read"):
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        fields = json.loads(text)
        if fields.pop("schema") != PLAN_SCHEMA:
            raise ValueError
        return Plan(**fields | {"inputs": Inputs(**fields["inputs"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ResumeError(f"{path} was not written by this version of cam. Choose another --output-dir.") from None


def write_plan(run_dir: str | Path, plan: Plan, *, durable: bool = False) -> None:
    """Write the plan; its folder is made."""
    path = run_path(run_dir) / _PLAN
    with naming_os_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_atomically(path, [strict_json({"schema": PLAN_SCHEMA, **asdict(plan)}) + b"\n"], durable=durable)


def check_plan(run_dir: str | Path, recorded: Plan, plan: Plan) -> None:
    """Refuse shards of another run.

    Raises:
        ResumeError: it is one, with what differs.
    """
    lines = []
    if not is_same_run(recorded.header, plan.header):
        lines = first_differences(recorded.header, plan.header)
    if recorded.shards != plan.shards:
        lines.append(f"the number of shards: {recorded.shards} → {plan.shards}")
    if (recorded.unit is None) != (plan.unit is None):
        kinds = ["a journal a shard" if one.unit is None else "a file a unit" for one in (recorded, plan)]
        lines.append(f"where rows are: {kinds[0]} → {kinds[1]}")
    if recorded.inputs != plan.inputs:
        before, now = recorded.inputs.count, plan.inputs.count
        what = f"{before} → {now} images" if before != now else f"{now} images as before, with other names or order"
        lines.append(f"the list of inputs: {what}")
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        what = "shards of another run"
        more = (
            "Once all shards are merged (`cam merge`), `cam run` without --shard and --processes explains inputs that "
            "were added."
        )
        if plan.header["config"].get("save_to") == "tar":
            what = "another run"
            more = "The inputs of a run in tars are fixed: explain those that were added into a folder of their own."
        elif plan.unit is not None and plan.shards == 1 and not is_remote(str(run_dir)):
            what = "another run"
            more = "Once the run has ended, `cam run` without --engine explains inputs that were added."
        elif is_remote(str(run_dir)):
            what, more = "another run", "In an object store, inputs cannot be added to a run."
        raise ResumeError(
            f"{run_dir} holds {what} (there → asked for):{listed}\nRepeat the command that began it, or choose another "
            f"--output-dir. {more}"
        )


def journal_name(shard: Shard) -> str:
    """The journal of a shard, below the run folder."""
    return f"{SHARDS}/{shard.stem}.jsonl"


def unit_name(number: int) -> str:
    """The file with the rows of a unit, below the run folder."""
    return f"{UNITS}/{number:08d}.jsonl"


def begun_name(shard: Shard) -> str:
    """What says that a shard runs, where there are no locks; below the run folder."""
    return f"{SHARDS}/{shard.stem}.begun"


def ending_name(shard: Shard) -> str:
    """What says how a shard ended, below the run folder."""
    return f"{SHARDS}/{shard.stem}.json"


def lock_shard(run_dir: str | Path, shard: Shard) -> RunLock:
    """Keep other processes out of a shard.

    Raises:
        LockedError: another process is explaining it.
    """
    whose = f"shard {shard} of {run_dir}" if shard.count > 1 else str(run_dir)
    return RunLock(run_dir, f"{SHARDS}/{shard.stem}.lock", whose)


def read_ending(run_dir: str | Path, shard: Shard) -> Header | None:
    """How a shard ended: the fields of an index without its items; None where it has not, or was begun again."""
    path = run_path(run_dir) / ending_name(shard)
    with naming_os_errors(path, "read"):
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
    with contextlib.suppress(ValueError):
        return cast(Header, json.loads(text))
    return None


def require_no_writer(run_dir: str | Path, shards: Iterable[Shard]) -> None:
    """Check that no process is explaining one of these shards; locks of processes that were killed are removed.

    Raises:
        LockedError: one is.
    """
    for shard in () if is_remote(str(run_dir)) else shards:
        if (run_path(run_dir) / SHARDS / f"{shard.stem}.lock").exists():
            lock_shard(run_dir, shard).release()


def remove_shards(run_dir: str | Path) -> bool:
    """Remove the files of the shards of a run, where it has any; what else is in their folder stays.

    Returns:
        Whether there were shards.

    Raises:
        LockedError: one of them is being written.
    """
    folder = run_path(run_dir) / SHARDS
    plan = None if folder.is_symlink() else read_plan(run_dir)
    if plan is None:
        return False
    require_no_writer(run_dir, plan.all_shards())
    with naming_os_errors(folder):
        for shard in plan.all_shards():
            for name in (ending_name(shard), begun_name(shard), journal_name(shard)):
                (run_path(run_dir) / name).unlink(missing_ok=True)
        for number in range(plan.units):
            (run_path(run_dir) / unit_name(number)).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.rmdir(run_path(run_dir) / UNITS)
        (run_path(run_dir) / _PLAN).unlink(missing_ok=True)  # last: as long as it is there, the others are
        with contextlib.suppress(OSError):  # not empty: it holds files that are not ours
            os.rmdir(folder)
    return True
