"""The command that explains one image again, as the run explained it."""

import os
from collections.abc import Mapping
from typing import Any

from camcli.config.parse import flag
from camcli.config.settings import SETTINGS, default_colormap
from camcli.images import Entry
from camcli.report.rows import Row
from camcli.storage import masked

_WITHOUT = (
    "image_path", "output_dir", "device", "use_cuda", "batch_size", "workers", "limit", "sample", "csv", "parquet",
    "resume", "retry_failed", "overwrite", "durable", "shard", "processes", "save_to", "fail_fast", "dry_run",
    "compile", "config", "scale", "connections",
)  # fmt: skip
"""What concerns the whole run, or the machine, and not the maps of one image."""


def flags_of(config: Mapping[str, Any], is_cpu: bool) -> list[str]:
    """The settings of a run that decide maps and pictures and are not the default, as words of a command line."""
    words: list[str] = []
    usual = {"target": "predicted", "colormap": default_colormap(bool(config.get("signed")))}
    for name, value in config.items():
        setting = SETTINGS.get(name)
        if setting is None or name in _WITHOUT or (name == "precision" and is_cpu and value == "fp32"):
            continue
        value = tuple(value) if isinstance(value, list) else value
        if value in (None, (), setting.default, usual.get(name)):
            continue
        if isinstance(value, bool):
            words.append(flag(name) if value else f"--no-{flag(name)[2:]}")
        elif setting.kind is tuple and not setting.comma:
            words += [word for one in value for word in (flag(name), str(one))]
        else:
            words += [flag(name), ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return [*words, *_scale(config)]


def _scale(config: Mapping[str, Any]) -> list[str]:
    """``--scale``; limits that a sample gave are written as numbers, where all methods have the same."""
    limits = [tuple(pair) for pair in (config.get("scale_limits") or {}).values()]
    if limits and len(set(limits)) == 1:
        return ["--scale", f"{limits[0][0]:.8g}:{limits[0][1]:.8g}"]
    scale = str(config.get("scale") or "per-image")
    return ["--scale", scale] if scale != "per-image" and not limits else []


def image_argument(row: Row, entry: Entry | None) -> str | None:
    """The path by which the image can be named; None: it lies in an archive or a table.

    Where the original is not there any more, it is the path that it had.
    """
    if entry is not None:
        return None if entry.member is not None else masked(entry.path)
    source, image = str(row.get("source", "")), str(row["image"])
    if source.lower().endswith((".tar", ".parquet", ".arrow")):
        return None
    if source in ("-", image) or source.startswith("@") or os.path.basename(source) == image:
        return image if source in ("-", image) or source.startswith("@") else source
    return os.path.join(source, image)
