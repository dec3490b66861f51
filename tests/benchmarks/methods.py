"""Our methods against grad-cam's, and several methods against one: ``python -m tests.benchmarks.methods``.

The built-in model, one thread, processor time, the median of a few rounds in which the contenders take turns. Beside
each ratio stands how far our result is from a plain loop written from the formula (or from the peer, where it follows
the same one).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from pytorch_grad_cam import AblationCAM, EigenCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

import camcli
from camcli.explainer import Explainer, ExplainOptions
from camcli.images import to_input
from camcli.layers import resolve_layers
from camcli.models import Model
from camcli.speed import tune
from tests.benchmarks.machine import describe_machine
from tests.conftest import photographs

LAYER, LAST = "blocks.6", "bn2"
FIVE = ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam")


def main() -> None:
    """Measure and print one line a comparison."""
    torch.set_num_threads(1)
    print("\n".join(describe_machine()))
    model, peer = camcli.load_model("builtin"), camcli.load_model("builtin").module.requires_grad_(True)
    x = batch(model)
    target = int(model.module(x[:1]).argmax())
    naive = {"ablationcam": ablated(model, x[:1], target), "scorecam": masked(model, x[:1], target)}
    wanted = [ClassifierOutputTarget(target)]
    print("| what | ours, s | other, s | ratio | wanted | difference of results |\n|---|---|---|---|---|---|")
    with model.prepared(), tune(model, [LAYER, LAST]) as tuning:
        ours = Bench(model, tuning.arrange(x))
        times = alternately(ours.of(FIVE, LAST), ours.of(["gradcam"], LAST), 5)
        line("five gradient methods / one", *times, "≤ 1.3", None, inverse=True)
        for method, kind, least, rounds in (
            ("ablationcam", AblationCAM, "≥ 50", 1),
            ("scorecam", ScoreCAM, "≥ 1.7", 3),
        ):
            cam = kind(peer, [peer.get_submodule(LAYER)])
            theirs = partial(cam, input_tensor=x[:1], targets=wanted)
            run = ours.of([method], LAYER, count=1)
            line(f"{method} / grad-cam", *alternately(run, theirs, rounds), least, distance(run(), naive[method]))
        run = ours.of(["scorecam"], LAYER, count=1, compiled=8)
        line("scorecam --compile / grad-cam", *alternately(run, theirs, 3), "≥ 3", distance(run(), naive["scorecam"]))
        run = ours.of(["scorecam"], LAYER, count=1, precision="bf16")
        line(
            "scorecam in bf16 / grad-cam", *alternately(run, theirs, 1), "reported", distance(run(), naive["scorecam"])
        )
        eigen = EigenCAM(peer, [peer.get_submodule(LAST)])
        run, theirs = ours.of(["eigencam"], LAST), partial(eigen, input_tensor=x, targets=wanted * len(x))
        line("eigencam / grad-cam, 6 images", *alternately(run, theirs, 5), "≥ 3", principal(model, x, run()))


class Bench:
    """Explains the photographs by some methods."""

    def __init__(self, model: Model, inputs: Tensor) -> None:
        self.model, self.inputs = model, inputs

    def of(
        self, methods: Sequence[str], layer: str, count: int = 0, precision: str = "fp32", compiled: int = 0
    ) -> Callable[[], np.ndarray]:
        """A call that gives the first map of the first image; ``compiled``: in batches of so many."""
        layers = resolve_layers(self.model, [layer])
        options = ExplainOptions(precision=precision, precision_given=True)
        explainer = Explainer(self.model, layers, methods, options)
        inputs = self.inputs[: count or len(self.inputs)]
        if compiled:
            explainer, result = explainer.compile(inputs[:1].repeat(compiled, 1, 1, 1))
            assert result.works, result.note

        def run() -> np.ndarray:
            explained = explainer(inputs, lambda z: z.argmax(1, keepdim=True), list(range(len(inputs))))
            return next(iter(explained.maps.values()))[0].numpy()

        return run


def batch(model: Model) -> Tensor:
    """The sample photographs, (6, 3, 224, 224)."""
    pixels = [model.preprocessing(Image.open(path).convert("RGB")).pixels for path in photographs()]
    return to_input(np.stack(pixels), model.preprocessing, model.device)


def alternately(ours: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of processor time of each, taking turns, after one call of ours that is not counted."""
    ours()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, spent in zip((ours, other), times, strict=True):
            start = time.process_time()
            call()
            spent.append(time.process_time() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def line(name: str, ours: float, other: float, wanted: str, error: float | None, *, inverse: bool = False) -> None:
    """One row of the table."""
    ratio = ours / other if inverse else other / ours
    shown = "" if error is None else f"{error:.1e}"
    print(f"| {name} | {ours:.2f} | {other:.2f} | {ratio:.2f} | {wanted} | {shown} |", flush=True)


def distance(ours: np.ndarray, naive: np.ndarray) -> float:
    """Largest difference of the two maps, each over its largest absolute value."""
    return float(np.abs(ours / np.abs(ours).max() - naive / np.abs(naive).max()).max())


@torch.no_grad()
def ablated(model: Model, x: Tensor, target: int) -> np.ndarray:
    """Ablation-CAM by running the whole network once a channel."""
    a, whole = activation(model, x), float(model.module(x)[0, target])
    drops = []
    for k in range(a.shape[1]):
        altered = a.clone()
        altered[:, k] = 0
        drops.append((whole - float(with_activation(model, x, altered)[0, target])) / abs(whole))
    return np.einsum("k,khw->hw", np.array(drops), a[0].numpy())


@torch.no_grad()
def masked(model: Model, x: Tensor, target: int) -> np.ndarray:
    """Score-CAM by running the whole network once a channel."""
    a = activation(model, x)
    nothing = float(model.module(torch.zeros_like(x))[0, target])
    gains = []
    for k in range(a.shape[1]):
        up = torch.nn.functional.interpolate(a[:, k : k + 1], x.shape[2:], mode="bilinear")
        span = up.max() - up.min()
        mask = (up - up.min()) / span if span > 0 else torch.zeros_like(up)
        gains.append(float(model.module(x * mask)[0, target]) - nothing)
    weights = torch.softmax(torch.tensor(gains, dtype=torch.float64), 0).numpy()
    return np.einsum("k,khw->hw", weights, a[0].double().numpy())


def principal(model: Model, x: Tensor, ours: np.ndarray) -> float:
    """How far our Eigen-CAM is from numpy's singular value decomposition, whose sign is free."""
    a = activation(model, x[:1], LAST)[0].flatten(1).T.double().numpy()
    centred = a - a.mean(0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    naive = (centred @ direction).reshape(ours.shape)
    return min(distance(ours, naive), distance(ours, -naive))


def activation(model: Model, x: Tensor, layer: str = LAYER) -> Tensor:
    """What the layer returns."""
    seen: list[Tensor] = []
    handle = model.module.get_submodule(layer).register_forward_hook(
        lambda _m, _i, out: seen.append(out.detach().clone())
    )
    with torch.no_grad():
        model.module(x)
    handle.remove()
    return seen[0]


def with_activation(model: Model, x: Tensor, value: Tensor) -> Tensor:
    """The logits if the layer returned this."""
    handle = model.module.get_submodule(LAYER).register_forward_hook(lambda _m, _i, _out: value)
    logits: Tensor = model.module(x)
    handle.remove()
    return logits


if __name__ == "__main__":
    main()
