"""All methods, one entry each. Adding one is a file with its formula and an entry here."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType

from camcli.methods import ablationcam as ablation
from camcli.methods import finercam, groupcam, opticam, reciprocam, refinecam, rise
from camcli.methods import scorecam as score
from camcli.methods import smoothgradcampp as smooth
from camcli.methods.base import Method
from camcli.methods.cam import cam, class_logit
from camcli.methods.chefer import chefer
from camcli.methods.eigencam import eigencam, eigengradcam, segeigencam
from camcli.methods.fem import fem
from camcli.methods.fullgrad import fullgrad
from camcli.methods.gradcam import gradcam
from camcli.methods.gradcamelementwise import gradcamelementwise
from camcli.methods.gradcampp import gradcampp
from camcli.methods.guidedbackprop import guidedbackprop, guidedgradcam
from camcli.methods.hirescam import hirescam
from camcli.methods.kpcacam import kpcacam
from camcli.methods.lafam import lafam
from camcli.methods.layercam import layercam
from camcli.methods.legrad import legrad
from camcli.methods.randomcam import randomcam
from camcli.methods.rollout import rollout
from camcli.methods.shapleycam import shapleycam
from camcli.methods.xgradcam import xgradcam

# Kinds of methods, so that an entry below holds what is particular to it.
_gradient_sum = partial(Method, cost="F+B", needs_gradients=True, weighted=True)
_gradient = partial(Method, cost="F+B", needs_gradients=True)
_activation = partial(Method, cost="F", class_specific=False)
_masking = partial(Method, weighted=True, slots_together=True, needs=("scoring",), approximate=score.approximation)
_attention = partial(Method, scope="network", signed=False, needs=("attention",))
_pixels = partial(Method, signed=False)

# fmt: off
_TABLE = (
    _gradient_sum(
        "cam", "CAM", "Zhou 2016, arXiv:1512.04150", compute=cam, needs=("pooled head",), rescore=class_logit,
    ),
    _gradient_sum("gradcam", "Grad-CAM", "Selvaraju 2017, arXiv:1610.02391", compute=gradcam),
    _gradient_sum("gradcam++", "Grad-CAM++", "Chattopadhyay 2018, arXiv:1710.11063", compute=gradcampp),
    _gradient_sum(
        "smoothgradcam++", "Smooth Grad-CAM++", "Omeiza 2019, arXiv:1908.01224", compute=smooth.smoothgradcampp,
        cost="nF+nB", cost_as_set="{samples}F+{samples}B", needs_gradients=False, needs=("other inputs",),
        options=smooth.OPTIONS,
    ),
    _gradient_sum("xgradcam", "XGrad-CAM", "Fu 2020, arXiv:2008.02312", compute=xgradcam),
    _gradient_sum("hirescam", "HiResCAM", "Draelos 2020, arXiv:2011.08891", compute=hirescam),
    _gradient_sum(
        "gradcamelementwise", "element-wise Grad-CAM", "after Selvaraju 2017", compute=gradcamelementwise, signed=False,
    ),
    _gradient_sum("layercam", "LayerCAM", "Jiang 2021, doi:10.1109/TIP.2021.3089943", compute=layercam),
    _masking("scorecam", "Score-CAM", "Wang 2020, arXiv:1910.01279", "(K+1)F", score.scorecam, options=score.OPTIONS),
    _masking(
        "sscam", "SS-CAM", "Wang 2020, arXiv:2006.14255", "nK F", score.sscam,
        cost_as_set="{samples}K F", options=score.SSCAM_OPTIONS,
    ),
    _masking(
        "iscam", "IS-CAM", "Naidu 2020, arXiv:2010.03023", "nK F", score.iscam,
        cost_as_set="{samples}K F", options=score.ISCAM_OPTIONS,
    ),
    Method(
        "ablationcam", "Ablation-CAM", "Desai 2020, doi:10.1109/WACV45572.2020.9093360", "F+K T", ablation.ablationcam,
        weighted=True, slots_together=True, needs=("tail",), options=ablation.OPTIONS,
    ),
    _activation("eigencam", "Eigen-CAM", "Muhammad 2020, arXiv:2008.00299", compute=eigencam),
    _gradient("eigengradcam", "Eigen-Grad-CAM", "after Muhammad 2020", compute=eigengradcam),
    _gradient("segeigencam", "Seg-Eigen-CAM", "Chung 2025, doi:10.3390/app15137562", compute=segeigencam),
    _activation("kpcacam", "KPCA-CAM", "Karmani 2024, arXiv:2410.00267", compute=kpcacam),
    _activation("fem", "FEM", "Fuad 2020, doi:10.1109/IPTA50016.2020.9286629", compute=fem, weighted=True),
    _activation("lafam", "LaFAM", "Karjauv 2024, arXiv:2407.06059", compute=lafam),
    Method(
        "reciprocam", "Recipro-CAM", "Byun 2022, arXiv:2209.14074", "F+n T", reciprocam.reciprocam,
        slots_together=True, needs=("tail",), options=reciprocam.OPTIONS,
    ),
    _gradient(
        "groupcam", "Group-CAM", "Zhang 2021, arXiv:2103.13859", compute=groupcam.groupcam,
        cost="F+B+32F", cost_as_set="F+B+{groups}F", signed=False, needs=("scoring",), options=groupcam.OPTIONS,
    ),
    _pixels(
        "fullgrad", "FullGrad", "Srinivas 2019, arXiv:1905.00780", "F+B to the input", fullgrad,
        scope="network", needs=("network gradient",),
    ),
    _gradient_sum(
        "finercam", "Finer-CAM", "Zhang 2025, arXiv:2501.11309", compute=finercam.finercam,
        needs=("references",), rescore=finercam.contrast, options=finercam.OPTIONS,
    ),
    _gradient(
        "refinecam", "RefineCAM", "2026, arXiv:2605.14641", compute=refinecam.refinecam,
        scope="layers", signed=False, options=refinecam.OPTIONS,
    ),
    _gradient_sum(
        "shapleycam", "ShapleyCAM", "Cai 2025, arXiv:2501.06261", compute=shapleycam, cost="F+2B", needs=("curvature",),
    ),
    Method(
        "opticam", "Opti-CAM", "Zhang 2023, arXiv:2301.07002", "50(F+B)", opticam.opticam,
        needs=("scoring", "network gradient"), cost_as_set="{steps}(F+B)", options=opticam.OPTIONS,
    ),
    _pixels(
        "rise", "RISE", "Petsiuk 2018, arXiv:1806.07421", "1000F", rise.rise,
        scope="network", slots_together=True, needs=("scoring",), cost_as_set="{masks}F", options=rise.OPTIONS,
    ),
    _attention("rollout", "attention rollout", "Abnar 2020, arXiv:2005.00928", "F", rollout, class_specific=False),
    _attention("chefer", "generic attention explainability", "Chefer 2021, arXiv:2103.15679", "F+B", chefer),
    _attention("legrad", "LeGrad", "Bousselham 2025, arXiv:2404.03214", "F+L B", legrad),
    _pixels(
        "guidedbackprop", "guided backpropagation", "Springenberg 2015, arXiv:1412.6806", "F+B to the input",
        guidedbackprop, scope="network", needs=("network gradient", "relu"),
    ),
    _gradient(
        "guidedgradcam", "Guided Grad-CAM", "Selvaraju 2017, arXiv:1610.02391", compute=guidedgradcam,
        cost="F+B to the input", needs=("network gradient", "relu"),
    ),
    _activation("randomcam", "random weights", "a baseline", compute=randomcam, weighted=True),
)
# fmt: on

METHODS = MappingProxyType({method.key: method for method in _TABLE})
"""By key, in the order of ``cam methods``. Read-only."""
