"""What happens inside a model during one forward pass: which modules run, in which order, and what they return.

One image goes through with the graph recorded from the input on (parameters require no gradient). From the graph
follow the gradients of the class score at any output, and the *main path*: the outputs that lie on every path of the
graph from the image to the score (its dominators), so that nothing inside a residual branch belongs to it.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from camcli.capture.gradients import gradients_of
from camcli.capture.hooks import hook_calls, module_at
from camcli.capture.outputs import main_tensor, with_main_tensor
from camcli.errors import ModelError

Feed = Callable[[Tensor], Any]
"""Runs a network on a batch of images."""


class PassError(ModelError):
    """A forward pass of the model fails.

    Attributes:
        images: in the batch.
    """

    def __init__(self, message: str, images: int) -> None:
        super().__init__(message)
        self.images = images


class ProbedModel(Protocol):
    """The part of a loaded model that is needed here; ``preprocessing`` has ``channels``, ``height`` and ``width``."""

    @property
    def module(self) -> nn.Module: ...
    @property
    def preprocessing(self) -> Any: ...
    def logits(self, output: Any) -> Tensor: ...


@dataclass
class Visit:
    """What one module did in the recorded pass."""

    path: str
    module: nn.Module
    order: int = -1  # position among the finished calls, from 0
    started: int = -1  # position among the started calls
    calls: int = 0
    callers: list[str] = field(default_factory=list)
    shape: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] | None = None  # of its first argument, where that is a tensor
    plain: bool = False  # whether it returned the tensor itself
    edge: GradientEdge | None = None
    children_run: list[str] = field(default_factory=list)  # paths of what it called directly, in order
    kept: Tensor | None = None  # what it returned, detached; not in half precision (see `keep`)
    version: int = -1

    @property
    def reference(self) -> Tensor | None:
        """What it returned, None where something behind it has overwritten that in place."""
        return self.kept if self.kept is not None and self.kept._version == self.version else None

    def note_input(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A forward hook, called before the module runs."""
        if arguments and isinstance(arguments[0], Tensor):
            self.input_shape = tuple(arguments[0].shape)

    def keep(self, tensor: Tensor) -> None:
        """Keep an activation to compare others with.

        Not in half precision, where a batch of another size is computed in another order and rounds differently.
        """
        whole = tensor.ndim in (3, 4) and tensor.dtype in (torch.float32, torch.float64)
        if self.calls == 1 and whole and not tensor.is_inference():
            self.kept = tensor.detach()
            self.version = self.kept._version


@dataclass
class Record:
    """The recorded pass.

    Attributes:
        visits: by canonical path, in the order in which the modules finished; those that never ran come last.
        score: the scalar whose gradients are taken, None where the output depends on no recorded activation.
        scores: of the image, (1, columns), without graph.
        main_path: canonical paths of the modules whose output is on the main path.
        half: whether the network runs in float16, which swallows small gradients.
        image: its place in the graph; None where no graph leads from it to the score.
        failed: what a pass with a graph raised, where only one without it works.
    """

    visits: dict[str, Visit]
    score: Tensor | None
    scores: Tensor
    main_path: frozenset[str]
    half: bool = False
    image: GradientEdge | None = None
    failed: PassError | None = None

    @property
    def outputs(self) -> int:
        """Number of columns of the logits."""
        return int(self.scores.shape[-1])

    def gradients(self, paths: Sequence[str]) -> list[Tensor | None]:
        """Gradients of the score at the outputs of these modules, None where no path leads there."""
        return self._gradients([self.visits[path].edge for path in paths])

    def image_gradient(self) -> Tensor | None:
        """The gradient of the score at the image, None where no path leads there."""
        return self._gradients([self.image])[0]

    def _gradients(self, edges: Sequence[GradientEdge | None]) -> list[Tensor | None]:
        recorded = [edge for edge in edges if edge is not None]
        if self.score is None or not recorded:
            return [None] * len(edges)
        gradients = iter(gradients_of(self.score, recorded, keep_graph=True, half=self.half))
        return [next(gradients) if edge is not None else None for edge in edges]


