"""All methods, one line each. Adding one is a file with its formula and a line here."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType

from camcli.methods.base import Method
from camcli.methods.eigencam import eigencam, eigengradcam
from camcli.methods.gradcam import gradcam
from camcli.methods.gradcamelementwise import gradcamelementwise
from camcli.methods.gradcampp import gradcampp
from camcli.methods.hirescam import hirescam
from camcli.methods.layercam import layercam
from camcli.methods.randomcam import randomcam
from camcli.methods.xgradcam import xgradcam

# Kinds of methods, so that a line below holds what is particular to it.
_gradient_sum = partial(Method, cost="F+B", needs_gradients=True, weighted=True)
_gradient = partial(Method, cost="F+B", needs_gradients=True)
_activation = partial(Method, cost="F", class_specific=False)

# fmt: off
_TABLE = (
    _gradient_sum("gradcam", "Grad-CAM", "Selvaraju 2017, arXiv:1610.02391", compute=gradcam),
    _gradient_sum("gradcam++", "Grad-CAM++", "Chattopadhyay 2018, arXiv:1710.11063", compute=gradcampp),
    _gradient_sum("xgradcam", "XGrad-CAM", "Fu 2020, arXiv:2008.02312", compute=xgradcam),
    _gradient_sum("hirescam", "HiResCAM", "Draelos 2020, arXiv:2011.08891", compute=hirescam),
    _gradient_sum("gradcamelementwise", "element-wise Grad-CAM", "after Selvaraju 2017", compute=gradcamelementwise),
    _gradient_sum("layercam", "LayerCAM", "Jiang 2021, doi:10.1109/TIP.2021.3089943", compute=layercam),
    _activation("eigencam", "Eigen-CAM", "Muhammad 2020, arXiv:2008.00299", compute=eigencam),
    _gradient("eigengradcam", "Eigen-Grad-CAM", "after Muhammad 2020", compute=eigengradcam),
    _activation("randomcam", "random weights", "a baseline", compute=randomcam, weighted=True),
)
# fmt: on

METHODS = MappingProxyType({method.key: method for method in _TABLE})
"""By key, in the order of ``cam methods``. Read-only."""
