"""Networks of other architectures with real weights: distil the built-in model on views of photographs.

    python -m tests.sweeps.faithfulness.train --photos FOLDER --out DIR --model resnet18 [--device cuda] [--minutes M]

The built-in model (1000 classes of ImageNet) names what random crops, flips, colours and mixtures of the photographs
show, and the network learns to say the same (Beyer 2022, arXiv:2106.05237: the same view for both). Every other
photograph of FOLDER is used, and photographs that scikit-image brings (public domain or CC0). ``DIR/MODEL.safetensors``
are the weights in half precision: ``cam run --model timm:NAME --num-classes 1000 --checkpoint FILE``.
``DIR/MODEL.json`` says how well the network classifies the photographs that it was trained on, and the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from camcli.models import Model, load_model
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.photographs import halves, list_photos, wordnet_id
from tests.sweeps.faithfulness.views import Views, store

SIZE = 224
OTHERS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket")
"""Photographs of scikit-image without classes of ImageNet, or of other ones."""
RATES = {"resnet18": 2e-3, "vit_tiny": 1e-3}
TEMPERATURE, LABELS, DECAY, WARM_UP = 2.0, 0.1, 0.05, 0.05
"""Of both outputs; weight of the labels in the loss; weight decay; share of the time with a rising rate."""


@dataclass(frozen=True)
class Data:
    """Photographs on the device, and their classes; −1 where there is none."""

    views: Views
    labels: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sweeps.faithfulness.train")
    trained = [name for name, spec in MODELS.items() if spec.trained_here]
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", choices=trained, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=256)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    teacher = load_model("builtin", device=device)
    photos = list_photos(arguments.photos)
    data = load_data(halves(photos)[0], teacher, device)
    student, curve = train(arguments.model, teacher, data, 60 * arguments.minutes, arguments.batch)
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{arguments.model}.safetensors"
    save(student, file)
    report = judge(arguments.model, file, arguments.photos, teacher, device) | {"minutes": arguments.minutes, **curve}
    (arguments.out / f"{arguments.model}.json").write_text(json.dumps(report, indent=1) + "\n")
    for half in ("trained_on", "unseen"):
        print(f"{arguments.model}, {half}: " + ", ".join(f"{k} {v:.3f}" for k, v in report[half]["shares"].items()))


def load_data(photos: Sequence[Path], teacher: Model, device: torch.device) -> Data:
    """The photographs for training and those of scikit-image."""
    import skimage.data

    assert teacher.class_names is not None
    labels = [teacher.class_names.find(wordnet_id(path)) for path in photos] + [-1] * len(OTHERS)
    images = [Image.open(path).convert("RGB") for path in photos]
    images += [Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in OTHERS]
    return Data(Views(*store(images, device), SIZE), torch.tensor(labels, device=device))


def create(name: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """The network with new random weights, and the mean and deviation that timm's description gives its inputs."""
    import timm

    network: nn.Module = timm.create_model(MODELS[name].model.removeprefix("timm:"), num_classes=1000)
    config = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    return network, (mean, std)


def train(name: str, teacher: Model, data: Data, seconds: float, batch: int) -> tuple[nn.Module, dict[str, Any]]:
    """Distil for a time; the learning rate follows the time that is gone, so that it ends at zero on any machine."""
    torch.manual_seed(0)
    device = teacher.device
    network, scale = create(name)
    network = network.to(device, memory_format=torch.channels_last).train()
    own, theirs = (_normaliser(mean, std, device) for mean, std in (scale, (torch.tensor(0.5), torch.tensor(0.5))))
    plain = [p for p in network.parameters() if p.ndim < 2]
    matrices = [p for p in network.parameters() if p.ndim >= 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, RATES[name], fused=device.type == "cuda")
    start, steps, shown, losses = time.monotonic(), 0, 0.0, []
    total = torch.zeros((), device=device)
    with teacher.prepared(), _fast(device):
        while (gone := (time.monotonic() - start) / seconds) < 1:
            for group in optimiser.param_groups:
                group["lr"] = RATES[name] * rate_at(gone)
            views, first, second, share = data.views(batch)
            with torch.no_grad(), _half(device):
                wanted = teacher.logits(teacher.module(theirs(views))).float()
            with _half(device):
                logits = network(own(views)).float()
            loss = distance(logits, wanted, data.labels, first, second, share)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            total += loss.detach()
            steps += 1
            if steps % 20 == 0:
                losses.append(round(float(total) / 20, 4))  # waits for the device, so that the time is right
                total.zero_()
                if time.monotonic() - shown > 10:
                    shown = time.monotonic()
                    print(f"{name}: {steps} steps, {100 * gone:.0f} %, loss {losses[-1]}", flush=True)
    rate = steps * batch / (time.monotonic() - start)
    every = max(1, len(losses) // 40)
    return network.eval(), {"steps": steps, "batch": batch, "images_per_second": round(rate), "loss": losses[::every]}


def rate_at(gone: float) -> float:
    """The learning rate at a share of the time, over the highest: a linear rise, then a cosine."""
    if gone < WARM_UP:
        return gone / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (gone - WARM_UP) / (1 - WARM_UP)))


