"""What it costs to choose and verify a layer, in forward passes of one image: ``python -m tests.benchmarks.choosing``.

The smallest model of every family that the layers sweep has proven, each in a process of its own and on one thread.
Counted in processor time, which other programs on the machine hardly change. Weights are random, but norms have
statistics and nothing is silent, as training leaves a network. ``--untrained`` takes networks as they are made: for the
time of the proof they have to be given signals first, which costs about a pass.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch

from camcli.concurrency import keep_freed_memory
from camcli.layers import resolve_layers
from camcli.layers.initialise import initialise_untrained
from camcli.layers.perturb import structured_noise
from tests.benchmarks.machine import describe_machine
from tests.sweeps.layers_sweep import build, guarded

TABLE = Path(__file__).resolve().parents[1] / "sweeps" / "layers_table.json"
PASSES = 5
BOUND = 10  # forward passes
TOY = 0.02  # seconds of a forward pass


def cost(name: str, *, trained: bool) -> dict[str, float | str]:
    """Seconds of processor time of one pass and of choosing and verifying, in a model that has run before."""
    model = build(name)
    size = model.preprocessing
    image = structured_noise(1, size.channels, size.height, size.width, seed=5)
    model.module.eval()

    def once() -> float:
        start = time.process_time()
        model.module(image)
        return time.process_time() - start

    with initialise_untrained(model.module) if trained else nullcontext():
        with torch.no_grad():
            once()
            forward = statistics.median(once() for _ in range(PASSES))
        start = time.process_time()
        layer = resolve_layers(model, ["auto"], needs_gradient=getattr(model.module, "num_classes", 1) != 0)[0]
        return {"name": name, "path": layer.path, "forward": forward, "choosing": time.process_time() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names that contain one of these")
    parser.add_argument("--max-params", type=float, default=150, help="million parameters above which one is left out")
    parser.add_argument("--untrained", action="store_true", help="networks as they are made")
    options = parser.parse_args()
    rows = json.loads(TABLE.read_text())["rows"].values()
    names = [
        row["name"]
        for row in rows
        if row["status"] == "proven"
        and row["million_parameters"] <= options.max_params
        and (not options.only or any(part in row["name"] for part in options.only))
    ]
    torch.set_num_threads(1)
    keep_freed_memory()  # as `cam` does
    print("\n".join(describe_machine()), flush=True)
    print("\n| model | layer | forward pass, ms | choosing and verifying, ms | forward passes |\n|---|---|---|---|---|")
    found = []
    for name in names:
        row = guarded(partial(cost, trained=not options.untrained), name, 900)
        row["ratio"] = row["choosing"] / row["forward"]
        milliseconds = f"{1e3 * row['forward']:.1f} | {1e3 * row['choosing']:.0f}"
        print(f"| {name} | {row['path']} | {milliseconds} | {row['ratio']:.1f} |", flush=True)
        found.append(row)
    above = [row for row in found if row["ratio"] >= BOUND]
    large = [row for row in above if row["forward"] >= TOY]
    median = statistics.median(row["ratio"] for row in found)
    print(f"\n{len(found)} models, median {median:.1f}; {len(above)} take {BOUND} or more,")
    print(f"{len(large)} of them where a pass takes {1e3 * TOY:.0f} ms or more")


if __name__ == "__main__":
    main()
