"""Headers and items of the index, complete and valid, to be varied by the tests."""

from __future__ import annotations

import copy
from typing import Any

_HEADER: dict[str, Any] = {
    "schema": "camcli.index/1",
    "status": "running",
    "camcli": "0.1.0",
    "started": "2026-01-02T03:04:05Z",
    "finished": None,
    "command": ["cam", "run", "photos"],
    "config": {"image_path": ["photos"], "method": ["gradcam"], "batch_size": 8, "workers": 2, "alpha": 0.5},
    "fingerprint": "sha256:" + "1" * 64,
    "render_fingerprint": "sha256:" + "2" * 64,
    "model": {
        "name": "tf_efficientnet_lite0",
        "source": "builtin",
        "weights": "default",
        "weights_sha256": "3" * 64,
        "num_classes": 1000,
        "input_size": [3, 224, 224],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "resize": "crop",
    },
    "layers": [
        {
            "path": "bn2",
            "requested": "auto",
            "module": "BatchNormAct2d",
            "layout": "nchw",
            "grid": [7, 7],
            "channels": 1280,
            "prefix_tokens": 0,
            "proof": "proven",
        }
    ],
    "methods": ["gradcam"],
    "environment": {
        "python": "3.11.7",
        "torch": "2.6.0",
        "torchvision": "0.21.0",
        "timm": "1.0.15",
        "device": "cpu",
        "device_name": "CPU",
        "precision": "fp32",
    },
    "counts": None,
    "timing": None,
}

_CLASS = {"index": 285, "name": "Egyptian cat", "probability": 0.57, "logit": 9.1}

_ITEM: dict[str, Any] = {
    "image": "a/x.jpg",
    "source": "photos",
    "bytes": 48213,
    "sha256": "4" * 64,
    "status": "ok",
    "error": None,
    "width": 640,
    "height": 427,
    "format": "JPEG",
    "frames": 1,
    "notes": [],
    "label": {"index": 285, "name": "Egyptian cat"},
    "correct": True,
    "predictions": [_CLASS],
    "view": [133.2, 26.7, 506.8, 400.3],
    "maps": [
        {
            "method": "gradcam",
            "layer": "bn2",
            "target": {**_CLASS, "chosen_by": "predicted"},
            "status": "ok",
            "raw": {"min": -0.4, "max": 2.9, "mean": 0.3},
            "attention": {
                "peak": [311.0, 160.5],
                "centroid": [300.2, 171.9],
                "entropy": 0.81,
                "border": 0.42,
                "box": [120, 80, 500, 370],
            },
            "native": {"grid": [7, 7], "scale": 2.9, "data": "AAAA"},
            "files": {"overlay": "overlays/gradcam/a/x.jpg.jpg", "heatmap": None, "raw": None},
        }
    ],
    "sizes": {"overlays/gradcam/a/x.jpg.jpg": 8},
}

TIMING = {
    "seconds": 1.9,
    "images_per_second": 6.3,
    "stages": {"decode": 0.1, "preprocess": 0.1, "model": 1.0, "render": 0.2, "encode": 0.2, "write": 0.1},
}


def header(**changed: Any) -> dict[str, Any]:
    return {**copy.deepcopy(_HEADER), **changed}


def item(image: str = "a/x.jpg", source: str = "photos", **changed: Any) -> dict[str, Any]:
    return {**copy.deepcopy(_ITEM), "image": image, "source": source, **changed}


def failed(image: str = "bad.jpg", kind: str = "corrupt", **changed: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(("width", "height", "format", "frames", "label", "correct", "view"))
    error = {"kind": kind, "message": "cannot be decoded"}
    lists: dict[str, Any] = {"notes": [], "predictions": [], "maps": [], "sizes": {}}
    return item(image, **{**empty, **lists, "status": "failed", "error": error, **changed})
