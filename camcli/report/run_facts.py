"""What the page says of the run itself: model, layers and maps, times, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camcli.report.records import Records
from camcli.report.rows import RunRows

Facts = list[tuple[str, str]]


def facts(run: RunRows, records: Records) -> list[tuple[str, Facts]]:
    """Groups of (what, value).

    Args:
        run: whose header they are from.
        records: which know the layers and grids of its maps.
    """
    header = run.header
    model, environment = header["model"], header.get("environment") or {}
    size = "×".join(map(str, model["input_size"][1:]))
    groups: list[tuple[str, list[tuple[str, Any]]]] = [
        (
            "Model",
            [
                ("name", f"{model['name']} ({model['source']})"), ("weights", model.get("weights")),
                ("classes", model.get("num_classes")), ("input", f"{size} pixels; {model.get('resize')}"),
                ("weights hash", str(model.get("weights_sha256") or "")[:16]),
            ],
        ),
        (
            "Explanation",
            [
                ("methods", ", ".join(header["methods"])),
                *(("maps", line) for line in _maps(records)),
                *(("target layer", _layer(one, records)) for one in header.get("layers") or ()),
                *(("assumption", line) for line in header.get("assumptions") or ()),
            ],
        ),
        (
            "Run",
            [
                ("folder", run.path), ("status", header["status"]), ("command", " ".join(header.get("command") or ())),
                ("started", header.get("started")), ("finished", header.get("finished")), *_times(header),
                ("cam", header.get("camcli")), *environment.items(),
            ],
        ),
        ("Settings", [(key, _words(value)) for key, value in header["config"].items()]),
    ]  # fmt: skip
    return [(title, [(k, str(v)) for k, v in rows if v not in (None, "", [])]) for title, rows in groups]


def _layer(one: Mapping[str, Any], records: Records) -> str:
    words = (
        f"{one['path']}: {one['module']}, {'×'.join(map(str, one['grid']))} cells, layout {one['layout']} "
        f"({one['proof']})"
    )
    used = {path for _, layer in records.grids for path in layer.split("+")}
    return words if one["path"] in used or not records.grids else f"{words}; no map is of it, see the maps above"


def _maps(records: Records) -> list[str]:
    """The layers and cells of the maps of each method."""
    lines = []
    for (method, layer), grids in records.grids.items():
        cells = [
            f"{rows}×{columns} cells{', averaged from more' if is_reduced else ''}"
            for rows, columns, is_reduced in grids
        ]
        of = f"of {layer}" if layer else "of the whole network"
        lines.append(f"{method}: {of}{', ' if cells else ''}{' or '.join(cells[:3])}{' and others' * (len(cells) > 3)}")
    return lines


def _times(header: Mapping[str, Any]) -> Facts:
    """Seconds and rate; those of the trial of ``--method best`` apart, where the seconds of the run include it."""
    timing = header.get("timing")
    if not timing:
        return []
    seconds, rate = timing["seconds"], timing["images_per_second"]
    trial = _trial_seconds(header, seconds, rate)
    if trial is None:
        return [("rate", f"{rate:.1f} images/s, {seconds:.1f} s in all")]
    count, rest = header["counts"]["images"], seconds - trial
    return [
        ("seconds", f"{seconds:.1f} in all: {trial:.1f} the trial of --method best, {rest:.1f} the rest"),
        ("rate", f"{count / rest:.1f} images/s without the trial"),
    ]


def _trial_seconds(header: Mapping[str, Any], seconds: float, rate: float) -> float | None:
    """Of the trial, where the recorded seconds are of a start that explained every image after it."""
    trial, counts = (header.get("chosen_method") or {}).get("trial"), header.get("counts")
    if not trial or not counts or not counts["images"] or trial["seconds"] >= seconds:
        return None
    explained = rate * seconds
    return trial["seconds"] if abs(explained - counts["images"]) <= 0.001 * seconds + 0.5 else None


def _words(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
