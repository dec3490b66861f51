"""The part of the stream that reads, decodes and preprocesses one image."""

from dataclasses import dataclass, replace

from camcli.concurrency import Clock
from camcli.errors import ImageError, TargetError
from camcli.images import Decoded, DecodeSettings, Entry, Preprocessing, decode, read
from camcli.pipeline.isolation import run_guarded
from camcli.pipeline.items import Failed, Fetched, Loaded
from camcli.pipeline.labels import Labeller
from camcli.pipeline.setup import Setup, decode_settings
from camcli.pipeline.targets import Names, TargetSpec, parse_target
from camcli.render import draw_on


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
        only_view: whether pictures show the part that the model saw, and nothing else.
    """

    decode: DecodeSettings
    preprocessing: Preprocessing
    labeller: Labeller
    names: Names | None
    num_classes: int | None
    own_targets: bool
    canvas_side: int | None
    clock: Clock
    only_view: bool = False

    def __call__(self, item: Entry | Fetched) -> Loaded | Failed:
        metadata = None
        entry = item.entry if isinstance(item, Fetched) else item
        try:
            with self.clock("decode"):
                decoded = run_guarded(lambda: decode(_content(item), self.decode), "reading")
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
            size = metadata.width, metadata.height
            canvas = draw_on(image, prepared.view, size, self.canvas_side, self.only_view)
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


def _content(item: Entry | Fetched) -> bytes:
    return item.content if isinstance(item, Fetched) else read(item)


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
        only_view=config.canvas == "view",
        clock=clock,
    )
