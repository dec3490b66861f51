"""The object that is built once a run, checked, and then called for every batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from camcli.capture import Forward, capture, freeze, noise
from camcli.capture.outputs import main_tensor
from camcli.device import is_nondeterministic, nondeterministic_operations, number_format, strictly_deterministic
from camcli.errors import ConfigError, MethodError
from camcli.explainer.access import Chunks
from camcli.explainer.augment import augment, average
from camcli.explainer.batch import Batch
from camcli.explainer.options import ExplainedBatch, ExplainedModel, ExplainOptions, Progress, TargetChoice, TargetLayer
from camcli.explainer.plan import Plan, in_layer_order
from camcli.explainer.requirements import require
from camcli.methods import METHODS, Method, Score, find_method, parse_options, probabilities
from camcli.speed import Compilation, compile_prefix


class Explainer:
    """Methods on layers of a model, checked once and then called for every batch.

    Args:
        model: the loaded model, on its device.
        layers: the target layers. Methods of the whole network look at none, but their grid of tokens is the layer's;
            there may be none for them.
        methods: keys of methods; a key that comes twice counts once.
        options: what is asked of them.
        progress: called with how far a long method is inside an image.

    Raises:
        ConfigError: an option with a value that it does not take.
        MethodError: an unknown method or option, or one that the model does not allow, with what works instead.
        LayerError: a layer the methods cannot use.
    """

    def __init__(
        self,
        model: ExplainedModel,
        layers: Sequence[TargetLayer],
        methods: Sequence[str],
        options: ExplainOptions | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.options = options or ExplainOptions()
        self.model = model
        self._progress = progress or (lambda method, done, total: None)
        self._strict = self.options.strict
        self._caveats: list[str] = []
        device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
        self._chunks = Chunks.one_at_a_time() if self.options.one_at_a_time else Chunks.for_device(device)
        self._plan = self._make_plan(layers, tuple({key: find_method(key) for key in methods}.values()), device)

    def __call__(
        self,
        inputs: Tensor,
        choose: TargetChoice,
        seeds: Sequence[int],
        labels: Tensor | None = None,
        real: int | None = None,
    ) -> ExplainedBatch:
        """Explain a batch.

        Args:
            inputs: (N, C, H, W) float32, preprocessed, on the model's device.
            choose: picks the targets from the logits; not called for a model without a classifier, whose
                one target has no class.
            seeds: N, one an image, so that randomness depends on the image alone.
            labels: (N,) int64, the true classes, -1 where there is none; for methods that compare with them.
            real: so many images count; those behind them repeat the last one to fill the batch, and slow methods
                do not look at them again. None: all.
        """
        try:
            return self._explain(inputs, choose, seeds, labels, real)
        except RuntimeError as error:
            if not (self._strict and is_nondeterministic(error)):
                raise
            name = str(error).split(" ", maxsplit=1)[0]
        # Seen in a trial alone: a pass that all methods share was tried before.
        self._strict = False
        self._caveats.append(
            f"{name} has no deterministic kernel: the last digits of the map may differ from run to run"
        )
        return self._explain(inputs, choose, seeds, labels, real)

    def _explain(
        self, inputs: Tensor, choose: TargetChoice, seeds: Sequence[int], labels: Tensor | None, real: int | None
    ) -> ExplainedBatch:
        passes = getattr(self.model, "passes", None)
        with self._running(), passes.of_image(seeds[0]) if passes is not None else nullcontext():
            batch = self._batch(inputs, seeds, labels, real)
            targets = batch.choose(choose)
            maps = batch.maps(targets)
            if self.options.aug_smooth:
                preprocessing = self.model.preprocessing
                runs = [(maps, False)]
                for varied, flipped in augment(inputs, preprocessing.mean, preprocessing.std):
                    runs.append((self._batch(varied, seeds, labels, real).maps(targets), flipped))
                maps = {key: average([(own[key], flipped) for own, flipped in runs]) for key in maps}
        logits = batch.logits
        link = self._plan.score.link
        shown = torch.full_like(logits, torch.nan) if link == "none" else probabilities(logits, link)
        return ExplainedBatch(logits, shown, targets, maps)

    @property
    def can_be_recorded(self) -> bool:
        """Whether a batch is one sequence of operations on its inputs, without trials, randomness or other numbers."""
        methods = self._plan.methods
        is_plain = all(not (m.needs or m.seeded or m.rescore is not None) and m.scope == "layer" for m in methods)
        # Recording recurrent layers failed on a device when their passes still set switches of cuDNN; not tried since.
        has_plain_layers = not any(isinstance(part, nn.RNNBase) for part in self.model.module.modules())
        is_repeatable = getattr(self.model, "passes", None) is None
        return is_plain and has_plain_layers and is_repeatable and not self.options.aug_smooth

    @property
    def is_strict(self) -> bool:
        """Whether an operation without a deterministic kernel is an error; see :meth:`require_determinism`."""
        return self._strict

    @property
    def caveats(self) -> tuple[str, ...]:
        """What happened in batches so far that may change the last digits of those to come; one line each."""
        halved = ("explained in smaller parts after running out of memory",) if self._chunks.are_halved else ()
        return (*self._caveats, *halved)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: approximations, and fallbacks that cost time."""
        return self._plan.notes

    @property
    def watched(self) -> tuple[str, ...]:
        """Paths of the modules whose output a method reads."""
        return tuple(layer.path for layer in self._plan.captured)

    def rehearse(self, inputs: Tensor) -> None:
        """The passes that all methods share, on noise, for what they take of memory."""
        with self._running():
            batch = self._batch(inputs, [0] * len(inputs), None, None)
            batch.gradients(torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device))

    def require_determinism(self, inputs: Tensor) -> tuple[str, ...]:
        """Have all passes give the same bits each time, tried on noise (N, C, H, W), inside ``prepared``.

        Returns:
            The operations for which the device has no deterministic kernel; then the passes run with what there is.
        """
        plan = self._plan
        # Most kernels without a deterministic one are of backward passes; trials as well would take seconds.
        tried = copy(self)
        tried._plan = plan.adding(methods=tuple(m for m in plan.methods if m.uses_gradients or not m.needs))
        tried._progress = lambda method, done, total: None
        self._strict = True
        try:
            with strictly_deterministic():
                tried._try(inputs)
        except Exception as error:
            self._strict = False
            if not is_nondeterministic(error):
                raise
        else:
            return ()
        with nondeterministic_operations() as names:
            tried._try(inputs)
        return tuple(names)

    def _try(self, inputs: Tensor) -> None:
        with self._running():
            batch = self._batch(inputs, [0] * len(inputs), None, None)
            batch.maps(torch.zeros(len(inputs), 1, dtype=torch.int64, device=inputs.device))

    @contextmanager
    def _running(self) -> Iterator[None]:
        """What every pass runs in."""
        with ExitStack() as stack:
            stack.enter_context(number_format(self._plan.forward.precision))
            if self._strict:
                stack.enter_context(strictly_deterministic())
            stack.enter_context(freeze(self.model.module))
            yield

    def compile(self, inputs: Tensor) -> tuple[Explainer, Compilation]:
        """The same with what comes before the first target layer compiled, and what came of that.

        Args:
            inputs: noise in the shape and memory of the batches to come.
        """
        plan = self._plan
        with self._running():  # a graph that is compiled in other modes of torch is compiled again
            captured = capture(plan.forward, inputs[:1], self.watched, gradients=False)
            first = next(iter(captured.activations))  # by the order of the pass
            result = compile_prefix(plan.forward, first, inputs)
        # Compiled code is of one precision: trials in float32 cannot use the prefix of a pass in bf16.
        same = plan.trial.precision == plan.forward.precision
        faster = copy(self)
        faster._plan = plan.adding(forward=result.forward, trial=result.forward if same else plan.trial)
        return faster, result

    def with_cast_weights(self, inputs: Tensor) -> Explainer:
        """The same with the weights cast once where passes are in autocast, as long as the module keeps its weights.

        Args:
            inputs: noise (N, C, H, W) in the memory of the batches to come.
        """
        plan = self._plan
        with self._running():
            forward = plan.forward.with_cast_weights(inputs)
            trial = replace(plan.trial, weights=forward.weights) if plan.trial.is_autocast else plan.trial
        tails = {path: replace(tail, forward=trial) for path, tail in plan.tails.items()}
        block_tail = None if plan.block_tail is None else replace(plan.block_tail, forward=forward)
        faster = copy(self)
        faster._plan = plan.adding(forward=forward, trial=trial, tails=tails, block_tail=block_tail)
        return faster

    def methods(self) -> list[tuple[Method, Mapping[str, Any]]]:
        """The methods of the run, with their options."""
        return [(method, self._plan.settings[method.key]) for method in self._plan.methods]

    def several_layers(self) -> dict[str, tuple[TargetLayer, ...]]:
        """The layers of each method that looks at several at once, by key of the method."""
        return {key: tuple(layers) for key, layers in self._plan.stages.items()}

    def plan(self) -> list[str]:
        """The passes of a batch, one line each, for people."""
        return self._plan.lines()

    def _batch(self, inputs: Tensor, seeds: Sequence[int], labels: Tensor | None, real: int | None) -> Batch:
        labels = torch.full((len(inputs),), -1) if labels is None else labels
        return Batch(self._plan, inputs, seeds, labels, self._chunks, self._progress, real)

    def _make_plan(self, layers: Sequence[TargetLayer], methods: tuple[Method, ...], device: torch.device) -> Plan:
        options, model = self.options, self.model
        if not methods:
            raise MethodError("no method was named. `cam methods` lists them.")
        needing = [method.key for method in methods if method.needs_layer]
        if not layers and needing:
            raise MethodError(f"{needing[0]} needs a layer. `cam layers` lists them.")
        settings = parse_options(methods, options.method_options)
        classless = model.num_classes is None
        self._check(methods, classless)
        logits = _no_logits if classless else model.logits
        inputs = noise(model.preprocessing, 3, device)  # two batch sizes are needed to trace a tail: 2 and 3
        forward = Forward(model.module, logits, options.precision_on(device))
        trial = replace(forward, precision=options.precision_on(device, trials=True))
        if not classless:
            with freeze(model.module):
                forward, trial = forward.with_classifier(inputs[:1]), trial.with_classifier(inputs[:1])
        plan = Plan(
            methods=methods,
            settings=settings,
            options=options,
            forward=forward,
            trial=trial,
            score=Score(options.score, model.link(options.probability)),
            layers=tuple({layer.path: layer for layer in layers}.values()),
            classless=classless,
            notes=tuple(note for m in methods for note in m.approximations(settings[m.key])),
        )
        if len(plan.layers) > 1:
            with freeze(model.module):
                captured = capture(plan.forward, inputs[:1], [layer.path for layer in plan.layers], gradients=False)
            plan = plan.adding(layers=in_layer_order(plan.layers, list(captured.activations)))
        return require(plan, inputs, options.one_at_a_time) if _have_needs(methods) else plan

    def _check(self, methods: Sequence[Method], classless: bool) -> None:
        if self.options.aug_smooth and getattr(self.model.preprocessing, "custom", None) is not None:
            raise ConfigError(
                "--aug-smooth makes pixels brighter and darker, and preprocessing of one's own does not say how it "
                "normalises them. Leave --aug-smooth out."
            )
        for method in methods:
            if classless and method.class_specific:
                hint = getattr(self.model, "no_classifier", "the model has no classifier. eigencam works.")
                raise MethodError(f"{method.key}: {hint}")
            if self.options.eigen_smooth and not method.weighted:
                fits = ", ".join(m.key for m in methods if m.weighted) or _WEIGHTED
                raise MethodError(f"--eigen-smooth needs a weighted sum, which {method.key} is not. These are: {fits}.")


def _have_needs(methods: Sequence[Method]) -> bool:
    return any(method.needs or method.scope == "layers" for method in methods)


_WEIGHTED = ", ".join(method.key for method in METHODS.values() if method.weighted)


def _no_logits(output: Any) -> Tensor:
    tensor = main_tensor(output)
    if tensor is None:
        raise MethodError(f"the model returns {type(output).__name__} without a tensor.")
    return tensor.new_zeros(len(tensor), 0)
