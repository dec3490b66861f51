"""The passes of a batch recorded once as a CUDA graph, and then started with a single call.

Otherwise the interpreter starts some hundred kernels for each batch, one by one, while the threads that decode and
write images want the interpreter too: a fast GPU waits for it. Recording works for batches of one shape whose results
depend on the inputs alone. Where it fails, or the graph gives other results, the passes run as they are written.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from camcli.capture.frozen import are_identical
from camcli.device import free_cached_memory
from camcli.errors import is_out_of_memory

Run = Callable[[Tensor], Sequence[Tensor]]
_REHEARSALS = 2  # before a graph is recorded, libraries must have chosen their kernels and taken their memory


class CudaGraph:
    """Recorded passes; called from one thread.

    Args:
        run: from inputs (N, C, H, W) on a CUDA device to tensors there, without waiting for the device.
        example: inputs of the shape and memory format that all others will have.

    Raises:
        RuntimeError: ``run`` does what a graph cannot hold, or memory ran out.
    """

    def __init__(self, run: Run, example: Tensor) -> None:
        self._inputs = torch.empty_like(example).copy_(example)
        current, aside = torch.cuda.current_stream(example.device), torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(_REHEARSALS):
                run(self._inputs)
            with _without_waiting():
                run(self._inputs)
        current.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=aside):
            self._outputs = run(self._inputs)

    def fits(self, inputs: Tensor) -> bool:
        """Whether the passes were recorded for inputs of this shape."""
        return inputs.shape == self._inputs.shape and inputs.dtype == self._inputs.dtype

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """The results of inputs that fit; the next call leaves them as they are."""
        self._inputs.copy_(inputs)
        self._graph.replay()
        return [output.clone() for output in self._outputs]


def record(run: Run, examples: Sequence[Tensor]) -> tuple[CudaGraph | None, str]:
    """A graph of ``run`` that gives the same results bit for bit, or the reason why there is none.

    Args:
        run: see :class:`CudaGraph`.
        examples: two different inputs: what was recorded as a constant shows on the second one.
    """
    reason = "it gives other results"
    current = torch.cuda.current_stream(examples[0].device)
    graph = None
    try:
        graph = CudaGraph(run, examples[0])
        pairs = (pair for inputs in reversed(examples) for pair in zip(run(inputs), graph(inputs), strict=True))
        if all(are_identical(plain, recorded) for plain, recorded in pairs):
            return graph, ""
    except Exception as error:  # an operation that waits for the device, of the user's code too: errors of any type
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = "memory ran out" if is_out_of_memory(error) else lines[0].rstrip(".")
    graph = None  # its memory is given back below
    _leave_recording(current)
    free_cached_memory()
    return None, reason


def _leave_recording(stream: torch.cuda.Stream) -> None:
    """A recording that fails leaves its own stream as the current one, and the device's generator in its state.

    Every later random number of the device would be refused.
    """
    torch.cuda.set_stream(stream)
    generator = torch.cuda.default_generators[stream.device_index]
    if generator.device.type == "cuda":  # a device of a test has another
        with suppress(RuntimeError):  # one that cannot be cloned is in no such state
            generator.graphsafe_set_state(generator.clone_state())


@contextmanager
def _without_waiting() -> Iterator[None]:
    """Inside, an operation that waits for the device raises: it cannot be recorded.

    A recording that such an operation breaks off would leave the device's generator of random numbers unusable.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
