"""Pictures as files."""

import io

import cv2
import numpy as np

from camcli.errors import OutputError
from camcli.render.drawing import Style


def extension(kind: str, style: Style) -> str:
    """File extension of an artefact, without the dot."""
    if kind in ("raw", "map"):
        return "npy"
    return "png" if kind == "gray" else style.image_format


def encode(kind: str, picture: np.ndarray, style: Style) -> bytes:
    """The bytes of an artefact's file.

    Raises:
        OutputError: the encoder refused the picture.
    """
    if kind in ("raw", "map"):
        buffer = io.BytesIO()
        np.save(buffer, picture, allow_pickle=False)
        return buffer.getvalue()
    name = extension(kind, style)
    quality = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, style.quality], "webp": [cv2.IMWRITE_WEBP_QUALITY, style.quality]}
    try:
        encoded, data = cv2.imencode(f".{name}", picture, quality.get(name, []))
    except cv2.error:  # some builds raise where others return failure
        encoded = False
    if not encoded or not len(data):
        height, width = picture.shape[:2]
        raise OutputError(
            f"the {name} encoder failed on a {width}×{height} picture. Try another --image-format, or --max-side."
        )
    return bytes(data)
