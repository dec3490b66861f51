"""Making a model run as fast as it can without changing what it says.

``batch_size``  how many images fit on an accelerator
``compiled``  the part before the target layer compiled and frozen
``dataflow``  which convolution feeds which batch norm and nothing else, seen in one pass
``fold``      those batch norms folded into their convolutions, and back
``forward``   how fast the forward pass is by itself
``tuned``     the one place where a run speeds its model up, and leaves it as it was found
"""

from camcli.speed.batch_size import cuda_batch
from camcli.speed.compiled import Compilation, compile_trunk
from camcli.speed.forward import forward_rate
from camcli.speed.tuned import Tuning, tuned

__all__ = ["Compilation", "Tuning", "compile_trunk", "cuda_batch", "forward_rate", "tuned"]
