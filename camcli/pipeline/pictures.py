"""What decides the pictures of a run, from its settings or from what it recorded; imports neither torch nor a model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from camcli.config.settings import RunConfig, collect_verbatim
from camcli.map_summary import VANISHING
from camcli.render import PanelText, Style
from camcli.render.lettering import legible
from camcli.schemas.index import ClassFields, MapRow

PERCENTILES = (1, 99)
"""Of ``--scale sample:N``."""

Limits = tuple[float, float]


def style_of(config: RunConfig) -> Style:
    """How maps are drawn."""
    assert config.colormap is not None
    return Style(config.colormap, config.alpha, config.gamma, config.image_format, config.quality, signed=config.signed)


def fixed_limits(config: RunConfig) -> dict[str, Limits]:
    """The limits of each method by ``--scale LO:HI``; none for another scale."""
    scale = config.parsed.scale
    if scale.low is None or scale.high is None:
        return {}
    return dict.fromkeys(config.method, (scale.low, scale.high))


def limits_in(config: Mapping[str, Any]) -> dict[str, Limits]:
    """The fixed limits of each method that a run recorded in its ``config``; none where each map has its own."""
    return {method: (low, high) for method, (low, high) in (config.get("scale_limits") or {}).items()}


def limits_of(maps: Sequence[np.ndarray], signed: bool) -> Limits:
    """The limits by ``--scale sample:N`` of the maps of one method, raw: percentiles of their rectified cells.

    Of maps that keep their sign, the higher percentile of the absolute values, on both sides of zero.
    """
    cells = np.concatenate([raw[np.isfinite(raw)] for raw in maps])
    cells = np.abs(cells) if signed else np.maximum(cells, 0)
    low, high = (float(v) for v in np.percentile(cells, PERCENTILES)) if cells.size else (0.0, 0.0)
    if signed:
        most = high or float(cells.max(initial=0.0)) or 1.0
        return -most, most
    return (low, high) if high > low else (0.0, float(cells.max(initial=0.0)) or 1.0)


def limit_lines(limits: Mapping[str, Limits]) -> list[str]:
    """The limits of each method, for people."""
    return [
        f"scale    {method}: raw values from {low:.4g} to {high:.4g} (as --scale {low:.4g}:{high:.4g})"
        for method, (low, high) in limits.items()
    ]


def decides_pictures(
    config: RunConfig, limits: Mapping[str, Sequence[float]] | None, names_digest: str | None
) -> dict[str, Any]:
    """All that decides the pictures and what is listed, for the render fingerprint.

    Args:
        config: the settings.
        limits: fixed normalisation limits of each method.
        names_digest: hash of the names of the classes.
    """
    show = config.parsed.show_bands
    return {
        "save": sorted(config.save),
        "format": [config.image_format, config.quality],
        "limits": None if limits is None else {method: list(ends) for method, ends in limits.items()},
        "class_names": names_digest,
        **({"show_bands": list(show)} if show is not None else {}),
        **({"gamma": float(config.gamma)} if config.gamma != 1 else {}),
        **({"signed": True} if config.signed else {}),
        **({"save_to": config.save_to} if config.save_to != "folder" else {}),
        **({"canvas": config.canvas} if config.canvas != "original" else {}),
        **collect_verbatim(config, "pictures"),
    }


def fingerprint(fields: Mapping[str, Any]) -> str:
    """``sha256:`` of the canonical JSON of the fields."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def panel_text(row: MapRow, label: ClassFields | None, has_limits: bool, signed: bool) -> PanelText:
    """What a panel says of a map, by its row and the image's true class.

    Args:
        row: of the map; its files do not matter.
        label: the true class, where it is known.
        has_limits: whether the map is drawn with fixed limits.
        signed: whether it is drawn with its sign.
    """
    layer = row["layer"]
    layers = [f"layer {'+'.join(layer) if isinstance(layer, list) else layer}"] if layer else []
    target = row["target"]
    parts = [row["method"], *layers, *([f"target: {how_chosen(target['chosen_by'])}"] if target is not None else [])]
    if label is not None and target is not None and label["index"] != target["index"]:
        parts.append(f"label: {shown_name(label)}")
    warning = ""
    if reason := why_empty(row, signed):
        warning = f"this map shows nothing: {reason}"
    elif row.get("improbable") and not has_limits:
        warning = "improbable class: the colours are stretched to this map's own range"
    return PanelText(title_of(row), ", ".join(parts), warning)


def why_empty(row: MapRow, signed: bool) -> str:
    """Why a map is drawn without heat; empty where it is not."""
    least = row["raw"]["min"]
    has_sign = row["status"] == "zero" and signed and least is not None and least < -VANISHING
    return "" if row["status"] == "ok" or has_sign else row["status"]


def how_chosen(chosen_by: str) -> str:
    """How the class of a map was chosen, for people."""
    return "as given" if chosen_by in ("index", "name") else chosen_by


def title_of(row: MapRow) -> str:
    """The class that a map explains, and its probability, or its value where there are no probabilities."""
    target = row["target"]
    if target is None:
        return "no class"
    name = shown_name(target)
    if target["probability"] is not None:
        return f"{name}  {percentage(target['probability'])}"
    return name if target["logit"] is None else f"{name}  {target['logit']:.4g}"


def shown_name(target: ClassFields) -> str:
    """The name of a class as it can be written here, else its number."""
    return legible(target["name"] or "") or f"class {target['index']}"


def percentage(probability: float) -> str:
    """``57.3 %``; of small ones two digits."""
    return f"{100 * probability:.1f} %" if probability >= 0.001 else f"{100 * probability:.2g} %"
