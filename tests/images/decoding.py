"""What decoding gave: the pixels, or the error."""

from __future__ import annotations

import numpy as np
import pytest

from camcli.errors import ImageError
from camcli.images import Decoded, DecodeSettings, decode, pillow_limits


def pixels(decoded: Decoded) -> np.ndarray:
    assert decoded.image.mode == "RGB"
    return np.asarray(decoded.image)


def failure(data: bytes, **settings: object) -> ImageError:
    with pillow_limits(), pytest.raises(ImageError) as caught:
        decode(data, DecodeSettings(**settings))  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    assert "0x" not in caught.value.message, "an address differs from run to run"
    return caught.value
