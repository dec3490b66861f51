"""What is missing of a run in shards: which of them have not ended, and which of their images are not there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcli.config.parse import Shard
from camcli.engines.shard_rows import ShardRows
from camcli.errors import CamError
from camcli.output.shard_plan import InputDigest, Plan, read_ending

_MOST_NAMED = 5
_MOST_SHARDS_NAMED = 20

Keys = npt.NDArray[np.uint64]
"""Keys of images, sorted, none twice: 8 bytes an image."""


class IncompleteError(CamError):
    """Shards of a run are missing, or have not ended."""


def describe_missing(run_dir: Path, plan: Plan) -> str:
    """Which shards have not ended, and which of their images are missing."""
    lines, keys = [], dict[int, Keys]()
    with ShardRows(run_dir, plan) as rows:
        for shard in plan.all_shards():
            ending = read_ending(run_dir, shard)
            if ending is None or ending["status"] != "complete":
                keys[shard.index] = np.unique(np.fromiter((key for key, _ in rows.of(shard)), np.uint64))
    names = _missing_names(plan, keys)
    for index in list(keys)[:_MOST_SHARDS_NAMED]:
        shard = Shard(index, plan.shards)
        images, there = plan.share(shard), len(keys[index])
        progress = f"{there or 'none'} of {images} images"
        listed = names.get(index, [])
        more = images - there - len(listed)
        missing = ", ".join([*listed, *([f"and {more} more"] if more > 0 else [])]) if listed else ""
        lines.append(f"\n  shard {shard}: {progress}" + (f"; missing: {missing}" if missing else ""))
    if len(keys) > _MOST_SHARDS_NAMED:
        lines.append(f"\n  and {len(keys) - _MOST_SHARDS_NAMED} more")
    return f"{run_dir}: {len(keys)} of {plan.shards} shards have not ended:{''.join(lines)}\n" + _remedy(plan)


def _remedy(plan: Plan) -> str:
    config = plan.header["config"]
    if plan.shards == 1 or config.get("engine") == "ray" or config.get("processes") not in (None, "1"):
        return "Repeat the command that began the run: it continues, and merges at its end."
    return "Repeat their commands (`--shard I/N`), which continue, then `cam merge`."


def _missing_names(plan: Plan, keys: dict[int, Keys]) -> dict[int, list[str]]:
    """The first missing images of each of these shards; nothing where the inputs cannot be listed from here."""
    from camcli.config.settings import RunConfig
    from camcli.pipeline.inputs import list_sources

    recorded, digest, names = plan.header["config"], InputDigest(), dict[int, list[str]]()
    with suppress(CamError, OSError, TypeError):
        config = RunConfig(**{name: recorded[name] for name in ("image_path", "output_dir", "limit", "sample", "seed")})
        for entry in list_sources(config):
            key, index = digest.add(entry.source, entry.image), plan.shard_of(entry.ordinal)
            is_listed = index not in keys or len(names.setdefault(index, [])) == _MOST_NAMED
            if not is_listed and not _is_among(keys[index], key):
                names[index].append(entry.image)
    return names if digest.inputs == plan.inputs else {}


def _is_among(keys: Keys, key: int) -> bool:
    place = int(np.searchsorted(keys, np.uint64(key)))
    return place < len(keys) and int(keys[place]) == key
