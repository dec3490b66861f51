"""The automatic layer of every family of timm and torchvision, verified and checked independently.

    python -m tests.sweeps.layers_sweep --families --out tests/sweeps/layers_table.json
    python -m tests.sweeps.layers_sweep --all --minutes 90 --out tests/sweeps/layers_all.json

Random weights. ``--families`` takes the smallest model of each (module, class) family, ``--all`` every model, those
with the least work (parameters times pixels) first. Each model runs in a process of its own with a time limit; models
above ``--max-params`` million parameters are left out, and no new one is begun after ``--minutes``; the table's
``represented`` names the examined relative of the same class that stands for each. A run that was interrupted goes on
where it stopped.
``python -m tests.sweeps.layers_summary FILE`` writes the table for people.

Per model: the automatic layer and its verification (``status`` proven or refused); a Grad-CAM by plain autograd must be
finite, not constant and of the reported grid, and independent perturbations must be followed (else ``wrong``);
``failed`` is an unexpected exception. Exit code 1 where any model is wrong or failed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.models._registry import _model_to_module as timm_modules
from torch import Tensor, nn

from camcli.capture import freeze
from camcli.errors import LayerError, ModelError
from camcli.layers import Layer, resolve_layers
from camcli.layers.initialise import initialise_untrained
from camcli.layers.perturb import structured_noise
from tests.sweeps.layers_check import Reported, follows, gradcam

Row = dict[str, Any]
PLACES = 16  # at which an image is changed for the sweep's own check
FEW_PLACES = 8  # where there are many models, or a pass takes long
LARGE = 150e6  # parameters


@dataclass(frozen=True)
class Size:
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Swept:
    """A model as the layers package sees it."""

    module: nn.Module
    preprocessing: Size

    def logits(self, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 2 or getattr(self.module, "num_classes", 1) == 0:
            raise ModelError("no logits")
        return output


def build(name: str) -> Swept:
    """``timm:NAME`` or ``torchvision:NAME`` with random weights."""
    library, _, bare = name.partition(":")
    torch.manual_seed(0)
    if library == "torchvision":
        options = {"init_weights": True} if bare in ("googlenet", "inception_v3") else {}
        module = torchvision.models.get_model(bare, weights=None, **options)
        side = 299 if bare == "inception_v3" else 224
        return Swept(module, Size(3, side, side))
    module = timm.create_model(bare, pretrained=False)
    return Swept(module, Size(*module.pretrained_cfg["input_size"]))


def examine(name: str, places: int = PLACES) -> Row:
    """One row of the table."""
    model = build(name)
    module, size = model.module, model.preprocessing
    shape = (size.channels, size.height, size.width)
    row: Row = {
        "name": name,
        "class": type(module).__name__,
        "million_parameters": round(sum(p.numel() for p in module.parameters()) / 1e6, 2),
        "input_size": list(shape),
    }
    module.eval()
    with torch.no_grad():
        image = structured_noise(1, *shape, seed=5)
        module(image)
        forward = statistics.median(_seconds(module, image) for _ in range(3))
    start = time.process_time()
    try:
        layer = resolve_layers(model, ["auto"], needs_gradient=getattr(module, "num_classes", 1) != 0)[0]
    except LayerError as error:
        return row | {"status": "refused", "reason": str(error)}
    row |= {"forward_seconds": round(forward, 4), "forwards": round((time.process_time() - start) / forward, 1)}
    return row | _described(layer) | _checked(model, layer, image, places)


def _seconds(module: nn.Module, image: Tensor) -> float:
    """Processor time of one pass: other programs on the machine do not count."""
    start = time.process_time()
    module(image)
    return time.process_time() - start


def _described(layer: Layer) -> Row:
    return {
        "path": layer.path,
        "module": layer.module,
        "layout": layer.layout.kind,
        "grid": list(layer.layout.grid),
        "prefix_tokens": layer.layout.prefix_tokens,
        "channels": layer.channels,
        "proof": layer.proof,
        "agreement": round(layer.agreement, 3),
    }


def _checked(model: Swept, layer: Layer, image: Tensor, places: int) -> Row:
    reported = Reported(layer.path, layer.layout.kind, layer.layout.grid, layer.layout.prefix_tokens)
    shape = tuple(image.shape[1:])
    with freeze(model.module), initialise_untrained(model.module):
        with torch.no_grad():
            model.module(
                structured_noise(4, *shape, seed=6)
            )  # calibrates batch norms on other images than the verification
        followed = follows(model.module, reported, shape, places)  # type: ignore[arg-type]
        cam = gradcam(model.module, reported, image)
    largest = float(cam.abs().max())
    wrong = []
    if not bool(cam.isfinite().all()):
        wrong.append("Grad-CAM is not finite")
    elif float(cam.max() - cam.min()) <= 1e-6 * largest:
        wrong.append("Grad-CAM is constant")
    if tuple(cam.shape) != layer.layout.grid:
        wrong.append(f"Grad-CAM is {tuple(cam.shape)}")
    wrong += followed.faults
    return {
        "follows": [round(followed.rows, 2), round(followed.columns, 2)],
        "evenness": round(followed.evenness, 2),
        "status": "wrong" if wrong else "proven",
        "reason": "; ".join(wrong) or None,
    }


def guarded(function: Callable[[str], Any], name: str, seconds: float) -> Any:
    """The function's result in a process of its own; a dictionary with ``status`` failed where it does not return."""
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(there, function, name))
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            process.kill()
            return {"name": name, "status": "failed", "reason": f"took longer than {seconds:.0f} s"}
        return here.recv()
    except EOFError:
        process.join()
        return {"name": name, "status": "failed", "reason": f"process ended with {process.exitcode} (memory?)"}
    finally:
        process.join()


