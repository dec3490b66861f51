"""Explain images from Python, without a run folder."""

from camcli.api.explanation import explain
from camcli.api.inputs import ImageLike
from camcli.api.result import MapResult, Result, Target
from camcli.api.results import Results

__all__ = ["ImageLike", "MapResult", "Result", "Results", "Target", "explain"]
