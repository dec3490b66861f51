"""From the settings that a run recorded, and new ones for its pictures, to what is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from camcli.config.settings import SETTINGS, RunConfig, default_colormap
from camcli.errors import ConfigError
from camcli.pipeline.pictures import Limits, decides_pictures, fingerprint, limits_in
from camcli.schemas.index import Header

PICTURES = (
    "save", "colormap", "alpha", "gamma", "signed", "canvas", "scale", "max_side", "image_format", "quality",
)  # fmt: skip
"""The settings that can be changed without the model."""


_COLOURED = frozenset({"overlay", "heatmap", "panel"})
_AFFECTED = {
    "alpha": frozenset({"overlay", "panel"}), "gamma": _COLOURED | {"gray"},
    **dict.fromkeys(("colormap", "image_format", "quality"), _COLOURED),
    **dict.fromkeys(("signed", "canvas", "scale", "max_side"), _COLOURED | {"gray", "map"}),
}  # fmt: skip
"""The kinds of pictures that another value of a setting changes."""


def unaffected(before: RunConfig, after: RunConfig) -> frozenset[str]:
    """The kinds of pictures that stay the same; none where no setting differs, and all are wanted anew."""
    changed = [name for name in PICTURES if getattr(before, name) != getattr(after, name)]
    affected = set[str]().union(*(_AFFECTED[name] for name in changed if name != "save"))
    return frozenset(before.save) - affected if changed else frozenset()


def recorded_config(header: Header) -> RunConfig:
    """The settings of a run as they were resolved."""
    recorded = header["config"]
    return RunConfig(**{name: recorded[name] for name in SETTINGS if name in recorded})


def changed_config(before: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The same with other settings for the pictures.

    The colours follow ``--signed`` where they were the ones that it had by itself. Raw maps that the run saved stay.

    Raises:
        ConfigError: raw maps that the run did not save; a value that is not allowed.
    """
    after = replace(before, **{name: value for name, value in changes.items() if name in PICTURES})
    if after.signed != before.signed and "colormap" not in changes:
        followed = before.colormap == default_colormap(before.signed)
        after = replace(after, colormap=default_colormap(after.signed) if followed else before.colormap)
    if "raw" in before.save and "raw" not in after.save:
        after = replace(after, save=(*after.save, "raw"))
    if "raw" in after.save and "raw" not in before.save:
        raise ConfigError(
            "--save raw: the run did not save its raw maps, and its index holds them rounded. Only `cam run "
            "--overwrite` with --save raw computes them again."
        )
    return after


def recorded_limits(header: Header, before: RunConfig, after: RunConfig) -> dict[str, Limits] | None:
    """The limits of ``--scale sample:N`` where the run has those that are wanted; None where they are to be found."""
    recorded = limits_in(header["config"])
    if not recorded or (before.scale, before.signed) != (after.scale, after.signed):
        return None
    return recorded


def new_header(header: Header, after: RunConfig, limits: Mapping[str, Limits]) -> Header:
    """The top-level fields of the index with the new settings and the render fingerprint of a run with them."""
    ends = {method: list(pair) for method, pair in limits.items()} or None
    values = {name: getattr(after, name) for name in PICTURES}
    changed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {
        **header,
        "config": {**header["config"], **changed, "scale_limits": ends},
        "render_fingerprint": render_fingerprint(header, after, ends),
    }


def render_fingerprint(header: Header, config: RunConfig, limits: Mapping[str, list[float]] | None) -> str:
    """That of a run with these settings."""
    return fingerprint(decides_pictures(config, limits, header["model"].get("class_names_sha256")))


def can_be_continued(header: Header, before: RunConfig) -> bool:
    """Whether ``cam run`` would recognise the run: not where another version made it, by other rules."""
    return header["render_fingerprint"] == render_fingerprint(header, before, header["config"].get("scale_limits"))
