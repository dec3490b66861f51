"""An exception in a pass of the user's model, in words: what was raised, in which line of theirs, and what may help."""

import re
from collections.abc import Sequence

from camcli.user_code import describe_failure

_OF_SHAPE = re.compile(
    r"shapes? .*(cannot be multiplied|mismatch|invalid|match)|size mismatch|sizes? of tensors?|must match the size|"
    r"kernel size can't be greater|padded input size|output size is too small|invalid for input of size|"
    r"not divisible by|doesn't match model|wrong (image|input) size|image size|input (height|width|size)|"
    r"expected (input|size)|same (shape|size)|in_features|normalized_shape",
    re.IGNORECASE,
)
_OF_CHANNELS = re.compile(r"expected input\[.*to have (\d+) channels|running_mean should contain \d+ elements")


def describe_failed_pass(error: BaseException, shape: Sequence[int]) -> str:
    """Why a forward pass on an input of this shape (N, C, H, W) fails, and what to do, as far as that is known."""
    start = f"a forward pass on an input of {tuple(shape)} fails: {describe_failure(error)}."
    text = str(error)
    if isinstance(error, RuntimeError) and (channels := _OF_CHANNELS.search(text)):
        if channels[1] == str(shape[1]):  # the input's channels are right, and the model has moved them
            return f"{start} cam gives the channels second, (N, C, H, W), where the model seems to expect them last."
        return (
            f"{start} The input has {shape[1]} channels; the factory's preprocessing states another number "
            '({"input_size": (C, H, W)}).'
        )
    if isinstance(error, RuntimeError | ValueError | AssertionError) and _OF_SHAPE.search(text):
        return f"{start} --input-size, or the factory's preprocessing, sets that shape."
    return start


def describe_failed_batch(error: BaseException, shape: Sequence[int]) -> str:
    """Why a forward pass on a batch fails where one image has gone through, or may have."""
    if shape[0] == 1:
        return f"the model: {describe_failed_pass(error, shape)}"
    return (
        f"the model takes one image, but fails on {shape[0]} at once ({describe_failure(error)}). "
        "--batch-size 1 explains one image at a time."
    )
