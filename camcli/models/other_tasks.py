"""Models of other tasks than classification, recognised by what they are and return."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from camcli.errors import ModelError

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
    scores = output.get("out") if isinstance(output, Mapping) else None
    if isinstance(scores, Tensor) and scores.ndim == 4 and tuple(scores.shape[2:]) == size:
        raise refuse_task(name, f"{_TASKS['segmentation']} (its output 'out' has the shape {tuple(scores.shape)})")


def _are_detections(output: object) -> bool:
    first = output[0] if isinstance(output, Sequence) and len(output) and not isinstance(output, str) else output
    return isinstance(first, Mapping) and {"boxes", "scores"} <= set(first)
