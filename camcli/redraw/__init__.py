"""The pictures of a finished run, drawn again from its index and its originals: what ``cam render`` does.

``redraw``      the whole of it: read this first
``settings``    from the run's settings and new ones to what is drawn
``originals``   which input belongs to which row
``painting``    the pictures of one image

No model is opened, and torch is not imported.
"""

from camcli.redraw.redraw import KeptPictures, RedrawResult, Watcher, redraw

__all__ = ["KeptPictures", "RedrawResult", "Watcher", "redraw"]