def record(
    module: nn.Module, feed: Feed, image: Tensor, score_of: Callable[[Any], Tensor], calls: Iterable[str] = ()
) -> Record:
    """One pass of one image through the model.

    Args:
        module: the network in eval mode (see :func:`camcli.capture.freeze`).
        feed: runs it on a batch.
        image: (1, C, H, W), of the network's device and type.
        score_of: from the module's output to what is explained, (1, C).
        calls: paths of single calls that are visits of their own, such as ``encoder@1``.
    """

    def unvisited() -> dict[str, Visit]:
        every = {path: Visit(path, part) for path, part in module.named_modules()}
        return every | {path: Visit(path, module_at(module, path)) for path in calls}

    visits, root, failed = unvisited(), None, None
    try:
        leaf = image.detach().clone().requires_grad_()
        scores = score_of(_watch(module, feed, visits, leaf, leaves=frozenset()))
        root = get_gradient_edge(leaf) if scores.requires_grad else None
        if root is None:
            # The model detaches its prefix (no_grad inside forward): let the recorded outputs be the leaves.
            visits = unvisited()
            scores = score_of(_watch(module, feed, visits, image.clone(), leaves=frozenset(visits)))
    except PassError as error:
        failed = error.with_traceback(None)  # without the frames, which hold the activations of the failed pass
    if failed is not None:  # it may do what is allowed without a graph alone, such as Tensor.numpy
        visits = unvisited()
        with torch.no_grad():
            scores = score_of(_watch(module, feed, visits, image.clone(), leaves=None))
    score = _mix(scores) if scores.requires_grad else None
    main_path = _main_path(score, visits.values()) if score is not None else frozenset()
    ordered = sorted(visits.values(), key=lambda v: (not v.calls, v.order))
    half = image.dtype == torch.float16
    return Record({v.path: v for v in ordered}, score, scores.detach(), main_path, half, root, failed)


def _mix(scores: Tensor) -> Tensor:
    """All class scores in one scalar, weighted at random so that nothing cancels (probabilities sum to a constant)."""
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(3))
    with torch.enable_grad():
        return (scores.float() * weights.to(scores.device)).sum()


def _watch(
    module: nn.Module, feed: Feed, visits: dict[str, Visit], image: Tensor, leaves: frozenset[str] | None
) -> Any:
    """One pass; its graph begins at the outputs of ``leaves`` or at the image, or with None is not recorded."""
    stack: list[Visit] = []
    clock = iter(range(1 << 40))

    def enter(path: str) -> None:
        visit = visits[path]
        visit.calls += 1
        visit.callers.append(stack[-1].path if stack else "")
        if stack:
            stack[-1].children_run.append(path)
        visit.started = next(clock)
        stack.append(visit)

    def leave(path: str, output: Any) -> Any:
        visit = stack.pop()
        visit.order = next(clock)
        tensor = main_tensor(output)
        if tensor is None:
            return None
        visit.shape, visit.plain = tuple(tensor.shape), tensor is output
        visit.keep(tensor)
        if leaves and path in leaves and not tensor.requires_grad and tensor.ndim >= 3 and stack:
            torch.set_grad_enabled(True)  # until the block of the model ends that has disabled it
            with torch.inference_mode(False):
                leaf = (tensor.clone() if tensor.is_inference() else tensor.detach()).requires_grad_()
                visit.edge = get_gradient_edge(leaf)
            return with_main_tensor(output, leaf)
        with torch.inference_mode(False):  # the edge of a leaf is that of a view of it
            visit.edge = get_gradient_edge(tensor) if tensor.requires_grad else None
        return None

    with ExitStack() as hooks:
        # Of a TorchScript module no activation can be read, and some kinds of it refuse hooks.
        hooked = {p: visit for p, visit in visits.items() if not isinstance(visit.module, torch.jit.ScriptModule)}
        for visit in hooked.values():
            hooks.callback(visit.module.register_forward_pre_hook(visit.note_input).remove)
        hooks.enter_context(hook_calls(module, hooked, leave, enter))
        hooks.enter_context(torch.set_grad_enabled(leaves is not None))
        return feed(image)


def _main_path(score: Tensor, visits: Iterable[Visit]) -> frozenset[str]:
    """Modules whose output every path of the graph from the score back to the input goes through.

    Walking back in reverse order of creation, an operation is on every path exactly when nothing else is waiting at
    the moment when its turn comes.
    """
    paths: dict[int, list[str]] = {}
    keep = []  # a node's Python object must exist as long as its id is used
    for visit in visits:
        if visit.edge is not None and visit.edge.output_nr == 0 and visit.calls == 1:
            paths.setdefault(id(visit.edge.node), []).append(visit.path)
            keep.append(visit.edge.node)
    root = score.grad_fn
    assert root is not None
    # A heap by order of creation: a node is popped after everything that was computed from it.
    waiting = [(_turn(root), id(root), root)]
    queued = {id(root)}
    main_path: set[str] = set()
    while waiting:
        _, _, node = heapq.heappop(waiting)
        keep.append(node)
        if not waiting:
            main_path.update(paths.get(id(node), ()))
        for before, _ in node.next_functions:
            if before is None or id(before) in queued:
                continue
            queued.add(id(before))
            keep.append(before)
            if id(before) in paths or not _is_leaf(before):
                heapq.heappush(waiting, (_turn(before), id(before), before))
    return frozenset(main_path)


def _turn(node: Any) -> int:
    return 1 if _is_leaf(node) else -int(node._sequence_nr())  # leaves have no creation time


def _is_leaf(node: Any) -> bool:
    return type(node).__name__ == "AccumulateGrad"
