"""A model with all that a run needs of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from camcli.capture.forward import parameter_dtype
from camcli.capture.frozen import evaluation_mode
from camcli.device import deterministic, number_format, use_device
from camcli.errors import ModelError
from camcli.methods.score import Link
from camcli.methods.score import probabilities as apply_link
from camcli.models.names import ClassNames
from camcli.models.output_entries import is_within
from camcli.models.output_form import OutputForm
from camcli.models.outputs import Probability, find_logits
from camcli.models.own_code import importable_from
from camcli.models.passes import RepeatablePasses

if TYPE_CHECKING:
    from camcli.images import Preprocessing
    from camcli.layers import LayerReport


@dataclass(frozen=True, kw_only=True)
class Model:
    """A classifier, its preprocessing, its classes and where it came from.

    Attributes:
        module: the network, on the device, in evaluation mode and without gradients; a user's own (``factory:``, or one
            that was in memory) is so only inside :meth:`prepared`.
        preprocessing: from an upright RGB image to the input tensor.
        class_names: None where the classes have no names.
        name: the architecture, with the pretrained tag where there is one.
        source: ``builtin``, ``torchvision``, ``timm``, ``hf-hub``, ``factory`` or ``memory``.
        weights: where the weights came from, in words for the index.
        num_classes: None for an encoder without a classifier; methods that explain no class still work on it.
        multi_label: the classes do not exclude each other; a probability is a sigmoid.
        output_key: which entry of the output holds the logits, where the user named it.
        output: what the output is, once it was examined (:mod:`camcli.models.output_examination`).
        trial: what the module returned for noise when it was loaded, where that was tried.
        device: where inputs go.
        notes: what a user should know, such as which of two libraries a bare name was taken from.
        assumptions: what was assumed about it, such as the preprocessing of a module that brings none; one line each.
        passes: what makes the passes of a model repeatable that depend on more than the image; None for all others.
        changes_input: it changes its input in place, as was examined.
    """

    module: nn.Module
    preprocessing: Preprocessing
    name: str
    source: str
    weights: str
    class_names: ClassNames | None = None
    num_classes: int | None = None
    multi_label: bool = False
    output_key: str | None = None
    output: OutputForm = field(default_factory=OutputForm)
    trial: object = field(default=None, compare=False, repr=False)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    passes: RepeatablePasses | None = None
    changes_input: bool = False

    @property
    def is_own(self) -> bool:
        """Whether the module is the user's, which does not state its classes and is left as it was."""
        return self.source in ("factory", "memory")

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256, in hexadecimal, of the names, types, shapes and bytes of all parameters and buffers.

        Independent of the device and of the order of registration; computed once.
        """
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        digest = hashlib.sha256()
        for name in sorted(tensors):
            tensor = tensors[name].detach().cpu().contiguous()
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def logits(self, output: object) -> Tensor:
        """What :attr:`module` returned → (N, num_classes) float32 scores: logits, or what stands for them.

        Raises:
            ModelError: the model has no classifier, or its output contains no logits.
        """
        if self.num_classes is None:
            raise ModelError(self.no_classifier)
        logits = self.raw(output)
        expected = 1 if self.output.is_binary else self.num_classes
        if logits.shape[1] != expected:
            raise ModelError(
                f"model {self.name} returns {logits.shape[1]} logits per image where {expected} were expected."
            )
        if self.output.assumed is not None and self.output.kind == "probabilities" and not is_within(logits, 0, 1):
            outside = float(logits.detach().flatten()[(logits.detach().flatten() - 0.5).abs().argmax()])
            raise ModelError(
                f"model {self.name} returned {outside:.4g}, so its outputs are no probabilities, as was taken from the "
                "first ones. Give --probability sigmoid or softmax (logits), or none (values)."
            )
        return self.output.scores(logits)

    def raw(self, output: object) -> Tensor:
        """What :attr:`module` returned → (N, C) float32 numbers as they are."""
        form = self.output
        average = is_distilled(self.module)
        rows = find_logits(output, self.output_key or form.key, average=average, is_row=form.is_row)
        return rows if form.factor == 1 else rows * form.factor

    def link(self, mode: Probability = "auto") -> Link:
        """From the scores of :meth:`logits` to probabilities, as far as the output alone does not decide that."""
        if self.output.link is not None:
            return self.output.link
        if mode == "auto":
            return "sigmoid" if self.multi_label or self.num_classes == 1 else "softmax"
        return mode

    def probabilities(self, logits: Tensor, mode: Probability = "auto") -> Tensor:
        """(N, C) scores → (N, C) probabilities; ``auto``: sigmoid for one logit or a multi-label model."""
        return apply_link(logits, self.link(mode))

    @property
    def is_alone(self) -> bool:
        """Whether images, and altered copies of one, must go through it one at a time."""
        return self.passes is not None and self.passes.alone

    @property
    def returns_values(self) -> bool:
        """Whether its outputs are values, as of a regression: no classes, and no probabilities."""
        return self.output.kind == "values"

    @property
    def no_classifier(self) -> str:
        """What to tell a user who wants a class of a model that has none."""
        reason = f" ({self.output.note})" if self.output.note else ""
        return (
            f"model {self.name} is an encoder without a classifier{reason}: there is no class score to explain. "
            "Methods that explain no class still work (eigencam, lafam, …: class-specific `no` in `cam methods`). "
            "To give it a head: --checkpoint FILE with the weights of the whole classifier, or "
            "factory:package.module:function that returns encoder and head as one module, or a segmenter and the mean "
            "of its scores over the pixels, (images, classes)."
        )

    def layers(self, **options: Any) -> list[LayerReport]:
        """The modules of the model with shape, layout and its verification, as ``cam layers`` prints them."""
        from camcli.layers import report_layers  # here alone: layers import no models, models need layers for this only

        with self.prepared():
            reports: list[LayerReport] = report_layers(self, **options)
        return reports

    @contextmanager
    def prepared(self) -> Iterator[nn.Module]:
        """The module on its device, in evaluation mode, without parameter gradients; afterwards as before.

        float32 is IEEE inside, and CUDA computes with deterministic kernels where it has them (for the whole process).
        Half-precision modules get their float32 inputs cast on the way in, and those that change their input in place
        get a copy of it. May be nested.
        """
        home = next((p.device for p in self.module.parameters()), self.device)
        with ExitStack() as undo:
            undo.enter_context(use_device(self.device))
            if home != self.device:
                undo.callback(self.module.to, home)
                self.module.to(self.device)
            undo.enter_context(number_format("fp32"))
            undo.enter_context(deterministic(self.device))
            if self.source == "factory":  # the user's code may import more of itself in any pass
                undo.enter_context(importable_from(str(Path.cwd()), first=False))
            undo.enter_context(evaluation_mode(self.module))
            if self.passes is not None:
                undo.enter_context(self.passes.applied_to(self.module))
            if (dtype := parameter_dtype(self.module)) is not torch.float32:
                undo.callback(self.module.register_forward_pre_hook(_caster(dtype)).remove)
            if self.changes_input and not isinstance(self.module, torch.jit.ScriptModule):
                undo.callback(self.module.register_forward_pre_hook(_copied).remove)
            yield self.module


def is_distilled(module: nn.Module) -> bool:
    """Whether the module has a class head and a distillation head, as timm's DeiT and LeViT have."""
    return hasattr(unwrap(module), "head_dist")


def unwrap(module: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and ``torch.compile``."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        else:
            inner = getattr(module, "_orig_mod", module)
        if inner is module or not isinstance(inner, nn.Module):
            return module
        module = inner


def _copied(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(i.clone() if isinstance(i, Tensor) else i for i in inputs)


def _caster(dtype: torch.dtype) -> Any:
    def cast(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(i.to(dtype) if isinstance(i, Tensor) and i.is_floating_point() else i for i in inputs)

    return cast
