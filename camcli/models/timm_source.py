"""Models of timm, by name or from the Hugging Face Hub, with timm's own data configuration."""

import os
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from camcli.errors import CamError, ModelError, did_you_mean, is_out_of_memory
from camcli.models.embeddings import is_timm_embedding
from camcli.models.fit import Blueprint, Shape
from camcli.models.hub import unreachable_reason
from camcli.models.local_folder import WEIGHT_FILES as _FILES
from camcli.models.local_folder import check_weights, find_folder, read_config, require_files
from camcli.models.model import Model
from camcli.models.names import ClassNames, names_from
from camcli.models.output_form import OutputForm
from camcli.models.preparation import from_timm
from camcli.models.request import ModelRequest
from camcli.models.sources import fix_seed, imagenet_names, with_weights

_LOADING_ERRORS = (OSError, RuntimeError, EOFError, ValueError, AssertionError, pickle.UnpicklingError)
_MOST_CHARACTERS = 300


def has_model(name: str) -> bool:
    """Whether timm has an architecture of that name (a tag after the dot does not matter)."""
    import timm

    return bool(timm.is_model(name.partition(".")[0]))


def open_timm(name: str, request: ModelRequest) -> Model:
    """The model named ``timm:NAME[.tag]``.

    Raises:
        ModelError: unknown name or tag, or weights that are neither in the cache nor can be downloaded.
    """
    config = _config(name)
    tag = config.get("tag")
    full = f"{config.get('architecture', name)}.{tag}" if tag and request.pretrained else name
    return _open(full, name, "timm", config, request)


