"""The page itself: what the run was, and the script and style that show the rest."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from camcli._version import __version__
from camcli.render import OUTSIDE_BRIGHTNESS, colours, signed_shares, to_levels
from camcli.report.choice import choice_of
from camcli.report.command_line import flags_of
from camcli.report.data_files import page_json
from camcli.report.records import Records
from camcli.report.rows import RunRows
from camcli.report.run_facts import facts

SCRIPTS = ("data", "heat", "state", "select", "tiles", "viewer", "about", "summary", "checks", "main")
"""The parts of the page's script, in order."""


def describe_run(run: RunRows, records: Records, images: int) -> dict[str, Any]:
    """What the script needs to know of the run."""
    header, config = run.header, run.header["config"]
    is_cpu = str((header.get("environment") or {}).get("device", "cpu")).startswith("cpu")
    output, choice = header.get("output"), choice_of(header)
    return {
        "run": str(run.path) if run.path.name else run.path.resolve().name,
        "images": images,
        "recorded": run.count,
        "status": header["status"],
        "classes": [list(one) for one in records.classes.numbers],
        "maps": [list(one) for one in records.maps.numbers],
        "own": [records.maps.number(key) for key in records.grids],
        "options": list(config.get("option") or ()),
        "choice": None if choice is None else choice.summary,
        "sources": list(records.sources.numbers),
        "files": [list(one) for one in records.files.numbers],
        "colours": base64.b64encode(_colours(config)).decode("ascii"),
        "signed": bool(config.get("signed")),
        "outside": OUTSIDE_BRIGHTNESS,
        "alpha": config.get("alpha", 0.5),
        "values": bool(output and output.get("kind") == "values"),
        "flags": flags_of(config, is_cpu),
    }


def _colours(config: Mapping[str, Any]) -> bytes:
    """256 colours in RGB for the levels of maps, and the share of heat in overlays at each, where ``--alpha`` is 1; the
    run's gamma is in them.
    """
    signed = bool(config.get("signed"))
    heat = np.linspace(-1 if signed else 0, 1, 256, dtype=np.float32)
    levels = to_levels(heat, config.get("gamma") or 1.0, signed).ravel()
    shares = signed_shares(1.0)[levels].clip(max=255) if signed else np.full(256, 255)
    rgb = colours(config.get("colormap") or "jet")[levels][:, ::-1]
    return np.column_stack([rgb, shares]).astype(np.uint8).tobytes()


def render_page(run: RunRows, records: Records, meta: Mapping[str, Any], embedded: Sequence[str]) -> Iterator[str]:
    """The page in pieces."""
    script = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return _environment().get_template("report.html.j2").generate(
        header=run.header, meta=meta, facts=facts(run, records), choice=choice_of(run.header),
        meta_json=page_json(meta), embedded=embedded, script=script, script_hash=digest,
        style=_asset("page.css"), version=__version__,
    )  # fmt: skip


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("camcli.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@cache
def _asset(name: str) -> str:
    return (resources.files("camcli.report") / "assets" / name).read_text("utf-8")
