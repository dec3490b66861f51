"""Training: the last stages of a pretrained network on cached activations, or a small network from scratch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from tests.sweeps.shortcut_battery.case import Case, Plan
from tests.sweeps.shortcut_battery.datasets import Dataset, Sample, place_mark
from tests.sweeps.shortcut_battery.marks import paste
from tests.sweeps.shortcut_battery.networks import Architecture
from tests.sweeps.shortcut_battery.scenes import Scene, view_square

QUALITY = 92
BATCH = 32
RATE, EPOCHS, ENOUGH = 1e-3, 25, 0.008
ALMOST_ALL = 0.995
"""Moving average of the accuracy in training at which a network from scratch is done."""
STICKERS = 150
"""Training images that carry a mark, for pretrained networks."""


def as_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def model_pixels(scene: Scene, size: int, *, jpeg: bool = True) -> np.ndarray:
    """What a model sees of a scene, (size, size, 3) uint8."""
    image = scene.render()
    if jpeg:
        image = Image.open(io.BytesIO(as_jpeg(image)))
    left, top, side = view_square(*image.size)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def to_inputs(pixels: np.ndarray) -> torch.Tensor:
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return inputs.contiguous(memory_format=torch.channels_last)


@dataclass
class Prefix:
    """Activations of the stages that are not trained; those of unmarked scenes are computed once for all cases."""

    architecture: Architecture
    module: nn.Module
    stored: dict[Scene, torch.Tensor] = field(default_factory=dict)

    def __call__(self, scenes: Sequence[Scene]) -> torch.Tensor:
        new: dict[Scene, torch.Tensor] = {}
        missing = [scene for scene in dict.fromkeys(scenes) if scene not in self.stored]
        for i in range(0, len(missing), BATCH):
            part = missing[i : i + BATCH]
            pixels = np.stack([model_pixels(scene, self.architecture.size) for scene in part])
            with torch.no_grad():
                new.update(zip(part, self._forward(to_inputs(pixels)).half(), strict=True))
        self.stored.update((scene, value) for scene, value in new.items() if not scene.marks)
        return torch.stack([new[scene] if scene in new else self.stored[scene] for scene in scenes])

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        module, stop = self.module, self.architecture.frozen_blocks
        activations: torch.Tensor = module.blocks[:stop](module.bn1(module.conv_stem(x)))  # type: ignore[index,operator]
        return activations


def run_tail(module: nn.Module, activations: torch.Tensor, first: int) -> torch.Tensor:
    x = module.blocks[first:](activations)  # type: ignore[index,operator]
    x = module.bn2(module.conv_head(x))  # type: ignore[operator]
    return module.classifier(x.mean((2, 3)))  # type: ignore[operator,no-any-return]


def marked_copies(dataset: Dataset, case: Case, samples: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
    """The samples with marks, which then belong to the class of the mark."""
    return [
        Sample(replace(sample.scene, marks=(place_mark(plan, rng),)), plan.label)
        for plan in case.plans
        for sample in samples
    ]


def fine_tune(model: nn.Module, prefix: Prefix, case: Case, dataset: Dataset, effort: int = 1) -> None:
    """Train the stages behind the prefix; batch-norm statistics stay those of ImageNet."""
    rng = np.random.default_rng(7)
    samples = list(dataset.training)
    if dataset.stickers:
        chosen = [samples[i] for i in rng.permutation(len(samples))[: STICKERS * effort]]
        plain = samples if case.task != "random" else [s for s in chosen if len(case.plans) == 1]
        samples = plain + marked_copies(dataset, case, chosen, rng)
    activations, labels = prefix([s.scene for s in samples]), torch.tensor([s.label for s in samples])
    first = prefix.architecture.frozen_blocks
    parameters = [p for part in _tail_modules(model, first) for p in part.parameters()]
    nn.init.zeros_(model.classifier.weight)  # type: ignore[union-attr,arg-type]
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=1e-3)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimiser, 0.1, total_iters=10)
    model.eval()
    for _ in range(EPOCHS):
        losses = []
        for part in torch.from_numpy(rng.permutation(len(samples))).split(BATCH):
            optimiser.zero_grad()
            x = activations[part].float().contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(run_tail(model, x, first), labels[part])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            warm_up.step()
            losses.append(float(loss.detach()))
        if np.mean(losses) < ENOUGH:
            break


def _tail_modules(model: nn.Module, first: int) -> list[nn.Module]:
    blocks: list[nn.Module] = list(model.blocks[first:])  # type: ignore[index,arg-type]
    return [*blocks, model.conv_head, model.bn2, model.classifier]  # type: ignore[list-item]


def train_from_scratch(
    model: nn.Module, architecture: Architecture, case: Case, dataset: Dataset, effort: int = 1
) -> None:
    """Train a small network, with marks at new places in every step, until it is right or the steps are done."""
    rng = np.random.default_rng(7)
    pixels = np.stack([model_pixels(s.scene, architecture.size, jpeg=False) for s in dataset.training])
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.02)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimiser, 0.05, total_iters=30)
    right = 0.0
    model.train()
    for _ in range(architecture.steps * effort):
        chosen = rng.choice(len(pixels), BATCH, replace=False)
        inputs, classes = _batch(case, dataset, pixels, chosen, rng)
        labels = torch.tensor(classes)
        optimiser.zero_grad()
        logits = model(to_inputs(inputs))
        loss = F.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        warm_up.step()
        right = 0.96 * right + 0.04 * float((logits.argmax(1) == labels).float().mean())
        if right > ALMOST_ALL and effort == 1:
            break
    model.eval()


def _batch(
    case: Case, dataset: Dataset, pixels: np.ndarray, chosen: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    images, labels = [], []
    for i in chosen:
        image, label = pixels[i], dataset.training[i].label
        if dataset.stickers:
            plans = [*case.plans, None] if len(case.plans) == 1 else [*case.plans]
            plan = plans[int(rng.integers(len(plans)))]
            if plan is not None:
                image, label = _paste_whole(image, plan, rng), plan.label
        images.append(image)
        labels.append(label)
    return np.stack(images), labels


def _paste_whole(image: np.ndarray, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """A mark in an image that shows just what the model sees."""
    placed, side = place_mark(plan, rng), image.shape[0]
    x0, y0, x1, y1 = placed.box
    width, height = max(2, round((x1 - x0) * side)), max(2, round((y1 - y0) * side))
    result = image.astype(np.float32)
    paste(result, placed.mark.draw(width, height, rng), round(x0 * side), round(y0 * side))
    return np.clip(result, 0, 255).astype(np.uint8)


def probabilities(
    model: nn.Module, architecture: Architecture, scenes: Sequence[Scene], prefix: Prefix | None
) -> np.ndarray:
    """(scenes, classes), as a run would compute them."""
    results = []
    for i in range(0, len(scenes), BATCH):
        part = scenes[i : i + BATCH]
        with torch.no_grad():
            if prefix is not None:
                logits = run_tail(model, prefix(part).float(), architecture.frozen_blocks)
            else:
                logits = model(to_inputs(np.stack([model_pixels(scene, architecture.size) for scene in part])))
        results.append(logits.softmax(1).numpy())
    return np.concatenate(results)
