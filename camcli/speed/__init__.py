"""Making a model run as fast as it can without changing what it says.

``dataflow``  which convolution feeds which batch norm and nothing else, seen in one pass
``fold``      those batch norms folded into their convolutions, and back
``forward``   how fast the forward pass is by itself
``tuned``     the one place where a run speeds its model up, and leaves it as it was found
"""

from camcli.speed.forward import forward_rate
from camcli.speed.tuned import Tuning, tuned

__all__ = ["Tuning", "forward_rate", "tuned"]
