"""``--method best`` and ``--layer best``: the recommendation of ``cam eval --recommend``, read from the run folder.

``cam eval photos --recommend --output-dir out`` writes ``out/eval.json``; ``cam run photos --method best --layer best
--output-dir out`` reads it. It is valid for the weights that were evaluated only. Where there is none, or a
``--budget`` is given, a run finds the best method by itself; see :mod:`camcli.evaluation.best`.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camcli.config.choice import replace_best, requested_method
from camcli.config.settings import BEST, RunConfig
from camcli.errors import ConfigError
from camcli.schemas.index import CandidateFields, ChosenMethod

FILE = "eval.json"
SCHEMA = "camcli.evaluation/1"


@dataclass(frozen=True)
class Recommended:
    """A recommendation and the model it is valid for.

    Attributes:
        path: of the file.
        model, weights_sha256: that were evaluated.
        choice: for the index, where the method was asked for.
    """

    path: Path
    model: str
    weights_sha256: str
    choice: ChosenMethod | None = None

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


def with_recommended(config: RunConfig, *, for_method: bool = True) -> tuple[RunConfig, Recommended | None]:
    """The configuration with ``best`` replaced, and its source; None where nothing was read.

    The method stays ``best`` where no recommendation is in the run folder, or a ``--budget`` is given.

    Args:
        config: the settings.
        for_method: False where the method is chosen already.

    Raises:
        ConfigError: the run folder has no recommendation of a layer, or one that cannot be used.
    """
    path = Path(config.run_dir) / FILE
    layer = BEST in config.layer
    method = for_method and BEST in config.method and config.budget is None and (layer or path.exists())
    if not method and not layer:
        return config, None
    document = _read(path)
    chosen, model = document["recommended"], document["model"]
    choice = _choice(config, path, document) if method else None
    if method:
        config = replace(config, method=replace_best(config.method, [chosen["method"]]))
    if layer:
        # A method of the whole network has no layer, and takes any, as without --layer.
        layers = tuple(chosen["layer"].split("+")) if chosen["layer"] else ("auto",)
        if len(layers) > 1 and config.fuse == "none":
            raise ConfigError(f"{path} recommends the fused layers {chosen['layer']}: give --fuse as in `cam eval`.")
        config = replace(config, layer=replace_best(config.layer, layers))
    return config, Recommended(path, model["name"], model["weights_sha256"], choice)


def _choice(config: RunConfig, path: Path, document: dict[str, Any]) -> ChosenMethod:
    chosen = document["recommended"]
    return {
        "method": chosen["method"],
        "options": [],
        "layer": None,
        "source": "evaluation",
        "why": [f"read from {path}, which `cam eval --recommend` wrote", *map(str, chosen.get("why") or ())],
        "budget": None,
        "requested": requested_method(config),
        "images": [str(item["image"]) for item in document.get("items") or ()],
        "candidates": [_candidate(row) for row in document.get("rows") or () if not row["baseline"]],
        "excluded": [],
        "trial": None,
    }


def _candidate(row: dict[str, Any]) -> CandidateFields:
    figure = row["figures"].get("ins-del") or {}
    return {
        "method": row["method"],
        "options": [],
        "passes": row.get("passes"),
        "value": figure.get("value"),
        "interval": figure.get("interval"),
    }


def _read(path: Path) -> dict[str, Any]:
    way_out = f"Find it with `cam eval IMAGES --recommend --output-dir {path.parent}` and the same model."
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"it follows {document['schema']}")
        recommended = document["recommended"]
    except FileNotFoundError as error:
        raise ConfigError(
            f"--layer best: {path} is not there. {way_out} Without --layer, --method best needs no such file."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--method or --layer best: {path} is no evaluation of cam ({error}). {way_out}") from error
    if recommended is None:
        raise ConfigError(f"--method or --layer best: {path} recommends nothing. {way_out}")
    evaluation: dict[str, Any] = document
    return evaluation
