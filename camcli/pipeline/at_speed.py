"""The last preparation of a run: the model as fast as it goes, with the same results."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from torch import Tensor

from camcli.capture import noise
from camcli.device import BatchLimit, require_memory
from camcli.explainer import ExplainedBatch, Explainer
from camcli.methods import find_method
from camcli.pipeline.recorded_pass import RecordedPass
from camcli.pipeline.setup import Setup
from camcli.pipeline.targets import choose_targets
from camcli.speed import record, tune


@contextmanager
def at_speed(setup: Setup) -> Iterator[Setup]:
    """The same, with a model that runs as fast as it can; inside :meth:`camcli.models.Model.prepared`."""
    reads_parameters = any(find_method(key).reads_parameters for key in setup.config.method)
    with ExitStack() as stack:
        with require_memory(setup.device, setup.model.name):
            tuning = stack.enter_context(tune(setup.model, setup.explainer.watched, folding=not reads_parameters))
            setup = replace(setup, tuning=tuning)
            setup = _with_compiled_prefix(setup) if setup.config.compile else setup
            # On CUDA a batch: for inputs of another size other kernels would be loaded, which takes seconds.
            limit = BatchLimit(setup.batch_size if setup.device.type == "cuda" else 1)
            explainer = limit.fit(partial(_with_cast_weights, setup))
            fits = limit.size == setup.batch_size
            setup = replace(setup, explainer=explainer)
            setup = _with_recorded_pass(setup) if fits else setup
        yield setup


def _with_compiled_prefix(setup: Setup) -> Setup:
    """The same with the part before the target layer compiled, where that works."""
    tuning = setup.tuning
    if not setup.layers:
        return replace(setup, tuning=replace(tuning, notes=(*tuning.notes, _NOTHING_TO_COMPILE)))
    explainer, result = setup.explainer.compile(
        tuning.arrange(noise(setup.model.preprocessing, setup.batch_size, setup.device))
    )
    tuning = replace(tuning, compiled=result.works, notes=(*tuning.notes, result.note))
    return replace(setup, explainer=explainer, tuning=tuning)


_NOTHING_TO_COMPILE = "--compile: nothing is compiled, since the run has no target layer, before which that is done"


def _with_cast_weights(setup: Setup, count: int) -> Explainer:
    inputs = setup.tuning.arrange(noise(setup.model.preprocessing, count, setup.device))
    return setup.explainer.with_cast_weights(inputs)


def _with_recorded_pass(setup: Setup) -> Setup:
    """The same with its pass recorded, where the device is CUDA and the methods allow it; else a note says why not."""
    if (
        setup.device.type != "cuda"
        or not setup.explainer.can_be_recorded
        or any(s.kind == "label" for s in setup.targets)
    ):
        return setup
    count, no_labels = setup.batch_size, [None] * setup.batch_size
    results: list[ExplainedBatch] = []

    def run(inputs: Tensor) -> list[Tensor]:
        def choose(logits: Tensor) -> Tensor:
            return choose_targets(logits, setup.targets, no_labels, no_labels)

        results[:] = [setup.explainer(inputs, choose, seeds)]
        return results[0].tensors()

    example = setup.tuning.arrange(noise(setup.model.preprocessing, count, setup.device))
    seeds = list(range(count))
    graph, reason = record(run, [example, example.flip(0)])
    if graph is None:
        note = f"the passes are not recorded as a CUDA graph ({reason}); they run as they are written, slower"
        return replace(setup, tuning=replace(setup.tuning, notes=(*setup.tuning.notes, note)))
    return replace(setup, recorded=RecordedPass(graph, results[0].to(lambda tensor: tensor.new_empty(0))))
