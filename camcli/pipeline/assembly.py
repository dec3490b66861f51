"""What the model gave for a batch becomes the explanation of each image.

The results stay on the device, where a CUDA device also draws them; a copy of them is on its way to the host meanwhile.
Waiting for that copy is the one synchronisation of a batch, and it is not the model's thread that waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from camcli.device import to_host
from camcli.errors import ImageError
from camcli.explainer import ExplainedBatch, MapKey
from camcli.map_summary import map_status
from camcli.pipeline.items import ChosenClass, ClassMap, Explanation, Failed, Loaded
from camcli.pipeline.setup import Setup
from camcli.pipeline.targets import NO_TARGET, specs_of

Pictures = Mapping[MapKey, Mapping[str, np.ndarray]]
"""The pictures of an image's maps that are drawn already, by kind."""

_ROUNDED = 1e-7
"""So near to 0 or 1 a probability in float32 has little or no gradient."""
_NO_LABEL = (
    "--target label, and its label is not known: name its folder after a class, or give a manifest with a label column"
)


def record_event(device: torch.device) -> torch.cuda.Event:
    """An event of the current stream, by which time is measured; waiting for it does not keep a core busy."""
    event = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


@dataclass(frozen=True)
class BatchResults:
    """The results of a batch on the device and on the host.

    Attributes:
        device: as the explainer gave them.
        host: the same on the CPU; complete after :meth:`wait`.
        size: images that went through the model at once.
        caveats: what a reader of the rows should know of this batch.
        started: when the device began with the batch, on CUDA.
        copied: when the copy is complete, on CUDA.
    """

    device: ExplainedBatch
    host: ExplainedBatch
    size: int
    caveats: tuple[str, ...] = ()
    started: torch.cuda.Event | None = None
    copied: torch.cuda.Event | None = None

    @classmethod
    def of(
        cls, explained: ExplainedBatch, size: int, caveats: tuple[str, ...] = (),
        started: torch.cuda.Event | None = None,
    ) -> BatchResults:  # fmt: skip
        """Start to copy results to the host."""
        host = explained.to(to_host)
        if explained.logits.device.type != "cuda":
            return cls(explained, host, size, caveats)
        return cls(explained, host, size, caveats, started, record_event(explained.logits.device))

    def let_stream_wait(self) -> None:
        """What the current stream does next begins when the results are there and copied; nobody waits now."""
        if self.copied is not None:
            self.copied.wait(torch.cuda.current_stream(self.device.logits.device))

    @property
    def seconds(self) -> float:
        """The device's time for the batch, once it is complete."""
        if self.started is None or self.copied is None:
            return 0.0
        milliseconds: float = self.started.elapsed_time(self.copied)
        return milliseconds / 1000

    def wait(self) -> None:
        """Return when :attr:`host` is complete."""
        if self.copied is not None:
            self.copied.synchronize()


@dataclass(frozen=True)
class ExplainedImage:
    """An image that was explained, and where its results are: a row of those of a batch."""

    image: Loaded
    results: BatchResults
    row: int


def maps_to_show(setup: Setup, explained: ExplainedImage) -> list[MapKey]:
    """The image's maps: by method as asked for, then by layer, then by target; none for a class it does not have.

    Known without waiting for the device: only a label can be missing.
    """
    methods = {method: place for place, method in enumerate(setup.config.method)}
    layers = {layer.path: place for place, layer in enumerate(setup.layers)}
    image = explained.image
    specs = specs_of(setup.targets, image.own_target)
    has_class = [spec.kind != "label" or image.label is not None for spec in specs]

    def order(key: MapKey) -> tuple[int, int, int]:
        return methods[key.method], layers.get(key.layer, 0) if isinstance(key.layer, str) else 0, key.target_number

    keys = explained.results.device.maps
    shown = (k for k in keys if setup.classless or (k.target_number < len(specs) and has_class[k.target_number]))
    return sorted(shown, key=order)


def assemble(setup: Setup, explained: ExplainedImage, pictures: Pictures | None = None) -> Explanation | Failed:
    """The explanation of an image, once its results are on the host."""
    image, host, i = explained.image, explained.results.host, explained.row
    targets = host.targets[i].tolist()
    if all(target == NO_TARGET for target in targets) and not setup.classless:
        return Failed(image.entry, ImageError("target", _NO_LABEL), image.metadata)
    maps = tuple(_class_map(setup, explained, key, pictures or {}) for key in maps_to_show(setup, explained))
    notes = []
    if NO_TARGET in targets and image.own_target is None and not setup.classless:
        notes.append("its label is not known; it has no map for it")
    notes += _saturation(setup, host, maps, i)
    if explained.results.size < setup.batch_size:
        notes.append(f"explained in a batch of {explained.results.size} after running out of memory")
    notes += explained.results.caveats
    # Copies: a view would keep the memory of the whole batch, which is pinned on CUDA.
    logits, probabilities = host.logits[i].numpy().copy(), host.probabilities[i].numpy().copy()
    return Explanation(image, logits, probabilities, maps, tuple(notes))


def _class_map(setup: Setup, explained: ExplainedImage, key: MapKey, pictures: Pictures) -> ClassMap:
    host, i, number = explained.results.host, explained.row, key.target_number
    chosen = None
    if not setup.classless:
        spec = specs_of(setup.targets, explained.image.own_target)[number]
        chosen = ChosenClass(int(host.targets[i, number]), spec.chosen_by)
    drawn = pictures.get(key, {})
    return ClassMap(key.method, key.layer, setup.targets[number].key, chosen, host.maps[key][i].numpy().copy(), drawn)


def _saturation(setup: Setup, host: ExplainedBatch, maps: Sequence[ClassMap], i: int) -> list[str]:
    """Why maps show nothing: outputs that are not finite, or probabilities that are rounded."""
    if not bool(host.logits[i].isfinite().all()):
        return ["the model's outputs for this image are not finite"]
    if setup.model.output.kind not in ("probabilities", "log-probabilities"):
        return []
    zero = {m.target.index for m in maps if m.target is not None and map_status(m.raw) == "zero"}
    chances = {c: float(host.probabilities[i, c]) for c in zero}
    rounded = [f"{c}: {p:.6g}" for c, p in chances.items() if min(p, 1 - p) < _ROUNDED]
    if not rounded:
        return []
    return [
        f"the model's probability is rounded to 0 or 1 (class {', '.join(rounded)}) and has no gradient: its maps "
        "are zero. Return the logits beside it, or instead."
    ]


def with_note(result: Explanation | Failed, note: str) -> Explanation | Failed:
    """The same with a note more, where it was explained."""
    return result if isinstance(result, Failed) else replace(result, notes=(*result.notes, note))
