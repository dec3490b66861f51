"""Whether a model allows what the methods need, tried on noise before any image is read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from camcli.capture import Tail, capture, freeze, gradients_of, trace_tail
from camcli.capture.attention_matrices import find_blocks
from camcli.capture.detachment import find_detachments
from camcli.capture.functions import GuidedRelu
from camcli.capture.programs import find_program
from camcli.errors import CamError, MethodError, is_out_of_memory
from camcli.explainer.biases import are_rows_in_order
from camcli.explainer.blocks import find_blocks_at
from camcli.explainer.options import TargetLayer
from camcli.explainer.plan import TAIL_NEEDS, Plan
from camcli.explainer.stages import find_stages
from camcli.methods import Method
from camcli.user_code import describe_failure, is_raised_by_others

_CONSTANT = 1e-4  # gradients that differ by less than this share of the largest are equal


def require(plan: Plan, inputs: Tensor, one_at_a_time: bool = False) -> Plan:
    """The plan with what the methods need of the model.

    Args:
        plan: with methods and layers.
        inputs: (3, C, H, W) noise.
        one_at_a_time: the model takes one image in a pass.

    Raises:
        MethodError: a method that the model does not allow, with the reason and what works instead.
    """
    checks: dict[tuple[str, ...], Callable[[Plan, Tensor], Plan]] = {
        ("references",): _references,
        ("pooled head",): _pooled_head,
        TAIL_NEEDS: _tails,
        ("curvature",): _curvature,
        ("network gradient",): _network_gradient,
        ("biases",): _biases,
        ("relu",): _relu,
        ("attention",): _attention,
    }
    if one_at_a_time:
        checks[TAIL_NEEDS] = _whole_tails
        del checks["biases",]
    with freeze(plan.forward.module):
        # First, since the tails behind these layers are traced.
        plan = plan.adding(stages={m.key: _stages(m, plan, inputs) for m in plan.methods if m.scope == "layers"})
        for needs, check in checks.items():
            if methods := plan.needing(*needs):
                with _failures(methods):
                    plan = check(plan, inputs)
    return plan


@contextmanager
def _failures(methods: Sequence[Method]) -> Iterator[None]:
    """What the user's code raises inside is reported with its line."""
    try:
        yield
    except CamError:
        raise
    except Exception as error:  # a user's module can fail in any way
        if is_out_of_memory(error) or not is_raised_by_others(error):
            raise
        keys = ", ".join(method.key for method in methods)
        raise MethodError(f"{keys}: not possible with this model: {describe_failure(error)}.") from error


def _references(plan: Plan, inputs: Tensor) -> Plan:
    with torch.no_grad():
        classes = plan.forward(inputs[:1]).shape[1]
    for method in plan.needing("references"):
        if classes < 2:
            raise MethodError(f"{method.key} compares classes, and the model has one logit. gradcam works.")
        references = plan.settings[method.key]["references"]
        if isinstance(references, tuple) and max(references) >= classes:
            raise MethodError(f"--option {method.key}.references: the model's classes are 0 to {classes - 1}.")
    return plan


def _pooled_head(plan: Plan, inputs: Tensor) -> Plan:
    for layer in plan.layers:
        # Global average pooling and one linear layer give ∂z/∂A = w / (h·w): equal at all positions, for any image.
        captured = capture(plan.trial, inputs[:2], [layer.path])
        gradient = captured.gradients(captured.logits[:, 0], [layer.path])[layer.path]
        g = layer.layout.to_maps(gradient)
        allowed = _CONSTANT * float(g.abs().max())
        if allowed == 0:
            reason = "the score has no gradient there"
        elif float((g - g.mean((2, 3), keepdim=True)).abs().max()) > allowed:
            reason = "the score's gradient there is not the same at all positions"
        elif float((g[0] - g[1]).abs().max()) > allowed:
            reason = "the score's gradient there depends on the image, so the head is not linear"
        else:
            continue
        key = plan.needing("pooled head")[0].key
        raise MethodError(
            f"{key} needs a layer followed by global average pooling and one linear layer alone, which {layer.path} is "
            f"not: {reason}. gradcam gives the same picture where {key} is defined, and works everywhere."
        )
    return plan


def _tails(plan: Plan, inputs: Tensor) -> Plan:
    tails = {layer.path: trace_tail(plan.trial, layer.path, inputs) for layer in plan.layers_with_tails()}
    keys = ", ".join(method.key for method in plan.needing(*TAIL_NEEDS))
    notes = [
        f"{keys} at {path}: {t.fallback}; the whole model runs for each trial"
        for path, t in tails.items()
        if t.fallback
    ]
    return plan.adding(tails=tails, notes=(*plan.notes, *notes))


