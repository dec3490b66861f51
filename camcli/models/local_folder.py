"""A model in a local folder, as timm's ``save_for_hf`` or a download from the Hugging Face Hub leaves it."""

import json
from pathlib import Path
from typing import Any

from camcli.errors import ModelError
from camcli.models.checkpoint_file import read_checkpoint

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def find_folder(name: str) -> Path | None:
    """The folder that a name means; None where it is ``org/name`` of the hub, though a folder may be called so too.

    Of a cache of the hub (``models--org--name``), it is the snapshot that ``refs/main`` names, or the only one.

    Raises:
        ModelError: it is a path, and there is no such folder.
    """
    path = Path(name).expanduser()
    is_path = name.startswith((".", "/", "~")) or path.is_absolute() or "\\" in name
    if not name or (not is_path and name.count("/") == 1):
        return None
    if not path.is_dir():
        if is_path or path.exists():
            what = "is a file, not a folder" if path.exists() else "no such folder"
            raise ModelError(f"model hf-hub:{name}: {what}.{_WANTED}")
        return None
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        return path
    main = path / "refs" / "main"
    named = snapshots / main.read_text("utf-8").strip() if main.is_file() else None
    every = [entry for entry in snapshots.iterdir() if entry.is_dir()]
    if named is not None and named.is_dir():
        return named
    if len(every) == 1:
        return every[0]
    raise ModelError(f"model hf-hub:{name}: {len(every)} snapshots. Name one of {snapshots}.")


def read_config(path: Path) -> dict[str, Any]:
    """What timm's ``config.json`` states.

    Raises:
        ValueError: it is no JSON, or not timm's; with what it is.
        OSError: it cannot be read.
    """
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"its config.json is no JSON ({error})") from error
    if not isinstance(raw, dict):
        raise ValueError(f"its config.json holds a {type(raw).__name__}, not an object")
    if not isinstance(raw.get("architecture"), str):
        if "model_type" in raw or "architectures" in raw:
            kind = ", ".join(map(str, raw.get("architectures") or [raw.get("model_type")]))
            raise ValueError(
                f"its config.json is of the transformers library ({kind}), and cam loads models of timm. A factory: "
                "function can return what AutoModelForImageClassification.from_pretrained(FOLDER) loads"
            )
        raise ValueError("its config.json names no timm architecture")
    nested = raw.get("pretrained_cfg")
    if nested is not None and not isinstance(nested, dict):
        raise ValueError(f"its config.json holds a {type(nested).__name__} as pretrained_cfg, not an object")
    shared = {key: raw[key] for key in ("num_classes", "label_names") if raw.get(key)}
    return {**(nested or raw), **shared}


def require_files(name: str, folder: Path, *, weights: bool) -> None:
    """Raise ModelError where the folder lacks a file."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"model hf-hub:{name}: {folder} has no config.json.{_WANTED}")
    if weights and not any((folder / file).is_file() for file in WEIGHT_FILES):
        raise ModelError(
            f"model hf-hub:{name}: {folder} has no weights ({' or '.join(WEIGHT_FILES)}). Give --checkpoint FILE or "
            "--weights random."
        )


_WANTED = " A folder in timm's layout holds config.json and model.safetensors; of the hub, give hf-hub:org/name."


def check_weights(folder: Path) -> None:
    """Read the file with the weights that libraries take from a folder, for what is wrong with it as a file.

    Raises:
        CheckpointError: it is no checkpoint, or damaged.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            read_checkpoint(folder / name)
            return
