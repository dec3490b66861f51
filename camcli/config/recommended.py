"""``--method best`` and ``--layer best``: the recommendation of ``cam eval --recommend``, read from the run folder.

``cam eval photos --recommend --output-dir out`` writes ``out/eval.json``; ``cam run photos --method best --layer best
--output-dir out`` reads it. It is valid for the weights that were evaluated only.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camcli.config.settings import RunConfig
from camcli.errors import ConfigError

BEST = "best"
FILE = "eval.json"
SCHEMA = "camcli.evaluation/1"


@dataclass(frozen=True)
class Recommended:
    """A recommendation and the model it is valid for.

    Attributes:
        path: of the file.
        model, weights_sha256: that were evaluated.
    """

    path: Path
    model: str
    weights_sha256: str

    def confirm(self, weights_sha256: str) -> None:
        """Check that the loaded model is the one that was evaluated.

        Raises:
            ConfigError: it has other weights.
        """
        if weights_sha256 != self.weights_sha256:
            raise ConfigError(
                f"{self.path} recommends for {self.model} with other weights than these. Repeat `cam eval` with "
                f"--recommend for this model, or name --method and --layer."
            )


def with_recommended(config: RunConfig) -> tuple[RunConfig, Recommended | None]:
    """The configuration with ``best`` replaced, and its source; None if the configuration does not name ``best``.

    Raises:
        ConfigError: the run folder has no recommendation.
    """
    method, layer = BEST in config.method, BEST in config.layer
    if not method and not layer:
        return config, None
    path = Path(config.run_dir) / FILE
    document = _read(path)
    chosen, model = document["recommended"], document["model"]
    if method:
        config = replace(config, method=_replace_best(config.method, (chosen["method"],)))
    if layer:
        # A method of the whole network has no layer, and takes any, as without --layer.
        layers = tuple(chosen["layer"].split("+")) if chosen["layer"] else ("auto",)
        if len(layers) > 1 and config.fuse == "none":
            raise ConfigError(f"{path} recommends the fused layers {chosen['layer']}: give --fuse as in `cam eval`.")
        config = replace(config, layer=_replace_best(config.layer, layers))
    return config, Recommended(path, model["name"], model["weights_sha256"])


def _read(path: Path) -> dict[str, Any]:
    way_out = f"Find it with `cam eval IMAGES --recommend --output-dir {path.parent}` and the same model."
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"it follows {document['schema']}")
        recommended = document["recommended"]
    except FileNotFoundError as error:
        raise ConfigError(f"--method or --layer best: {path} is not there. {way_out}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--method or --layer best: {path} is no evaluation of cam ({error}). {way_out}") from error
    if recommended is None:
        raise ConfigError(f"--method or --layer best: {path} recommends nothing. {way_out}")
    evaluation: dict[str, Any] = document
    return evaluation


def _replace_best(names: tuple[str, ...], best: tuple[str, ...]) -> tuple[str, ...]:
    """The names with ``best`` replaced in its place, each name once."""
    return tuple(dict.fromkeys(one for name in names for one in (best if name == BEST else (name,))))
