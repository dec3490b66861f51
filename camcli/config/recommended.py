"""``--method best`` and ``--layer best``: what ``cam eval --recommend`` found, taken from the run folder.

``cam eval photos --recommend --output-dir out`` leaves ``out/eval.json``; ``cam run photos --method best --layer best
--output-dir out`` reads it. It holds for the weights that were evaluated and for no others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camcli.config.settings import RunConfig
from camcli.errors import ConfigError

BEST = "best"
FILE = "eval.json"


@dataclass(frozen=True)
class Recommended:
    """A recommendation and what it was found for.

    Attributes:
        path: of the file.
        model, weights_sha256: that were evaluated.
    """

    path: Path
    model: str
    weights_sha256: str

    def confirm(self, weights_sha256: str) -> None:
        """Make sure that the model which was loaded is the one that was evaluated.

        Raises:
            ConfigError: it is another one.
        """
        if weights_sha256 != self.weights_sha256:
            raise ConfigError(
                f"{self.path} recommends for {self.model} with other weights than these. Repeat `cam eval` with "
                f"--recommend for this model, or name --method and --layer."
            )


def with_recommended(config: RunConfig) -> tuple[RunConfig, Recommended | None]:
    """The configuration with ``best`` replaced, and where that came from; None where nobody asked for it.

    Raises:
        ConfigError: nothing is recommended there.
    """
    method, layer = BEST in config.method, BEST in config.layer
    if not method and not layer:
        return config, None
    path = Path(config.output_dir) / FILE
    document = _read(path)
    found, model = document["recommended"], document["model"]
    if method:
        config = replace(config, method=_replaced(config.method, (found["method"],)))
    if layer:
        # A method of the whole network has no layer; any will do, as without --layer.
        layers = tuple(found["layer"].split("+")) if found["layer"] else ("auto",)
        if len(layers) > 1 and config.fuse == "none":
            raise ConfigError(f"{path} recommends the fused layers {found['layer']}: give --fuse as in `cam eval`.")
        config = replace(config, layer=_replaced(config.layer, layers))
    return config, Recommended(path, model["name"], model["weights_sha256"])


def _read(path: Path) -> dict[str, Any]:
    way_out = f"Find it with `cam eval IMAGES --recommend --output-dir {path.parent}` and the same model."
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != "camcli.evaluation/1":
            raise ValueError(f"it follows {document['schema']}")
        recommended = document["recommended"]
    except FileNotFoundError as error:
        raise ConfigError(f"--method or --layer best: {path} is not there. {way_out}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--method or --layer best: {path} is no evaluation of cam ({error}). {way_out}") from error
    if recommended is None:
        raise ConfigError(f"--method or --layer best: {path} recommends nothing. {way_out}")
    found: dict[str, Any] = document
    return found


def _replaced(given: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, ...]:
    """``best`` replaced in its place; what is also named by itself stands once."""
    return tuple(dict.fromkeys(one for value in given for one in (found if value == BEST else (value,))))