def open_hub(name: str, request: ModelRequest) -> Model:
    """The model named ``hf-hub:org/name`` or ``hf-hub:./folder``: of the Hugging Face Hub, or local, in timm's format.

    Raises:
        ModelError: the repository is neither in the cache nor can be reached, or is not in timm's format.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    folder = find_folder(name)
    if folder is not None:
        return _open_folder(name, folder, request)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ModelError(
            f"model hf-hub:{name}: {_first_line(error)} Give hf-hub:org/name or hf-hub:./folder."
        ) from error
    if name.count("/") != 1:
        raise ModelError(f"model hf-hub:{name}: give the organisation and the name, hf-hub:org/name, or ./folder.")
    config = _find_cached(name, ("config.json",))
    complete = config is not None and (not request.pretrained or _find_cached(name, _FILES) is not None)
    if not complete:
        here = f" (the folder here is hf-hub:./{name})" if Path(name).is_dir() else ""
        _require_hub(name, f"model hf-hub:{name}{here}")
    try:
        config = config or Path(hf_hub_download(name, "config.json"))
        stated = read_config(config)
    except _LOADING_ERRORS as error:
        raise ModelError(f"model hf-hub:{name}: {_first_line(error)} It must be in timm's format.") from error
    return _open(name, f"local-dir:{config.parent}" if complete else f"hf-hub:{name}", "hf-hub", stated, request)


def _open_folder(name: str, folder: Path, request: ModelRequest) -> Model:
    require_files(name, folder, weights=request.pretrained)
    try:
        stated = read_config(folder / "config.json")
    except (OSError, ValueError) as error:
        raise ModelError(f"model hf-hub:{name}: {_first_line(error)}") from error
    return _open(name, f"local-dir:{folder}", "hf-hub", stated, request)


def _open(name: str, source: str, kind: str, config: Mapping[str, Any], request: ModelRequest) -> Model:
    if request.weights not in ("default", "random"):
        raise ModelError(
            f"--weights {request.weights}: a timm model has default and random; which weights is part of its name, "
            "timm:NAME.tag."
        )
    size = request.size if config.get("fixed_input_size") and request.size != tuple(config["input_size"][1:]) else None
    build = partial(_random, source, size, request.seed)
    heads = config.get("classifier") or ()
    blueprint = Blueprint(
        f"{kind}:{name}", build, config.get("num_classes") or None, (heads,) if isinstance(heads, str) else tuple(heads)
    )
    loaded = with_weights(blueprint, request, partial(_pretrained, name, source, kind, config, size))
    stated = dict(getattr(loaded.module, "pretrained_cfg", config))
    try:
        preprocessing = from_timm(_data_config(stated, loaded.channels))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        keys = {key: stated.get(key) for key in ("input_size", "mean", "std", "crop_pct", "interpolation")}
        raise ModelError(
            f"model {kind}:{name}: its configuration cannot be used ({_first_line(error)}): {keys}"
        ) from error
    num_classes, notes, output = loaded.num_classes, loaded.notes, OutputForm()
    is_named = request.num_classes is not None or request.class_names is not None or loaded.names is not None
    if not is_named and is_timm_embedding(config, num_classes):
        note = f"its {num_classes} outputs are an embedding; if they are classes, give --num-classes {num_classes}"
        output, notes, num_classes = OutputForm("embedding", link="none", note=note), (*notes, note), None
    return Model(
        module=loaded.module,
        preprocessing=preprocessing,
        name=name,
        source=kind,
        weights=loaded.weights,
        num_classes=num_classes,
        output=output,
        class_names=(loaded.class_names or names_of(stated, num_classes)) if num_classes else None,
        notes=notes,
    )


def _data_config(stated: dict[str, Any], channels: int | None) -> dict[str, Any]:
    from timm.data.config import resolve_data_config

    data: dict[str, Any] = resolve_data_config({}, pretrained_cfg=stated)  # type: ignore[no-untyped-call]
    return data if channels is None else {**data, "input_size": (channels, *data["input_size"][1:])}


def _config(name: str) -> dict[str, Any]:
    import timm
    from timm.models import get_pretrained_cfg

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        misses = did_you_mean(architecture, timm.list_models())
        raise ModelError(f"model timm:{name}: unknown.{misses} `cam models` lists them.")
    try:
        config = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        if tag:
            tags = [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)]
            listed = f"It has {', '.join(tags)}." if tags else "It has no published weights."
            raise ModelError(f"model timm:{name}: {architecture} has no tag {tag!r}. {listed}") from error
        # An outdated name, which timm still builds: the module that it gives has the configuration.
        return dict(_create(name, None, pretrained=False).pretrained_cfg)  # type: ignore[arg-type]
    return dict(config.to_dict()) if config is not None else {}  # type: ignore[no-untyped-call]


def _random(source: str, size: tuple[int, int] | None, seed: int, shape: Shape) -> nn.Module:
    options: dict[str, Any] = {} if shape.num_classes is None else {"num_classes": shape.num_classes}
    if shape.channels is not None:
        options["in_chans"] = shape.channels
    with fix_seed(seed):
        return _create(source, size, pretrained=False, **options)


def _create(source: str, size: tuple[int, int] | None, **options: Any) -> nn.Module:
    import timm

    if size is not None:
        options["img_size"] = size
    try:
        module: nn.Module = timm.create_model(source, **options)
    except TypeError as error:
        if size is None:
            raise
        raise ModelError(f"--input-size {size[0]}x{size[1]}: {source} is built for one input size only.") from error
    except AssertionError as error:
        raise ModelError(f"model {source}: timm cannot build it so ({_first_line(error)})") from error
    return module


def _pretrained(
    name: str, source: str, kind: str, config: Mapping[str, Any], size: tuple[int, int] | None
) -> tuple[nn.Module, str]:
    hub_id = name if kind == "hf-hub" else config.get("hf_hub_id")
    if not hub_id and not config.get("url") and not config.get("file"):
        raise ModelError(f"model timm:{name}: timm has no weights for it. Give --checkpoint FILE or --weights random.")
    overlay: dict[str, Any] = {}
    if hub_id and not source.startswith("local-dir:"):
        file = _find_cached(hub_id, (config["hf_hub_filename"],) if config.get("hf_hub_filename") else _FILES)
        if file is not None and config.get("custom_load") != "hf":
            # A file spares asking the hub whether it has changed, which takes half a minute where there is no network.
            overlay = {"pretrained_cfg_overlay": {"file": str(file), "custom_load": False}}
        elif file is None:
            _require_hub(hub_id, f"weights of {kind}:{name}")
    try:
        return _create(source, size, pretrained=True, **overlay), str(hub_id or config.get("url") or config.get("file"))
    except Exception as error:  # timm, safetensors and torch raise classes of their own
        if isinstance(error, CamError) or is_out_of_memory(error):
            raise
        if source.startswith("local-dir:"):
            check_weights(Path(source.removeprefix("local-dir:")))
        raise ModelError(
            f"weights of {kind}:{name}: cannot be loaded. {_in_short(error)} "
            "Give --checkpoint FILE or --weights random."
        ) from error


def _find_cached(repository: str, names: tuple[str, ...]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    files = (try_to_load_from_cache(repository, name) for name in names)
    return next((Path(f) for f in files if isinstance(f, (str, os.PathLike))), None)


def _require_hub(repository: str, what: str) -> None:
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/{repository}"
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else unreachable_reason(url)
    if reason is not None:
        raise ModelError(
            f"{what}: {repository} is not in the Hugging Face cache ({constants.HF_HUB_CACHE}), and "
            f"{constants.ENDPOINT} cannot be reached ({reason}). Download it where there is a network and set HF_HOME "
            "to that cache, or give --checkpoint FILE or --weights random."
        )


def names_of(config: Mapping[str, Any], num_classes: int | None) -> ClassNames | None:
    if num_classes is None:
        return None
    stated = names_from(config.get("label_names"), num_classes)
    if stated is not None or num_classes == 1000:
        return stated or imagenet_names(num_classes)
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": num_classes})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    synonyms = [text.split(", ") for text in info.label_descriptions()]
    return ClassNames((s[0] for s in synonyms), synonyms=synonyms, ids=info.label_names())  # type: ignore[no-untyped-call]


def _in_short(error: BaseException) -> str:
    """All lines in one, as far as they go: those behind the first say which weights do not fit."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " …").rstrip(".") + "."


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__).rstrip(".") + "."
