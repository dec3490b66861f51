"""One pass through a model: activations as leaves of a cut graph, logits, gradients; and the tail replayed."""

from camcli.capture.cut import CapturedPass, capture
from camcli.capture.forward import Forward
from camcli.capture.frozen import freeze
from camcli.capture.gradients import gradients_of
from camcli.capture.noise import noise
from camcli.capture.replay import Memo, Tail
from camcli.capture.trace import trace_tail

__all__ = ["CapturedPass", "Forward", "Memo", "Tail", "capture", "freeze", "gradients_of", "noise", "trace_tail"]
