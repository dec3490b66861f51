"""Models of other tasks than classification, recognised by what they are and return."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from camcli.errors import ModelError
from camcli.models.outputs import entries, fields_of

_TASKS = {
    "segmentation": "a segmenter: it scores every pixel, not the image",
    "detection": "a detector: it returns boxes, not scores of the image",
    "video": "a video model: it takes frames (N, C, T, H, W), not an image",
    "optical_flow": "a model of optical flow: it takes two images and returns a flow",
    "quantization": "a quantised classifier: its operations have no gradient, and no floating-point activations",
}
_INSTEAD = (
    " cam explains classifiers of images. A classifier around it, as factory:package.module:function, can be one."
)

_SCORES = {"out", "logits", "masks", "mask", "sem_seg", "pred_masks", "segmentation"}
"""What segmenters call their scores."""
_MOST_CLASSES = 200
"""Of a segmenter; maps of more channels are features."""


class Size(Protocol):
    """The part of a preprocessing that is needed here."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


def task_of_torchvision(name: str) -> str | None:
    """What a model of torchvision is, where it is no classifier; None where it is, or is none of torchvision's."""
    import torchvision

    if name not in torchvision.models.list_models():
        return None
    module = torchvision.models.get_model_builder(name).__module__
    return next((text for key, text in _TASKS.items() if f".{key}." in f"{module}."), None)


def refuse_task(name: str, task: str) -> ModelError:
    """The error for a model of another task."""
    return ModelError(f"model {name} is {task}.{_INSTEAD}")


def require_images(name: str, module: nn.Module) -> None:
    """Refuse a module that fails on an image since it takes frames.

    Raises:
        ModelError: it is a video model, or one of volumes.
    """
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)), None)
    if isinstance(first, nn.Conv3d):
        raise refuse_task(name, _TASKS["video"].replace("frames", "frames or slices"))


def require_classifier(name: str, output: object, size: tuple[int, int]) -> None:
    """Refuse a module that returns what segmenters, detectors and generators return for an image.

    Args:
        name: of the model.
        output: for a batch of one.
        size: height and width of the input.

    Raises:
        ModelError: it is of another task.
    """
    if _are_detections(output):
        raise refuse_task(name, _TASKS["detection"])
    if isinstance(output, Tensor) or next(entries(output), None) is not None:
        if isinstance(output, Tensor) and not output.is_floating_point() and _is_of_pixels(output, size):
            raise refuse_task(name, f"{_TASKS['segmentation']} (its output has the shape {tuple(output.shape)})")
        return
    maps = {key: own for key, own in _tensors_by_key(output).items() if own.dim() == 4 and own.is_floating_point()}
    full = [key for key, own in maps.items() if _is_of_pixels(own, size)]
    key = next(iter([*full, *(_SCORES & maps.keys())]), None)
    if key is not None:
        shape = tuple(maps[key].shape)
        raise refuse_task(name, f"{_TASKS['segmentation']} (its output {key!r} has the shape {shape})")


def describe_map(output: object, size: Size) -> str | None:
    """What a model without a classifier returns, in words; None where there is nothing to say."""
    if not isinstance(output, Tensor) or output.dim() < 3:
        return None
    start = f"it returns a tensor of shape {tuple(output.shape)} for an image"
    if _is_of_pixels(output, (size.height, size.width)):
        return f"{start}, numbers for every pixel, as segmenters and generators do"
    return f"{start}, {'a map' if output.dim() == 4 else 'several rows'} of features, or of scores of its parts"


def _is_of_pixels(tensor: Tensor, size: tuple[int, int]) -> bool:
    """Whether there is a number for every pixel, or every fourth in each direction as of many segmenters."""
    if tensor.dim() not in (3, 4) or (tensor.dim() == 4 and tensor.shape[1] > _MOST_CLASSES):
        return False
    height, width = tensor.shape[-2:]
    return any((height, width) == (size[0] // stride, size[1] // stride) for stride in (1, 2, 4))


def _tensors_by_key(output: object) -> dict[str, Tensor]:
    fields = dict(enumerate(output)) if isinstance(output, tuple | list) else fields_of(output)
    return {str(key): value for key, value in fields.items() if isinstance(value, Tensor)}


def _are_detections(output: object) -> bool:
    first = output[0] if isinstance(output, Sequence) and len(output) and not isinstance(output, str) else output
    names = fields_of(first).keys()
    return any("boxes" in name for name in names) and any(name in ("scores", "logits", "pred_logits") for name in names)
