"""The function `explain`."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

from torch import nn

from camcli.api.arguments import TargetLike, as_config, as_model, check_batch_size, split_settings, target_text
from camcli.api.inputs import ImageLike, InputImage, Single, count_images, load_image, single_images
from camcli.api.result import MapResult, Result, Target
from camcli.api.results import Results
from camcli.device import BatchLimit
from camcli.errors import SourceError, TargetError
from camcli.explainer import ExplainedBatch
from camcli.images import Sources
from camcli.models import Model
from camcli.pipeline.batching import explain_batch, in_batches
from camcli.pipeline.items import class_name
from camcli.pipeline.setup import Setup, decode_settings, setup_for, with_bands
from camcli.pipeline.targets import NO_TARGET, TargetSpec, highest, parse_target, specs_of

_LARGEST_BATCH = 16


def explain(
    model: Model | nn.Module, images: Iterable[ImageLike] | ImageLike, *, method: str | Sequence[str] = "gradcam",
    target: TargetLike | Sequence[TargetLike] = "predicted", targets: Iterable[TargetLike] | None = None,
    layer: str | nn.Module | Sequence[str | nn.Module] = "auto", batch_size: int | None = None, **settings: Any,
) -> Results:  # fmt: skip
    """Explain images with a model.

    Args:
        model: from :func:`camcli.load_model`, or any ``torch.nn.Module``, which stays on its device and is left as it
            was. Checks of the model take about ten passes of one image a call; of many calls, each with few images,
            give all images to one.
        images: file names, Pillow images, arrays (H, W) or (H, W, C), tensors (C, H, W), and batches of arrays and
            tensors (N, …); one, or any iterable of them. They are read batch by batch, so that memory does not grow
            with their pixels. Arrays and tensors hold ``uint8``, ``uint16``, ``int16``, or floats in 0 to 1. With
            ``mean=0, std=1``, floats in the shape of the model's input are its input as they stand, whatever their
            range.
        method: one or more methods, a comma list or a sequence.
        target: the class to explain: an index, a name, or what else ``--target`` takes. A sequence gives every image
            one map of each. A string is split at commas unless it is the name of a class.
        targets: one target for each image, instead of ``target``.
        layer: as ``--layer``, one or several; or the modules themselves.
        batch_size: images a pass; by default as many as there are, evenly divided where they are more than 16. The last
            batch is padded to it, so that the result of an image does not depend on the others. Another batch size
            changes the last bits of a result. Halved when memory runs out.
        settings: any other setting of :class:`camcli.RunConfig` that concerns the explanation: ``score``,
            ``precision``, ``option``, ``fuse``, ``layout``, ``seed``, ``probability``, ``aug_smooth``,
            ``eigen_smooth``, ``bands``, ``show_bands``, ``window``. And of a ``torch.nn.Module``, what
            :func:`camcli.load_model` takes: ``mean``, ``std``, ``input_size``, ``resize``, ``preprocessing``,
            ``class_names``, ``output_key``, ``device``.

    Returns:
        One result an image, in order: a list, whose ``grid`` draws a comparison figure.

    Raises:
        TypeError: an argument, or an image, of a type that is not accepted.
        UsageError: an unknown method, layer or target, or one that this model does not allow; floats that are no
            pixels.
        ImageError: an image that cannot be read.
    """
    of_explanation, of_model = split_settings(settings)
    if targets is not None and target != "predicted":
        raise TypeError("target (for all images) and targets (one for each image): give one of them.")
    size = check_batch_size(batch_size) or _batch_size(count_images(images))
    opened = as_model(model, of_model)
    config = as_config(opened.module, method, target, layer, size, of_explanation)
    setup = setup_for(config, with_bands(opened, config), Sources(()))
    if any(spec.kind == "label" for spec in setup.targets):
        raise SourceError("target='label' needs a run over folders or a manifest: use camcli.run.")
    model, decoding = setup.model, decode_settings(config, setup.model.preprocessing, setup.device)
    singles = single_images(images, model.preprocessing.channels)

    def explain_padded(batch: list[InputImage], count: int) -> list[Result]:
        explained = explain_batch(setup, batch, count).on_host()
        return [_result(setup, explained, i, image) for i, image in enumerate(batch[:count])]

    for line in setup.assumptions:
        _say_once(line)
    limit = BatchLimit(setup.batch_size)
    with model.prepared():
        loaded = (
            load_image(image, model.preprocessing, decoding, own)
            for image, own in _with_targets(singles, targets, model)
        )
        batches = in_batches(loaded, setup.batch_size)
        return Results(
            result for batch in batches for part in limit.run_padded(batch, explain_padded) for result in part
        )


@lru_cache(maxsize=256)
def _say_once(line: str) -> None:
    """Log what was assumed, as a warning of the logger ``camcli``: without further settings, on stderr."""
    logging.getLogger("camcli").warning("%s", line)


def _batch_size(count: int | None) -> int:
    """As many as there are, or equal parts; for an iterable of unknown length, the largest."""
    if not count:
        return _LARGEST_BATCH
    batches = -(-count // _LARGEST_BATCH)
    return -(-count // batches)


def _with_targets(
    images: Iterator[Single], targets: Iterable[TargetLike] | None, model: Model
) -> Iterator[tuple[Single, TargetSpec | None]]:
    """Every image with its own target, None where there is none."""
    if targets is None:
        yield from zip(images, repeat(None))
        return
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise TypeError("targets: give a sequence with one target for each image; target is for all.")
    own = iter(targets)
    for number, image in enumerate(images):
        if (target := next(own, None)) is None:
            raise TargetError(f"targets has {number}, and there are more images. Give one target for each image.")
        specs = parse_target(target_text(target), model.class_names, model.num_classes)
        if len(specs) != 1 or specs[0].kind == "label":
            raise TargetError(f"targets: {target!r} must name one class.")
        yield image, specs[0]
    if next(own, None) is not None:
        raise TargetError("targets has more than there are images. Give one target for each image.")


def _result(setup: Setup, explained: ExplainedBatch, i: int, image: InputImage) -> Result:
    model, specs = setup.model, specs_of(setup.targets, image.own_target)
    logits, probabilities = explained.logits[i], explained.probabilities[i]

    def target(index: int, chosen_by: str) -> Target:
        name = class_name(index, model.class_names)
        probability = None if model.returns_values else float(probabilities[index])
        return Target(index, name, probability, float(logits[index]), chosen_by)

    maps: dict[str, MapResult] = {}
    for key, raw in explained.maps.items():
        index = int(explained.targets[i, key.target_number])
        if index == NO_TARGET:
            continue
        levels = [key.method]
        if len(setup.layers) > 1 and isinstance(key.layer, str):
            levels.append(key.layer)
        if len(specs) > 1:
            levels.append(specs[key.target_number].key)
        size = (model.preprocessing.height, model.preprocessing.width)
        chosen = None if setup.classless else target(index, specs[key.target_number].chosen_by)
        maps["/".join(levels)] = MapResult(
            raw[i].numpy(), chosen, key.layer, image.view, size, image.original, key.method
        )
    top = highest(logits.numpy(), 5)
    return Result(tuple(target(int(index), "predicted") for index in top), maps, image.entry.path)
