"""Run folders whose maps are drawn by hand, so that a test knows every value."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camcli.checks import CHECKS
from camcli.config.settings import RunConfig
from camcli.map_summary import map_status, native_copy

HEADER: dict[str, Any] = {
    "schema": "camcli.index/1", "status": "complete", "camcli": "0.1.0", "fingerprint": "sha256:0",
    "config": {**dataclasses.asdict(RunConfig(image_path=("no-such-photos",))), "batch_size": 8, "workers": 1},
    "model": {"name": "handmade", "weights_sha256": "0" * 64, "input_size": [3, 70, 70], "mean": [0.5], "std": [0.5],
              "resize": "crop"},
    "layers": [], "methods": ["gradcam"],
}  # fmt: skip


def only(*names: str) -> list[str]:
    """Changes of the suite that leave just these checks."""
    return [f"{key}.enabled={'true' if key in names else 'false'}" for key in CHECKS]


def item(
    number: int, maps: dict[str, np.ndarray], *, predicted: int = 0, label: int | None = None, size: int = 70
) -> dict[str, Any]:
    """One row of an index: an image of size × size that the model sees as a whole."""
    rows = [
        {
            "method": method, "layer": "layer", "status": map_status(raw), "native": native_copy(raw),
            "files": {"overlay": None},
            "target": {"index": predicted, "name": f"class {predicted}", "probability": 0.9, "logit": 3.0},
        }
        for method, raw in maps.items()
    ]  # fmt: skip
    return {
        "image": f"{number:03d}.jpg", "source": "photos", "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "status": "ok", "width": size, "height": size, "view": [0, 0, size, size], "maps": rows,
        "label": None if label is None else {"index": label, "name": f"class {label}"},
        "correct": None if label is None else label == predicted,
        "predictions": [{"index": predicted, "name": f"class {predicted}", "probability": 0.9, "logit": 3.0}],
    }  # fmt: skip


def write_run(folder: Path, items: Sequence[dict[str, Any]], **header: Any) -> Path:
    """A run folder with these items, its index in the form that a run writes."""
    folder.mkdir(parents=True)
    top = {**HEADER, **header}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in top.items()]
    rows = ",\n".join(json.dumps(row) for row in items)
    text = "{\n" + ",\n".join(lines) + ',\n"items": [\n' + rows + "\n]}\n"
    (folder / "index.json").write_text(text, encoding="utf-8")
    return folder


def blob(x: float, y: float, *, grid: int = 7, width: float = 0.15, base: float = 0.0) -> np.ndarray:
    """A bump at (x, y), shares of the map; (grid, grid) float32."""
    at = (np.arange(grid) + 0.5) / grid
    heat = np.exp(-((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2))
    return (heat + base).astype(np.float32)


def blobs(count: int, seed: int = 0, **shape: Any) -> list[np.ndarray]:
    """Bumps at random places of the inner part."""
    rng = np.random.default_rng(seed)
    return [blob(*rng.uniform(0.3, 0.7, 2), **shape) for _ in range(count)]
