"""Batches of inputs to raw maps; methods, layers and classes share every pass through the model.

``options``   what is asked for and what is returned
``explainer`` the object that is built once and called for every batch
``plan``      which passes the methods need; ``requirements``: whether the model allows them, before any image is read
``batch``     one batch: the shared forward, the backward passes, the methods
``access``    what single methods can compute with the model beyond that
``fuse``      one map of several layers
``augment``   test-time augmentation

A package of its own beside the function ``camcli.explain``, which is the public API.
"""

from camcli.explainer.explainer import Explainer
from camcli.explainer.options import ExplainedBatch, ExplainOptions, MapKey, Progress, TargetChoice

__all__ = ["ExplainOptions", "ExplainedBatch", "Explainer", "MapKey", "Progress", "TargetChoice"]
