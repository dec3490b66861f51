"""What a run records of itself: the header of the journal and of the index, and its two fingerprints."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from camcli._version import __version__
from camcli.config.settings import collect_verbatim
from camcli.output import SCHEMA
from camcli.pipeline.pictures import decides_pictures, fingerprint
from camcli.schemas.index import Environment, Header, LayerFields, ModelFields, OutputFields, ProbabilitySource
from camcli.storage import mask_all, masked

if TYPE_CHECKING:
    from camcli.models import Model
    from camcli.pipeline.setup import Setup

_LAYER_KEYS = ("path", "layout", "grid", "prefix_tokens")


def make_header(setup: Setup, command: Sequence[str]) -> Header:
    """All top-level fields of the index but the items, as they stand when the run starts."""
    header: Header = {
        "schema": SCHEMA,
        "status": "running",
        "camcli": __version__,
        "started": now(),
        "finished": None,
        "command": mask_all(command),
        "config": resolved_config(setup),
        "fingerprint": fingerprint(_decides_maps(setup)),
        "render_fingerprint": fingerprint(decides_pictures(setup.config, _limits(setup), names_digest(setup.model))),
        "model": model_fields(setup),
        "output": output_fields(setup),
        "layers": layer_fields(setup),
        "assumptions": list(setup.assumptions),
        "methods": list(setup.config.method),
        "environment": environment(setup),
        "counts": None,
        "timing": None,
    }
    if setup.choice is not None:
        header["chosen_method"] = setup.choice
    return header


def now() -> str:
    """The time in UTC, ISO 8601 with a final Z."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def resolved_config(setup: Setup) -> dict[str, Any]:
    """Every setting after resolution: ``auto`` has become what was chosen."""
    settings = dataclasses.asdict(setup.config) | {
        "target": setup.config.target or "predicted", "device": str(setup.device), "precision": setup.precision,
        "batch_size": setup.batch_size, "workers": setup.workers, "scale_limits": _limits(setup),
        "image_path": [masked(path) for path in setup.config.image_path],
    }  # fmt: skip
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def _decides_maps(setup: Setup) -> dict[str, Any]:
    config = setup.config
    window = config.parsed.window
    return {
        "weights": setup.model.weights_sha256,
        "model": setup.model.name,
        "preprocessing": setup.model.preprocessing.description,
        "mean": list(setup.model.preprocessing.mean),
        "std": list(setup.model.preprocessing.std),
        "layers": [[dict(layer)[key] for key in _LAYER_KEYS] for layer in layer_fields(setup)],
        "methods": list(config.method),
        "options": sorted(config.option),
        "target": config.target or "predicted",
        "smooth": [config.aug_smooth, config.eigen_smooth],
        "precision": setup.precision,
        "batch": setup.batch_size,
        "compiled": setup.tuning.compiled,
        **_decides_rounding(setup),
        **_decides_scores(setup),
        **({"device_decode": True} if config.device_decode else {}),
        **({"window": list(window)} if window is not None else {}),
        **collect_verbatim(config, "maps"),
    }


def _decides_rounding(setup: Setup) -> dict[str, Any]:
    """The kind of device, and the number format of trials, where they are not those of a plain run on a CPU."""
    device = {"device": setup.device.type} if setup.device.type != "cpu" else {}
    return {**device, **_trials(setup)}


def _trials(setup: Setup) -> dict[str, str]:
    """The number format of trials, where a method compares scores and it is not that of the passes."""
    trials = setup.explainer.options.precision_on(setup.device, trials=True)
    compares = any({"tail", "scoring"} & set(method.needs) for method, _ in setup.explainer.methods())
    return {"trials": trials} if compares and trials != setup.precision else {}


def _decides_scores(setup: Setup) -> dict[str, Any]:
    """What the output of the model is, where it is not one logit for each class."""
    form = setup.model.output
    if form.kind in ("logits", "embedding") and form.key is None and not form.is_binary:
        return {}
    factor = [form.factor] if form.factor != 1 else []
    return {"output": [form.kind, form.key, form.link, form.is_binary, *factor]}


def names_digest(model: Model) -> str | None:
    """A hash of the names of all classes; None where the model has none."""
    return None if model.class_names is None else fingerprint({"names": list(model.class_names.names)})


def _limits(setup: Setup) -> dict[str, list[float]] | None:
    return {method: list(limits) for method, limits in setup.limits.items()} or None


def model_fields(setup: Setup) -> ModelFields:
    """The ``model`` object of the index."""
    model, pre = setup.model, setup.model.preprocessing
    fields: ModelFields = {
        "name": model.name, "source": model.source, "weights": model.weights, "weights_sha256": model.weights_sha256,
        "num_classes": model.num_classes, "input_size": [pre.channels, pre.height, pre.width],
        "mean": list(pre.mean), "std": list(pre.std), "resize": pre.description,
    }  # fmt: skip
    if (digest := names_digest(model)) is not None:
        fields["class_names_sha256"] = digest
    return fields


def output_fields(setup: Setup) -> OutputFields:
    """The ``output`` object of the index: what the numbers are that the model returns."""
    model = setup.model
    form = model.output
    own = form.kind in ("probabilities", "log-probabilities")
    return {
        "kind": form.kind,
        "key": model.output_key or form.key,
        "probability": "own" if own else _PROBABILITIES[model.link(setup.config.probability)],  # type: ignore[arg-type]
        "assumed": form.assumed,
    }


_PROBABILITIES: dict[str, ProbabilitySource] = {"softmax": "softmax", "sigmoid": "sigmoid", "none": "none"}


def layer_fields(setup: Setup) -> list[LayerFields]:
    """The ``layers`` list of the index."""
    return [
        {
            "path": layer.path,
            "requested": layer.requested,
            "module": layer.module,
            "layout": layer.layout.kind,
            "grid": list(layer.layout.grid),
            "channels": layer.channels,
            "prefix_tokens": layer.layout.prefix_tokens,
            "proof": layer.proof,
        }
        for layer in setup.layers
    ]


def environment(setup: Setup) -> Environment:
    """Versions and the device, with which the same result can be computed again."""
    fields: Environment = {
        "python": platform.python_version(), "torch": version("torch"), "torchvision": version("torchvision"),
        "timm": version("timm"), "device": str(setup.device), "device_name": setup.device_name,
        "precision": setup.precision,
    }  # fmt: skip
    if trials := _trials(setup):
        fields["trials"] = trials["trials"]
    return fields
