"""Class activation maps of folders of images, from the command line and from Python.

import camcli
model = camcli.load_model("timm:vit_small_patch16_224", device="cuda")
result = camcli.explain(model, ["a.jpg"], method="gradcam,layercam")
result[0].maps["gradcam"].overlay().save("overlay.png")
summary = camcli.run(camcli.RunConfig(image_path=["photos"], output_dir="out"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from camcli._version import __version__

if TYPE_CHECKING:
    from camcli.api import MapResult, Result, Results, Target, explain
    from camcli.api.run import Summary, run
    from camcli.config.settings import RunConfig
    from camcli.models import Model, load_model

__all__ = [
    "MapResult", "Model", "Result", "Results", "RunConfig", "Summary", "Target", "__version__", "explain", "load_model",
    "run",
]  # fmt: skip

# The module of each public name. Loaded on first use: `cam --help` must not wait for torch.
_MODULES = {
    **dict.fromkeys(("MapResult", "Result", "Results", "Target", "explain"), "camcli.api"),
    **dict.fromkeys(("Model", "load_model"), "camcli.models"),
    **dict.fromkeys(("Summary", "run"), "camcli.api.run"),
    "RunConfig": "camcli.config.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'camcli' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
