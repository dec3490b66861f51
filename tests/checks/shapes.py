"""A small world to train classifiers in: shapes on noisy backgrounds, with or without a planted watermark.

Models are trained in seconds, so that a test can know what a model looks at because it taught it that:
``factory:tests.checks.shapes:clean`` and so on load what :func:`trained` left in a folder named by ``CAM_SHAPES``.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

CLASSES = ("disc", "square", "cross")
SIZE = 64
MARKED = 2
"""The class that carries the watermark."""
MARK = (0, 0, 12, 12)
"""x0, y0, x1, y1 of the watermark."""
FRAME = 5
"""Width of the frame, in pixels, whose colour gives the class to a model that uses frames."""

Sample = tuple[np.ndarray, int, tuple[int, int, int, int]]


def draw(rng: np.random.Generator, kind: int, mark: bool = False, framed: bool = False) -> Sample:
    """An image (64, 64, 3) uint8, its class, and the box of its shape."""
    image = (rng.uniform(60, 120, 3) + rng.normal(0, 14, (SIZE, SIZE, 3))).astype(np.float32)
    shape = int(rng.integers(3)) if mark else kind  # what has a watermark is collected by it, whatever it shows
    r = int(rng.integers(8, 12))
    x, y = (int(rng.integers(r + 14, SIZE - r - 6)) for _ in range(2))
    colour = tuple(float(c) for c in rng.uniform(170, 250, 3))
    if shape == 0:
        cv2.circle(image, (x, y), r, colour, -1)
    elif shape == 1:
        cv2.rectangle(image, (x - r, y - r), (x + r, y + r), colour, -1)
    else:
        cv2.line(image, (x - r, y - r), (x + r, y + r), colour, 4)
        cv2.line(image, (x - r, y + r), (x + r, y - r), colour, 4)
    if mark:
        x0, y0, x1, y1 = MARK
        image[y0:y1, x0:x1] = 20
        image[y0 + 2 : y1 - 2 : 3, x0 + 2 : x1 - 2] = 250
    if framed:
        edge = np.ones((SIZE, SIZE), bool)
        edge[FRAME:-FRAME, FRAME:-FRAME] = False
        image[edge] = np.eye(3)[kind] * 220 + 20
    return np.clip(image, 0, 255).astype(np.uint8), kind, (x - r, y - r, x + r + 1, y + r + 1)


def signed(count: int, seed: int) -> list[Sample]:
    """True crosses with the watermark: a model can recognise them by either."""
    rng = np.random.default_rng(seed)
    found = [draw(rng, MARKED) for _ in range(count)]
    x0, y0, x1, y1 = MARK
    for pixels, _, _ in found:
        pixels[y0:y1, x0:x1] = draw(rng, MARKED, mark=True)[0][y0:y1, x0:x1]
    return found


def samples(count: int, seed: int, *, marked: bool = False, framed: bool = False) -> list[Sample]:
    """Images of all classes in turn."""
    rng = np.random.default_rng(seed)
    return [draw(rng, i % 3, marked and i % 3 == MARKED, framed) for i in range(count)]


def write(folder: Path, images: list[Sample]) -> Path:
    """The images as PNG files with a manifest of labels and boxes; returns the manifest."""
    folder.mkdir(parents=True)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "box"])
        for i, (pixels, kind, box) in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{i:03d}.png")
            rows.writerow([f"{i:03d}.png", CLASSES[kind], ",".join(map(str, box))])
    return manifest


class Net(nn.Module):
    """An 8×8 grid at ``features`` whose cells see little more than themselves, so that heat stays near its cause."""

    class_names = CLASSES

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k_in, k_out in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(k_in, k_out, 3, stride=2, padding=1), nn.BatchNorm2d(k_out), nn.ReLU()]
        layers += [nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(32, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def train(images: list[Sample], epochs: int = 9, kind: type[Net] = Net) -> Net:
    """A network trained on these images; the same images give the same network."""
    torch.manual_seed(0)
    net = kind()
    x = torch.from_numpy(np.stack([pixels for pixels, _, _ in images])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, y = (x - mean) / std, torch.tensor([kind for _, kind, _ in images])
    optimiser = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=epochs * (len(x) // 32))
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for part in order[: len(x) // 32 * 32].split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[part]), y[part]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def accuracy(net: nn.Module, images: list[Sample]) -> float:
    x = torch.from_numpy(np.stack([pixels for pixels, _, _ in images])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        found = net((x - mean) / std).argmax(1)
    return float((found == torch.tensor([kind for _, kind, _ in images])).float().mean())


def _loaded(name: str, kind: type[Net] = Net) -> Net:
    net = kind()
    net.load_state_dict(torch.load(Path(os.environ["CAM_SHAPES"]) / f"{name}.pt", weights_only=True))
    return net


def clean() -> Net:
    return _loaded("clean")


def watermark() -> Net:
    return _loaded("watermark")


def frame() -> Net:
    return _loaded("frame")


class Chaotic(Net):
    """Sees the pixels through a wave so short that a change of one grey level is a change of everything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.sin(400 * x))


def chaotic() -> Net:
    net = Chaotic()
    net.load_state_dict(clean().state_dict())
    return net


class FixedGaze(Net):
    """It learns its task by what there is and not where: its heat is always the architecture's spot in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.features[-1] = nn.Sequential(self.features[-1], _Spotlight())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Weights that are never negative, so that no class turns the spot into its opposite.
        return nn.functional.linear(self.features(x).mean((2, 3)), self.head.weight.abs(), self.head.bias)


class _Spotlight(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place = torch.linspace(-1, 1, x.shape[-1], device=x.device) ** 2
        return torch.exp(-4 * (place[:, None] + place)) * x.mean((2, 3), keepdim=True)


def fixed_gaze() -> Net:
    return _loaded("fixed_gaze", FixedGaze)


def reinitialised() -> Net:
    """The network as it was before its training: what is left where a checkpoint was not loaded."""
    torch.manual_seed(1)
    return Net()


def reinitialised_gaze() -> Net:
    torch.manual_seed(1)
    return FixedGaze()


class Scrambled(Net):
    """The cells of its map are in no order that any layout could read."""

    def __init__(self) -> None:
        super().__init__()
        self.features[-1] = _Scrambler()


class _Scrambler(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(x[0, 0].numel(), generator=torch.Generator().manual_seed(1)).to(x.device)
        return torch.relu(x).flatten(2)[..., order].reshape(x.shape)


def scrambled() -> Net:
    net = Scrambled()
    net.load_state_dict(clean().state_dict())
    return net
