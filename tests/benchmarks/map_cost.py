"""What a map costs in forward passes: ``python -m tests.benchmarks.map_cost [METHOD[:KEY=VALUE…]…]``.

The built-in model, one thread, processor time: a method by itself, its own forward pass included, against the forward
pass of the same model on the same batch, in turns; the median of the rounds. Forward passes are folded and laid out as
in a run. ``pathcam:fast=true`` measures a method with options.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import camcli
from camcli.explainer import Explainer, ExplainOptions
from camcli.layers import resolve_layers
from camcli.models import Model
from camcli.speed import tune
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.methods import batch

LAYER, BATCH = "blocks.6", 12  # a run's batch on a CPU
METHODS = (
    "gradcam", "hirescam", "layercam", "pathcam:fast=true", "pathcam:ordered=0", "pathcam",
)  # fmt: skip


def main() -> None:
    """Measure and print one line a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(describe_machine()))
    print("\n| method | ms an image | forward passes |\n|---|---|---|")
    model = camcli.load_model("builtin")
    inputs = batch(model).repeat(2, 1, 1, 1)[:BATCH]
    with model.prepared(), tune(model, [LAYER]) as tuning:
        inputs = tuning.arrange(inputs)
        for typed in args.methods:
            call = explanation(model, inputs, typed)
            own, forward = measure([call, lambda: model.module(inputs)], args.rounds)
            print(f"| {typed} | {1000 * own / BATCH:.1f} | {own / forward:.1f} |", flush=True)


def explanation(model: Model, inputs: Tensor, typed: str) -> Callable[[], object]:
    """A call that explains the batch by a method, typed with its options behind a colon."""
    method, _, options = typed.partition(":")
    own = [f"{method}.{option}" for option in options.split(",") if option]
    explainer = Explainer(model, resolve_layers(model, [LAYER]), [method], ExplainOptions(method_options=own))
    return lambda: explainer(inputs, lambda logits: logits.argmax(1, keepdim=True), range(len(inputs)))


def measure(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of processor time of each, in turns, after one round that is not counted."""
    spent: list[list[float]] = [[] for _ in calls]
    with torch.no_grad():
        for _ in range(rounds + 1):
            for call, times in zip(calls, spent, strict=True):
                start = time.process_time()
                call()
                times.append(time.process_time() - start)
    return [statistics.median(times[1:]) for times in spent]


if __name__ == "__main__":
    main()