def _answer(pipe: Connection, function: Callable[[str], Any], name: str) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        pipe.send(function(name))
    except Exception as error:
        traceback.print_exc()
        pipe.send({"name": name, "status": "failed", "reason": f"{type(error).__name__}: {error}"[:500]})


def measured(name: str) -> Row:
    """Class and size of a model without allocating it where the library allows."""
    library, _, bare = name.partition(":")
    try:
        with torch.device("meta"):
            module = timm.create_model(bare) if library == "timm" else torchvision.models.get_model(bare, weights=None)
    except (RuntimeError, NotImplementedError):
        module = build(name).module
    return {
        "name": name,
        "family": timm_modules[bare] if library == "timm" else type(module).__module__.rpartition(".")[2],
        "class": type(module).__name__,
        "parameters": sum(p.numel() for p in module.parameters()),
    }


def catalogue(known: dict[str, Row]) -> dict[str, Row]:
    """All models by name with family, class and size; what is known is not measured again."""
    names = [f"timm:{name}" for name in timm.list_models()]
    names += [f"torchvision:{name}" for name in torchvision.models.list_models(module=torchvision.models)]
    for name in names:
        if name not in known:
            known[name] = measured(name)
    return known


def work(row: Row) -> float:
    """About how long a pass takes: parameters times pixels."""
    name = row["name"]
    library, _, bare = name.partition(":")
    config = timm.get_pretrained_cfg(bare, allow_unregistered=True) if library == "timm" else None
    _, height, width = config.input_size if config is not None else (3, 224, 224)
    return float(row.get("parameters", 0)) * height * width


def families(models: dict[str, Row]) -> dict[tuple[str, str, str], str]:
    """The smallest model of each (library, module, class)."""
    smallest: dict[tuple[str, str, str], str] = {}
    for name, row in sorted(models.items(), key=lambda item: (item[1].get("parameters", 0), item[0])):
        if "parameters" in row:
            smallest.setdefault((name.partition(":")[0], row["family"], row["class"]), name)
    return smallest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", action="store_true", help="the smallest model of each family (default)")
    parser.add_argument("--all", action="store_true", help="every model")
    parser.add_argument("--only", nargs="*", help="names that contain one of these")
    parser.add_argument("--again", action="store_true", help="examine again what is not verified in the table")
    parser.add_argument(
        "--max-params", type=float, default=400, help="million parameters above which a model is left out"
    )
    parser.add_argument("--seconds", type=float, default=900, help="time limit per model")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no new model after this long")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + 60 * options.minutes
    table = json.loads(options.out.read_text()) if options.out.exists() else {"models": {}, "rows": {}}
    table["versions"] = {"timm": timm.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__}
    models = catalogue(table["models"])
    save(table, options.out)
    chosen = sorted(models, key=lambda name: work(models[name])) if options.all else list(families(models).values())
    for name in chosen:
        done = table["rows"].get(name)
        if (done and not (options.again and done["status"] != "proven")) or not _wanted(name, options.only):
            continue
        if models[name].get("parameters", 0) > options.max_params * 1e6:
            row = {"name": name, "status": "left out", "reason": "too large for this machine"}
        elif time.monotonic() > end:
            break
        else:
            few = options.all or models[name].get("parameters", 0) > LARGE
            row = guarded(partial(examine, places=FEW_PLACES if few else PLACES), name, options.seconds)
        table["rows"][name] = row | {"family": models[name].get("family")}
        save(table, options.out)
        print(name, row["status"], row.get("path"), row.get("grid"), row.get("reason"), flush=True)
    examined = [name for name in chosen if table["rows"].get(name, {}).get("status") not in (None, "left out")]
    table["represented"] = {name: represented(name, models, table["rows"]) for name in chosen if name not in examined}
    save(table, options.out)
    counts = Counter(table["rows"][name]["status"] for name in examined)
    print(dict(counts), f"{len(table['represented'])} represented by a relative")
    return 1 if counts["wrong"] + counts["failed"] else 0


def _wanted(name: str, only: list[str] | None) -> bool:
    return not only or any(part in name for part in only)


def represented(name: str, models: dict[str, Row], rows: dict[str, Row]) -> Row:
    """The examined model of the same class that stands for one that was not: alike in name, then near in size."""
    own = models[name]
    candidates = [
        other
        for other, row in rows.items()
        if row["status"] not in ("left out", "failed")
        and all(models[other].get(key) == own.get(key) for key in ("family", "class"))
        and other.partition(":")[0] == name.partition(":")[0]
    ]
    size = own.get("parameters", 0)
    alike = max(
        candidates,
        key=lambda other: (_shared(name, other), -abs(models[other]["parameters"] - size)),
        default=None,
    )
    why = "too large for this machine" if rows.get(name) else "no time"
    return {"by": alike, "status": rows[alike]["status"] if alike else None, "reason": why}


def _shared(one: str, other: str) -> int:
    """Length of the common beginning."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(map(len, (one, other)))
    )


def save(table: Row, path: Path) -> None:
    """Complete or not at all; a line for each model."""
    parts = []
    for key in sorted(table):
        entries = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(table[key].items()))
        parts.append(f" {json.dumps(key)}: {{\n" + ",\n".join(entries) + "\n }")
    temporary = path.with_suffix(".part")
    temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
