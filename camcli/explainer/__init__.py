"""Batches of inputs to raw maps, with every pass through the model shared between methods, layers and classes.

``options``   what is asked for and what is returned
``explainer`` the object that is built once and called for every batch
``plan``      which passes the methods need, and whether the model allows them; found before any image is read
``batch``     one batch: the shared forward, the backward passes, the methods
``access``    what single methods may ask of the model beyond that
``fuse``      one map of several layers
``augment``   test-time augmentation

A package of its own beside the function ``camcli.explain``, which is the public API.
"""

from camcli.explainer.explainer import Explainer
from camcli.explainer.options import Choose, Explained, ExplainOptions, MapKey, Progress

__all__ = ["Choose", "ExplainOptions", "Explained", "Explainer", "MapKey", "Progress"]