def _whole_tails(plan: Plan, inputs: Tensor) -> Plan:
    """Of a model that takes one image at a time, two batch sizes are not there to trace a tail by."""
    reason = "the model takes one image at a time"
    tails = {layer.path: Tail(plan.trial, layer.path, fallback=reason) for layer in plan.layers_with_tails()}
    keys = ", ".join(method.key for method in plan.needing(*TAIL_NEEDS))
    return plan.adding(tails=tails, notes=(*plan.notes, f"{keys}: {reason}; all of it runs for each trial"))


def _curvature(plan: Plan, inputs: Tensor) -> Plan:
    layer = plan.layers[0]
    try:
        with plan.attention_kernel():
            captured = capture(plan.forward, inputs[:1], [layer.path])
            with torch.enable_grad():
                scores = plan.score(captured.logits, torch.zeros(1, dtype=torch.int64, device=inputs.device))
            captured.curvature(scores, layer.path, captured.activations[layer.path].float())
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        key = plan.needing("curvature")[0].key
        reason = str(error).strip().split("\n")[0]
        raise MethodError(f"{key} needs second derivatives behind {layer.path}: {reason} gradcam works.") from error
    return plan


def _network_gradient(plan: Plan, inputs: Tensor) -> Plan:
    leaf = inputs[:1].clone().requires_grad_()
    key = plan.needing("network gradient")[0].key
    start, end = f"{key} needs the score's gradient at the image", "rise needs no gradient."
    if (program := find_program(plan.forward.module)) is not None:
        raise MethodError(f"{key} looks into the network's operations, and this one is {program[1]}. {end}")
    try:
        with torch.enable_grad():
            logits = plan.forward(leaf)
        gradient = gradients_of(logits[:, 0], [leaf])[0]
    except Exception as error:  # an operation of the user's can fail in any way
        if isinstance(error, CamError) or is_out_of_memory(error):
            raise
        raise MethodError(f"{start}, and a pass with gradients fails: {describe_failure(error)}. {end}") from error
    if gradient is None:
        detachments = find_detachments(plan.forward, inputs[:1])
        by = f" by {detachments[-1]}" if detachments else ""
        raise MethodError(f"{start}, and the model leaves autograd's graph{by}. {end}")
    return plan


def _biases(plan: Plan, inputs: Tensor) -> Plan:
    if are_rows_in_order(plan, inputs[:2]):
        return plan
    keys = ", ".join(method.key for method in plan.needing("biases"))
    note = f"{keys}: the network keeps a batch in another order than image after image, so that each runs alone"
    return plan.adding(images_apart=True, notes=(*plan.notes, note))


def _relu(plan: Plan, inputs: Tensor) -> Plan:
    keys = ", ".join(method.key for method in plan.needing("relu"))
    with GuidedRelu() as guide, torch.no_grad():
        plan.forward(inputs[:1])
    others = ", ".join(sorted(guide.others))
    if not guide.count:
        has = f"its activation functions are {others}" if others else "none runs"
        raise MethodError(
            f"{keys}: defined for networks of ReLUs, and this one has none ({has}). gradcam, layercam work."
        )
    if others:
        note = f"{keys}: {others} let gradients through unchanged; the rule is defined for ReLUs alone"
        return plan.adding(notes=(*plan.notes, note))
    return plan


def _attention(plan: Plan, inputs: Tensor) -> Plan:
    keys = ", ".join(method.key for method in plan.needing("attention"))
    layer = next((layer for layer in plan.layers if layer.layout.kind == "tokens"), None)
    if layer is None:
        raise MethodError(
            f"{keys}: for models whose attention goes over all tokens, and {plan.layers[0].path} has no tokens. "
            "On a vision transformer name a layer with tokens (blocks[-1].norm1); elsewhere gradcam, layercam work."
        )
    height, width = layer.layout.grid
    blocks = find_blocks(plan.forward, inputs, layer.layout.prefix_tokens + height * width, layer.layout.prefix_tokens)
    if blocks is None:
        raise MethodError(f"{keys}: this model computes no attention matrix over all tokens. gradcam, layercam work.")
    if len(set(blocks.paths)) < len(blocks.paths):
        raise MethodError(
            f"{keys}: {blocks.paths[0]} computes several attention matrices over all tokens, for which the methods are "
            "not defined. gradcam, layercam work."
        )
    plan = plan.adding(blocks=blocks)
    if any(method.replays_blocks for method in plan.methods):
        plan = plan.adding(block_tail=trace_tail(plan.forward, blocks.paths[-1], inputs))
    return plan


def _stages(method: Method, plan: Plan, inputs: Tensor) -> tuple[TargetLayer, ...]:
    if len(plan.layers) > 1:
        return plan.layers
    if method.layers is not None:
        choice = method.layers(plan.settings[method.key])
        return find_blocks_at(plan.forward, plan.layers[0], inputs[:1], choice)
    stages = find_stages(plan.forward, plan.layers[0], inputs[:1])
    if len(stages) < 2:
        raise MethodError(
            f"{method.key} needs several layers, and the model has no stages of other grids before "
            f"{plan.layers[0].path}. Name them: --layer A --layer B."
        )
    return stages
