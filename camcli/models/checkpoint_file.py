"""Reading a checkpoint file without running anything that is in it."""

import argparse
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

import torch
from torch import _weights_only_unpickler

from camcli.errors import CheckpointError, is_out_of_memory
from camcli.models.state_dict import listed

_OTHER_KINDS = {  # first bytes → what the file is and the way out
    b"version https://git-lfs": "a Git LFS pointer, not the weights themselves. Fetch them with `git lfs pull`",
    b"\x89HDF": "an HDF5 file (Keras). Convert it to safetensors first",
    b"\x1f\x8b": "gzip-compressed. Unpack it first",
    b"BZh": "bzip2-compressed. Unpack it first",
    b"\xfd7zXZ": "xz-compressed. Unpack it first",
    b"\x28\xb5\x2f\xfd": "zstd-compressed. Unpack it first",
    b"\x08\x00\x12": "a TensorFlow or ONNX graph. Convert it to a PyTorch state dict first",
    b"\x93NUMPY": "a NumPy array. Give a state dict",
}
_SAVE_STATE = "save its state dict instead: torch.save(model.state_dict(), 'weights.pt')"

_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace, PosixPath, PurePosixPath]
"""Types that training scripts put beside the weights and whose construction runs nothing of the file's choosing."""


def read_checkpoint(path: str | Path, *, trust: bool = False) -> Any:
    """The content of a checkpoint file, its tensors on the CPU.

    Args:
        path: a safetensors file or a PyTorch checkpoint.
        trust: unpickle whatever is in it, which can run any code.

    Returns:
        A dict of tensors, or whatever was saved: nested dicts with the tensors somewhere inside, or a module.

    Raises:
        CheckpointError: the file is missing, is no checkpoint, is damaged, or would have to run code to be read.
    """
    path = Path(path)
    start = _start(path)
    if path.suffix.lower() == ".safetensors" or _is_safetensors(start):
        return _read_safetensors(path, start)
    if start.startswith(b"PK\x03\x04"):
        _check_archive(path)
    elif not start.startswith(b"\x80"):
        raise CheckpointError(f"checkpoint {path}: {_what_it_is(start)}.")
    return _unpickle(path, trust)


def _start(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"checkpoint {path}: a folder. Give the file with the weights that is in it.")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read ({error.strerror or error}).") from error
    if not start:
        raise CheckpointError(f"checkpoint {path}: the file is empty.")
    for magic, kind in _OTHER_KINDS.items():
        if start.startswith(magic):
            raise CheckpointError(f"checkpoint {path}: the file is {kind}.")
    return start


def _what_it_is(start: bytes) -> str:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "the file is a web page, probably an error or login page saved by the download. Download it again"
    if all(byte in b"\t\n\r\x0b\x0c\x1b" or byte >= 32 for byte in start):  # printable
        first = start.decode("utf-8", "replace").strip().splitlines()[:1]
        return f"a text file, not weights (it begins {first[0][:60] if first else ''!r}). Download it again"
    return "no checkpoint format is recognised: neither safetensors nor a PyTorch file. It may be cut off or damaged"


def _is_safetensors(start: bytes) -> bool:
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= 100_000_000


def _read_safetensors(path: Path, start: bytes) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path, device="cpu")
    except SafetensorError as error:
        if start[8:9] != b"{":
            raise CheckpointError(f"checkpoint {path}: {_what_it_is(start)}.") from error
        raise _damaged_error(path, "safetensors file", error) from error
    return tensors


def _damaged_error(path: Path, what: str, reason: object) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path}: the {what} is cut off or damaged ({reason}). Its size is {path.stat().st_size:,} bytes; "
        "copy or download it again."
    )


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise _damaged_error(path, "file", error) from error
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            f"checkpoint {path}: a TorchScript module, whose layers cannot be hooked. Save its weights, "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt'), and give them with the --model they fit."
        )
    if any(name.endswith(".npy") for name in names):
        raise CheckpointError(f"checkpoint {path}: a NumPy archive (JAX weights). Convert it to a state dict first.")
    if any(name.endswith(("/archive_format", "serialized_exported_program.json")) for name in names):
        raise CheckpointError(
            f"checkpoint {path}: an exported program, whose layers cannot be hooked. Save the weights of the module "
            "that it was made from: torch.save(model.state_dict(), 'weights.pt')."
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(f"checkpoint {path}: a zip archive without PyTorch data. Unpack it first.")


def _unpickle(path: Path, trust: bool) -> Any:
    try:
        if trust:
            return torch.load(path, map_location="cpu", weights_only=False)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the age of the pickle protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError, KeyError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        names = find_globals(path)
        if names and not trust:
            raise CheckpointError(_refusal(path, names)) from error
        if _is_other_pickle(path):
            raise CheckpointError(
                f"checkpoint {path}: a pickle that torch.save has not written: {_SAVE_STATE}."
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _damaged_error(path, "file", reason) from error
    except (ImportError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {path}: unpickling it needs code that is not installed here ({error}). Install that, or "
            + _SAVE_STATE + "."
        ) from error  # fmt: skip


def _is_other_pickle(path: Path) -> bool:
    """Whether a file is a whole pickle without the number that torch.save wrote first before it wrote zip archives."""
    try:
        with path.open("rb") as file:
            values = [value for _, value, _ in pickletools.genops(file)]
    except ValueError:
        return False
    return torch.serialization.MAGIC_NUMBER not in values


def _refusal(path: Path, names: list[str]) -> str:
    whole = any(name.startswith("torch.nn.modules.") for name in names)
    kind = "holds a whole pickled module" if whole else "cannot be read without running code"
    return (
        f"checkpoint {path}: {kind}; nothing of it was run. It asks for {listed(names, 8)}. Where it was made, "
        f"{_SAVE_STATE}. If you trust whoever made the file, --trust-checkpoint."
    )


def find_globals(path: Path) -> list[str]:
    """The functions and classes that unpickling the file would call, beyond the harmless ones.

    The pickle is only disassembled. Sorted; empty where it cannot be read that far.
    """
    allowed = {f"{kind.__module__}.{kind.__qualname__}" for kind in _HARMLESS if isinstance(kind, type)}
    if zipfile.is_zipfile(path):
        with torch.serialization.safe_globals(_HARMLESS):
            try:
                return sorted(set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - allowed)
            except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError):
                return []  # the archive is damaged; the caller reports it
    allowed |= set(_weights_only_unpickler._get_allowed_globals())
    return sorted(set(_globals_of(path)) - allowed)


def _globals_of(path: Path) -> Iterator[str]:
    """Globals named in the pickles that follow one another in a file of the format before zip archives."""
    with path.open("rb") as file:
        try:
            while True:
                strings: list[str] = []
                for opcode, value, _ in pickletools.genops(file):
                    if isinstance(value, str) and opcode.name == "GLOBAL":
                        yield value.replace(" ", ".")
                    elif isinstance(value, str):
                        strings.append(value)
                    elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                        yield ".".join(strings[-2:])
        except (ValueError, UnicodeDecodeError):
            return  # the end of the pickles: what follows is raw tensor data
