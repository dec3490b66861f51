"""The part of the stream that reads, decodes and preprocesses one image."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from camcli.concurrency import Clock
from camcli.errors import ImageError, TargetError
from camcli.images import Decoded, DecodeSettings, Entry, Preprocessing, decode, read
from camcli.pipeline.isolation import run_guarded
from camcli.pipeline.items import Failed, Loaded
from camcli.pipeline.labels import Labeller
from camcli.pipeline.setup import Setup, decode_settings
from camcli.pipeline.targets import Names, TargetSpec, parse_target
from camcli.render import make_canvas


@dataclass(frozen=True)
class Loader:
    """Loads one image; called from many threads.

    Attributes:
        decode: how files are decoded.
        preprocessing: the model's own.
        labeller: the true class of an image.
        names: class names, for an image's own target.
        num_classes: how many classes the model has.
        own_targets: whether an image's own target (of a manifest) counts; an explicit ``--target`` beats it.
        canvas_side: longest side of the pictures; None where none is wanted.
    """

    decode: DecodeSettings
    preprocessing: Preprocessing
    labeller: Labeller
    names: Names | None
    num_classes: int | None
    own_targets: bool
    canvas_side: int | None
    clock: Clock

    def __call__(self, entry: Entry) -> Loaded | Failed:
        metadata = None
        try:
            with self.clock("decode"):
                decoded = run_guarded(lambda: decode(read(entry), self.decode), "reading")
                metadata = decoded.metadata
            with self.clock("preprocess"):
                return run_guarded(lambda: self._prepare(entry, decoded), "preprocessing")
        except ImageError as error:
            return Failed(entry, error, metadata)

    def _prepare(self, entry: Entry, decoded: Decoded) -> Loaded:
        own = self._own_target(entry)
        image, metadata = decoded.image, decoded.metadata  # the image is smaller than its original with --fast-decode
        prepared = self.preprocessing(decoded.source, (metadata.height, metadata.width))
        metadata = replace(metadata, notes=(*metadata.notes, *prepared.notes))
        canvas = None
        if self.canvas_side is not None:
            view = prepared.view.scaled(image.width / metadata.width, image.height / metadata.height)
            shown = np.asarray(_reduce(image, self.canvas_side))
            canvas = make_canvas(shown, view, self.canvas_side, (image.height, image.width))
        return Loaded(entry, metadata, prepared.pixels, prepared.view, canvas, self.labeller(entry), own)

    def _own_target(self, entry: Entry) -> TargetSpec | None:
        if entry.target is None or not self.own_targets:
            return None
        try:
            specs = parse_target(entry.target, self.names, self.num_classes)
        except TargetError as error:
            raise ImageError("target", f"the manifest's target {entry.target!r}: {error}") from error
        if len(specs) != 1:
            raise ImageError("target", f"the manifest's target {entry.target!r} must name one class")
        return specs[0]


def _reduce(image: Image.Image, side: int) -> Image.Image:
    """A large image at a whole fraction of its size, ``side`` or more; in one step, all its pixels would be copied."""
    fraction = max(image.size) // side if side else 1
    return image.reduce(fraction) if fraction > 1 else image


def make_loader(setup: Setup, clock: Clock) -> Loader:
    """The loader of a run."""
    config, model = setup.config, setup.model
    return Loader(
        decode=decode_settings(config, model.preprocessing, setup.device),
        preprocessing=model.preprocessing,
        labeller=setup.labeller,
        names=model.class_names,
        num_classes=model.num_classes,
        own_targets=config.target is None,
        canvas_side=config.max_side if config.pictures else None,
        clock=clock,
    )
