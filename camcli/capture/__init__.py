"""One pass through a model: activations as leaves of a cut graph, logits, gradients."""

from camcli.capture.cut import Captured, Forward, capture, frozen

__all__ = ["Captured", "Forward", "capture", "frozen"]
