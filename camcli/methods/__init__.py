"""Class activation maps: one small file a method, and the table that lists them."""

from camcli.methods.base import Method, Pass
from camcli.methods.choose import find_method, parse_options
from camcli.methods.registry import METHODS
from camcli.methods.score import Score, probabilities

__all__ = ["METHODS", "Method", "Pass", "Score", "find_method", "parse_options", "probabilities"]
