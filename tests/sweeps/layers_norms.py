"""Which norm of the last block shows best what a transformer looks at, measured on briefly trained ones.

    python -m tests.sweeps.layers_norms --seeds 3

Small networks learn to name one of four shapes that lies somewhere on a noisy canvas beside a blob that says nothing.
Where the shape lies is known, so a Grad-CAM of the right class can be measured: ``pointing`` is the share of images
whose highest point lies in the shape's box, ``energy`` the share of the map inside the box over the box's share of the
image. Printed as a table of JSON lines, one for each network, seed and layer, then the means.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from camcli.capture.outputs import main_tensor
from camcli.layers import resolve_layers

SIDE = 64
CLASSES = 4
LAYERS = {
    "swin": ["layers[-1].blocks[-1].norm1", "layers[-1].blocks[-1].norm2", "norm"],
    "vit, average": ["blocks[-1].norm1", "blocks[-1].norm2", "norm"],
    "vit, class token": ["blocks[-1].norm1", "blocks[-2]"],
}


@dataclass(frozen=True)
class Size:
    channels: int = 3
    height: int = SIDE
    width: int = SIDE


@dataclass(frozen=True)
class Trained:
    """A model as the layers package sees it."""

    module: nn.Module
    preprocessing: Size = Size()

    def logits(self, output: Any) -> Tensor:
        assert isinstance(output, Tensor)
        return output


def network(kind: str) -> nn.Module:
    """Untrained."""
    if kind == "swin":
        return SwinTransformer(
            img_size=SIDE, patch_size=4, embed_dim=24, depths=(1, 2), num_heads=(2, 4), window_size=4,
            num_classes=CLASSES,
        )  # fmt: skip
    pool = "avg" if kind == "vit, average" else "token"
    return VisionTransformer(
        img_size=SIDE, patch_size=8, embed_dim=64, depth=4, num_heads=4, num_classes=CLASSES, global_pool=pool
    )


def shape(index: int, side: int) -> Tensor:
    """(side, side), 0 or 1: a disc, a square frame, a cross, stripes."""
    at = torch.linspace(-1, 1, side)
    y, x = at[:, None], at[None]
    radius = (x.square() + y.square()).sqrt()
    edge = torch.maximum(x.abs().expand(side, side), y.abs().expand(side, side))
    drawn = (
        radius < 0.9,
        edge > 0.6,
        (x.abs() < 0.25) | (y.abs() < 0.25),
        ((x + 1) * 2).floor().remainder(2).expand(side, side) < 1,
    )
    return drawn[index].float()


def samples(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images (N, 3, S, S), classes (N,), boxes (N, 4) as y0, y1, x0, x1."""
    images = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    classes = torch.randint(CLASSES, (count,), generator=generator)
    boxes = torch.zeros(count, 4, dtype=torch.long)
    for image, index, box in zip(images, classes.tolist(), boxes, strict=True):
        side = int(torch.randint(16, 25, (), generator=generator))
        colour = 1.2 + torch.rand(3, 1, 1, generator=generator)
        blob = int(torch.randint(0, SIDE - 12, (), generator=generator))
        image[:, blob : blob + 12, SIDE - 12 - blob : SIDE - blob] += 1.5  # on the other diagonal, says nothing
        y, x = torch.randint(0, SIDE - side, (2,), generator=generator).tolist()
        image[:, y : y + side, x : x + side] += colour * shape(index, side)
        box.copy_(torch.tensor([y, y + side, x, x + side]))
    return images, classes, boxes


def train(module: nn.Module, seconds: float, seed: int) -> float:
    """Train for so long; the accuracy on images not seen."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=0.02)
    end = time.process_time() + seconds
    while time.process_time() < end:
        images, classes, _ = samples(32, generator)
        loss = F.cross_entropy(module(images), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, classes, _ = samples(256, torch.Generator().manual_seed(1000 + seed))
    with torch.no_grad():
        return float((module.eval()(images).argmax(1) == classes).float().mean())


def measure(module: nn.Module, path: str, seed: int) -> dict[str, Any]:
    """Pointing and energy of Grad-CAM at one layer, on images of their right class."""
    [layer] = resolve_layers(Trained(module), [path])
    images, classes, boxes = samples(256, torch.Generator().manual_seed(1000 + seed))
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        activation = main_tensor(output)
        assert activation is not None
        kept.append(activation)

    handle = module.get_submodule(layer.path).register_forward_hook(keep)
    try:
        scores = module(images).gather(1, classes[:, None]).sum()
    finally:
        handle.remove()
    [gradient] = torch.autograd.grad(scores, kept)
    maps, slopes = layer.layout.to_maps(kept[0].detach()), layer.layout.to_maps(gradient)
    cams = (slopes.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    cams = F.interpolate(cams, size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    pointing, energy = [], []
    for cam, (y0, y1, x0, x1) in zip(cams, boxes.tolist(), strict=True):
        y, x = divmod(int(cam.argmax()), SIDE)
        pointing.append(float(y0 <= y < y1 and x0 <= x < x1 and bool(cam.any())))
        area = (y1 - y0) * (x1 - x0) / SIDE**2
        energy.append(float(cam[y0:y1, x0:x1].sum() / (cam.sum() + 1e-30)) / area)
    return {
        "layer": path,
        "layout": str(layer.layout),
        "pointing": round(statistics.mean(pointing), 3),
        "energy": round(statistics.mean(energy), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=140, help="processor time of each training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for seed in range(options.seeds):
        for kind, paths in LAYERS.items():
            torch.manual_seed(seed)
            module = network(kind)
            accuracy = train(module, options.seconds, seed)
            for path in paths:
                row = {"network": kind, "seed": seed, "accuracy": round(accuracy, 3), **measure(module, path, seed)}
                found[kind, path].append(row)
                print(json.dumps(row), flush=True)
    for (kind, path), rows in found.items():
        means = {key: round(statistics.mean(row[key] for row in rows), 3) for key in ("pointing", "energy")}
        print(json.dumps({"network": kind, "layer": path, "seeds": len(rows), **means}))


if __name__ == "__main__":
    main()
