"""Maps to pictures, in the geometry of the upright original.

The one place where a raw map is rectified, normalised, upsampled, placed in the model's view, and coloured.
Pictures are (height, width, 3) uint8 in BGR order, as OpenCV encodes them.

``drawing``    the pictures of one map
``canvas``     what a map is drawn on, and where it goes
``colours``    colour maps, and maps as 8 bits
``panel``      four pictures as one figure
``grid``       comparison figures
``pages``      pages of figures, as pictures or as a PDF
``lettering``  text in figures
``encoding``   pictures as files
"""

from camcli.render.canvas import OUTSIDE_BRIGHTNESS, Canvas, dim, draw_on, frame_width, make_canvas, place
from camcli.render.colours import ZERO, apply_gamma, blend, colour, colours, mix, signed_shares, to_gray, to_levels
from camcli.render.drawing import Drawing, Style, normalise, value_range
from camcli.render.encoding import encode, extension
from camcli.render.panel import PANEL_SIDE, PanelText

__all__ = [
    "OUTSIDE_BRIGHTNESS", "PANEL_SIDE", "ZERO", "Canvas", "Drawing", "PanelText", "Style", "apply_gamma", "blend",
    "colour", "colours", "dim", "draw_on", "encode", "extension", "frame_width", "make_canvas", "mix", "normalise",
    "place", "signed_shares", "to_gray", "to_levels", "value_range",
]  # fmt: skip
