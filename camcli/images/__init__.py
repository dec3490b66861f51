"""Images: from what ``--image-path`` names to the model's input, and what the input shows of the original.

sources → read → decode → preprocess, each independent of the others and of the model.
"""

from camcli.images.arrays import from_array
from camcli.images.bands import ASSUMED, Bands
from camcli.images.decode import decode, from_pillow, pillow_limits
from camcli.images.decoded import MAX_PIXELS, Decoded, DecodeSettings, ImageMetadata
from camcli.images.entry import IMAGE_EXTENSIONS, Entry
from camcli.images.geometry import Placement, Size, View
from camcli.images.preprocess import Prepared, Preprocessing
from camcli.images.reading import read, was_replaced
from camcli.images.sources import Sources
from camcli.images.tensors import Sender, Sent, to_input

__all__ = [
    "ASSUMED", "IMAGE_EXTENSIONS", "MAX_PIXELS", "Bands", "DecodeSettings", "Decoded", "Entry", "ImageMetadata",
    "Placement", "Prepared", "Preprocessing", "Sender", "Sent", "Size", "Sources", "View", "decode", "from_array",
    "from_pillow", "pillow_limits", "read", "to_input", "was_replaced",
]  # fmt: skip
