"""The setup of a run in a few lines: model, layers, method, and why a method was chosen."""

from __future__ import annotations

from dataclasses import dataclass

from camcli.cli.cost import cost_lines
from camcli.cli.layer_tree import verification
from camcli.errors import printable
from camcli.models import Model
from camcli.pipeline.pictures import limit_lines
from camcli.pipeline.setup import Setup
from camcli.schemas.index import CandidateFields, ChosenMethod


@dataclass(frozen=True)
class Description:
    """What is printed of a setup before the first image; may be sent from one machine to another.

    Attributes:
        lines: model, layers, method and device.
        assumptions: what was assumed.
        limits: the limits of the colours, where a sample decided them.
        costs: of slow methods.
        notes: what the user should know.
        batch_size: images in a batch.
        drawn_by_itself: whether each map has colours of its own scale.
    """

    lines: tuple[str, ...]
    assumptions: tuple[str, ...]
    limits: tuple[str, ...]
    costs: tuple[str, ...]
    notes: tuple[str, ...]
    batch_size: int
    drawn_by_itself: bool


def describe(setup: Setup, *, passes: bool) -> Description:
    """What is printed of a setup; ``passes``: with what every pass is for."""
    return Description(
        lines=tuple(describe_setup(setup, passes=passes)),
        assumptions=setup.assumptions,
        limits=tuple(limit_lines(setup.limits)) if setup.config.parsed.scale.sample else (),
        costs=tuple(cost_lines(setup, None)),
        notes=(*setup.model.notes, *setup.explainer.notes),
        batch_size=setup.batch_size,
        drawn_by_itself=setup.config.pictures and not setup.limits,
    )


def describe_setup(setup: Setup, *, passes: bool) -> list[str]:
    """Model, layers, method, device and batch size, in a few lines."""
    model, pre = setup.model, setup.model.preprocessing
    classes = f", {counted(model)}" if model.num_classes else ""
    lines = [f"model    {model.name} ({model.source}, {model.weights}){classes}; {pre.description}"]
    for layer in setup.layers:
        height, width = layer.layout.grid
        lines.append(
            f"layer    {layer.path}  {layer.module}, {layer.layout.kind} {height}×{width}, "
            f"{layer.channels} channels, layout {verification(layer.proof)}"
        )
    lines.append(
        f"method   {', '.join(setup.config.method)} for {setup.config.target or 'predicted'}; "
        f"{setup.device}, {setup.precision}, batches of {setup.batch_size}"
    )
    for key, layers in setup.explainer.several_layers().items():
        height, width = max((layer.layout.grid for layer in layers), key=lambda grid: grid[0] * grid[1])
        lines.append(f"         {key} at {', '.join(layer.path for layer in layers)}: maps of {height}×{width}")
    lines += choice_lines(setup.choice)
    return lines + ([f"passes   {line}" for line in setup.explainer.plan()] if passes else [])


def choice_lines(choice: ChosenMethod | None) -> list[str]:
    """What ``--method best`` stands for, and why."""
    if choice is None:
        return []
    options = "".join(f" --option {text}" for text in choice["options"])
    lines = [f"best     chosen: --method {choice['method']}{options}"]
    lines += [f"         {line}" for line in choice["why"]]
    if (trial := choice["trial"]) is not None:
        lines.append(f"         the trial took {trial['passes']:,} forward passes, {trial['seconds']:.0f} s")
    return [printable(line) for line in lines]


def candidate_name(candidate: CandidateFields) -> str:
    """``pathcam (fast=true)``."""
    own = ", ".join(text.partition(".")[2] for text in candidate["options"])
    return f"{candidate['method']} ({own})" if own else candidate["method"]


def counted(model: Model) -> str:
    """``1000 classes``; ``1 output`` of a model that returns values."""
    count = model.num_classes or 0
    kind = ("output" + "s" * (count != 1)) if model.returns_values else "classes"
    return f"{count} {kind}"
