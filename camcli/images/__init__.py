"""Images: from what ``--image-path`` names to the model's input, and what the input shows of the original.

sources → read → decode → preprocess, each of which knows only its own step; nothing here knows a model.
"""

from camcli.images.decode import MAX_PIXELS, Decoded, DecodeSettings, decode, pillow_limits
from camcli.images.entry import IMAGE_EXTENSIONS, Entry, Problem, TarMember
from camcli.images.geometry import Placement, Size, View
from camcli.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Prepared, Preprocessing
from camcli.images.reading import read, was_replaced
from camcli.images.resample import INTERPOLATIONS
from camcli.images.sources import Sources
from camcli.images.tensors import Sender, Sent, to_input

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_EXTENSIONS",
    "INTERPOLATIONS",
    "MAX_PIXELS",
    "DecodeSettings",
    "Decoded",
    "Entry",
    "Placement",
    "Prepared",
    "Preprocessing",
    "Problem",
    "Sender",
    "Sent",
    "Size",
    "Sources",
    "TarMember",
    "View",
    "decode",
    "pillow_limits",
    "read",
    "to_input",
    "was_replaced",
]
