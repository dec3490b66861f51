"""What on a CUDA device would wait for it: reading a number, indexing with a mask, a write for each channel."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from camcli.explainer import Explainer, ExplainOptions
from camcli.methods import METHODS
from camcli.methods.rollout import read_out

from .networks import StandIn, home, nchw, noise, quick, random_net

WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal")


class Operations(TorchDispatchMode):
    """Counts operations by name; indexing with a mask counts as ``nonzero``."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.counts[name] += 1
        if name.startswith("index") and isinstance(args[1], list | tuple):
            self.counts["nonzero"] += any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1])
        return func(*args, **(kwargs or {}))

    @property
    def waiting(self) -> int:
        return sum(self.counts[name] for name in WAITING)


def operations(method: str, images: int = 2) -> Operations:
    net, layers = home(method)
    if method == "refinecam":
        net, layers = random_net(), [nchw("stem", (8, 8)), nchw("after", (4, 4))]
    explainer = Explainer(StandIn(net), layers, [method], ExplainOptions(method_options=quick(method)))
    with Operations() as counted:
        explainer(noise(images), lambda z: z.argsort(1)[:, :2], range(images))
    return counted


@pytest.mark.parametrize("method", METHODS)
def test_methods_wait_for_nothing_but_the_number_of_channels_to_try(method):
    # Score-CAM and its variants leave constant channels out: once a round, of two images at two layers.
    rounds = {"scorecam": 1, "sscam": 2, "iscam": 2}.get(method, 0)
    # Adam counts its three steps for each of two layers and two targets, in a tensor that is on the CPU everywhere.
    steps = 3 * 2 * 2 if method == "opticam" else 0
    assert operations(method).waiting == 2 * 2 * rounds + steps


def test_ablationcam_writes_once_a_chunk():
    counts = operations("ablationcam", images=1).counts
    assert counts["repeat"] == counts["diagonal"] == 2  # a chunk at each of two layers


def test_finercam_sends_no_list_of_references():
    net, layers = home("finercam")
    options = ExplainOptions(method_options=["finercam.references=c:1:3"])
    explainer = Explainer(StandIn(net), layers, ["finercam"], options)
    with Operations() as counted:
        explainer(noise(2), lambda z: z.argsort(1)[:, :1], range(2))
    assert not counted.counts["index_put_"]


def test_the_readout_of_attention_may_have_gaps():
    class Read:
        readout = (0, 2)

        @staticmethod
        def on_grid(rows: Tensor) -> Tensor:
            return rows

    step = torch.arange(9.0).reshape(1, 3, 3)
    assert torch.equal(read_out(Read, step), torch.tensor([[3.0, 4.0, 5.0]]))  # type: ignore[arg-type]
    Read.readout = (1, 2)
    assert torch.equal(read_out(Read, step), torch.tensor([[4.5, 5.5, 6.5]]))  # type: ignore[arg-type]
