"""Images: from what ``--image-path`` names to the model's input, and what the input shows of the original.

sources → read → decode → preprocess, each independent of the others and of the model.
"""

from camcli.images.arrays import from_array
from camcli.images.bands import ASSUMED, Bands
from camcli.images.decode import decode, from_pillow, pillow_limits
from camcli.images.decoded import MAX_PIXELS, Decoded, DecodeSettings, ImageMetadata
from camcli.images.device_decode import require_device_decoder
from camcli.images.entry import IMAGE_EXTENSIONS, Entry
from camcli.images.geometry import Placement, Size, View, restore_view
from camcli.images.in_memory import ACCEPTED_ARRAYS, as_pixels, decode_pillow, show_input, split_batch
from camcli.images.packed import packed_below
from camcli.images.preprocess import Prepared, Preprocessing
from camcli.images.reading import read, was_replaced
from camcli.images.sample import Sampler
from camcli.images.sources import Sources
from camcli.images.tensors import Sender, Sent, to_input

__all__ = [
    "ACCEPTED_ARRAYS", "ASSUMED", "IMAGE_EXTENSIONS", "MAX_PIXELS", "Bands", "DecodeSettings", "Decoded", "Entry",
    "ImageMetadata", "Placement", "Prepared", "Preprocessing", "Sampler", "Sender", "Sent", "Size", "Sources", "View",
    "as_pixels", "decode", "decode_pillow", "from_array", "from_pillow", "packed_below", "pillow_limits", "read",
    "require_device_decoder", "restore_view", "show_input", "split_batch", "to_input", "was_replaced",
]  # fmt: skip
