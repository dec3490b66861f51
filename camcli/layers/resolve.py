"""From what the user asked for to target layers whose activation can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camcli.errors import LayerError
from camcli.layers.choose import choose
from camcli.layers.layout import Layout, parse_layout
from camcli.layers.measurements import Study, study
from camcli.layers.paths import find_module
from camcli.layers.probe import ProbedModel
from camcli.layers.verification import Proof

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Layer:
    """A target layer.

    Attributes:
        path: canonical path, as in ``named_modules()``.
        requested: what was typed.
        module: name of the module's class.
        layout: how its output is to be read.
        channels: K.
        proof: ``proven``, or ``unproven`` where ``--layout`` overrode the proof.
        reason: one line where it is not proven.
        agreement: correlation of what moves with what should move, in [-1, 1].
    """

    path: str
    requested: str
    module: str
    layout: Layout
    channels: int
    proof: Proof
    reason: str | None = None
    agreement: float = 0.0


def resolve_layers(
    model: ProbedModel, requested: Sequence[str], layout: str = "auto", needs_gradient: bool = True
) -> list[Layer]:
    """The target layers for a run, each found, read and proven.

    The proof is causal: parts of an image are perturbed, and the activation must move where its layout says.

    Args:
        model: module, preprocessing (channels, height, width) and ``logits(output) -> (N, C)``. The module is left
            bit for bit as it was.
        requested: paths, or ``auto``; the same layer twice counts once.
        layout: ``auto``, or how the activation is to be read where that cannot be proven.
        needs_gradient: whether the methods of the run need the class score's gradient at the layer.

    Raises:
        LayerError: a path that leads nowhere; a layer that never runs, runs several times per pass, is not spatial,
            cannot be proven or has no gradient to the score; no layer that will do.
    """
    flag = parse_layout(layout)
    for path in requested:
        if path != AUTO:
            find_module(model.module, path)  # mistyped: say so before anything is computed
    with study(model, flag, needs_gradient) as studied:
        named = [path if path == AUTO else find_module(model.module, path)[0] for path in requested]
        studied.perturb([path for path in named if path != AUTO])
        layers: dict[str, Layer] = {}
        for typed, path in zip(requested, named, strict=True):
            if path == AUTO:
                found = _automatic(studied, needs_gradient)
            else:
                found = _explicit(studied, typed, path, needs_gradient)
            layers.setdefault(found.path, found)
    return list(layers.values())


def _choice(studied: Study, needs_gradient: bool) -> str | None:
    """The same layer for all methods where there is one; gradients may be done without where nothing has them."""
    return choose(studied) or (None if needs_gradient else choose(studied, needs_gradient=False))


def _automatic(studied: Study, needs_gradient: bool) -> Layer:
    path = _choice(studied, needs_gradient)
    if path is None:
        raise LayerError(
            "--layer auto: no layer has a layout that can be proven"
            + (" and a gradient to the class score. " if needs_gradient else ". ")
            + "Name one with --layer, and how it is to be read with --layout (nchw, nhwc, tokens:PREFIX:HxW); "
            "cam layers shows what each layer returns."
        )
    return _layer(studied, AUTO, path)


def _explicit(studied: Study, typed: str, path: str, needs_gradient: bool) -> Layer:
    verdict = studied.verdict(path)
    if verdict.layout is None:
        raise LayerError(f"--layer {typed}: {verdict.reason}.{_instead(studied, needs_gradient)}")
    if verdict.proof != "proven" and studied.flag.kind is None:
        raise LayerError(
            f"--layer {typed}: {verdict.reason}. If you know how it is to be read, say so with --layout "
            f"(nchw, nhwc, tokens:PREFIX:HxW).{_instead(studied, needs_gradient)}"
        )
    if needs_gradient and not studied.has_gradient(path):
        raise LayerError(
            f"--layer {typed}: the class score has no gradient at its spatial positions, so gradient methods would "
            f"draw nothing.{_instead(studied, needs_gradient)}"
        )
    return _layer(studied, typed, path)


def _layer(studied: Study, typed: str, path: str) -> Layer:
    verdict, visit = studied.verdict(path), studied.record.visits[path]
    assert verdict.layout is not None
    assert visit.shape is not None
    channels = visit.shape[1] if verdict.layout.kind == "nchw" else visit.shape[-1]
    proof, reason = verdict.proof, verdict.reason
    if proof != "proven":
        proof, reason = "unproven", f"read as --layout says; {reason}"
    name = type(visit.module).__name__
    return Layer(path, typed, name, verdict.layout, channels, proof, reason, verdict.agreement)


def _instead(studied: Study, needs_gradient: bool) -> str:
    path = _choice(studied, needs_gradient)
    return f" A layer that works: {path}." if path is not None else " cam layers shows what each layer returns."