def distance(
    logits: Tensor, wanted: Tensor, labels: Tensor, first: Tensor, second: Tensor, share: Tensor
) -> Tensor:  # fmt: skip
    """KL divergence of the softened outputs, and the cross entropy with the labels of mixed photographs."""
    soft = F.kl_div(
        F.log_softmax(logits / TEMPERATURE, 1), F.log_softmax(wanted / TEMPERATURE, 1), log_target=True,
        reduction="batchmean",
    )  # fmt: skip
    named = [F.cross_entropy(logits, labels[which], ignore_index=-1, reduction="none") for which in (first, second)]
    return TEMPERATURE**2 * soft + LABELS * (share * named[0] + (1 - share) * named[1]).mean()


def save(network: nn.Module, file: Path) -> None:
    """The weights in half precision; counters of batch norm stay integers."""
    from safetensors.torch import save_file

    state = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    save_file({key: value.cpu().contiguous() for key, value in state.items()}, file)


def judge(name: str, file: Path, folder: Path, teacher: Model, device: torch.device) -> dict[str, Any]:
    """How a network classifies both halves of the photographs, loaded as ``cam run`` loads it."""
    student = load_model(MODELS[name].model, checkpoint=str(file), num_classes=1000, device=device)
    report: dict[str, Any] = {"model": MODELS[name].model, "size": sum(p.numel() for p in student.module.parameters())}
    assert teacher.class_names is not None
    for half, photos in zip(("trained_on", "unseen"), halves(list_photos(folder)), strict=True):
        labels = torch.tensor([teacher.class_names.find(wordnet_id(path)) for path in photos])
        ours, theirs = probabilities(student, photos), probabilities(teacher, photos)
        best, guess = ours.max(1)
        is_right = guess == labels
        shares = {
            "top 1": is_right, "teacher's top 1": theirs.argmax(1) == labels, "agreement": guess == theirs.argmax(1),
            "mean probability": best,
        }  # fmt: skip
        names = [str(path.relative_to(folder)) for path in photos]
        report[half] = {
            "photographs": len(photos),
            "shares": {key: round(float(value.float().mean()), 4) for key, value in shares.items()},
            "right": [one for one, right in zip(names, is_right.tolist(), strict=True) if right],
        }
    return report


def probabilities(model: Model, photos: Sequence[Path]) -> Tensor:
    """(N, classes) on the CPU."""
    from camcli.images import to_input

    pre, parts = model.preprocessing, []
    with model.prepared(), torch.inference_mode():
        for i in range(0, len(photos), 16):
            pixels = [pre(Image.open(path).convert("RGB")).pixels for path in photos[i : i + 16]]
            logits = model.logits(model.module(to_input(pixels, pre, model.device)))
            parts.append(model.probabilities(logits, "auto").float().cpu())
    return torch.cat(parts)


class _normaliser:  # noqa: N801 - used as a function
    def __init__(self, mean: Tensor, std: Tensor, device: torch.device) -> None:
        self.mean, self.std = mean.to(device), std.to(device)

    def __call__(self, views: Tensor) -> Tensor:
        return ((views - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def _half(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def _fast(device: torch.device):  # type: ignore[no-untyped-def]
    """cuDNN measures its algorithms; the shapes stay the same."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


if __name__ == "__main__":
    main()
