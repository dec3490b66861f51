"""Making a model run as fast as it can without changing its outputs.

``batch_size``    how many images go through the model at once on CUDA
``compilation``   the prefix of the network (the part before the target layer) compiled and frozen
``cuda_graph``    the passes of a batch recorded once and started with one call
``dataflow``      which convolution feeds which batch norm and nothing else, observed in one pass
``fold``          those batch norms folded into their convolutions, and back
``forward_rate``  how fast the forward pass is by itself
``tuning``        the one place where a run speeds its model up, and restores it
"""

from camcli.speed.batch_size import fitting_batch
from camcli.speed.compilation import Compilation, compile_prefix
from camcli.speed.cuda_graph import CudaGraph, record
from camcli.speed.forward_rate import measure_forward_rate
from camcli.speed.tuning import Tuning, tune

__all__ = [
    "Compilation", "CudaGraph", "Tuning", "compile_prefix", "fitting_batch", "measure_forward_rate", "record", "tune",
]  # fmt: skip
