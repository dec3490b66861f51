"""All methods by key, in the order of ``cam methods``.

To add one:

1. ``camcli/methods/<key>.py``: the formula as a function of a :class:`~camcli.methods.base.Pass` and the options, and
   ``METHOD``, its description. The fields of :class:`~camcli.methods.base.Method` state everything that the rest of the
   package needs of a method; no other module names its key.
2. Here: its module, in the import and at its place in the table.
3. ``tests/methods/test_formulas.py``: in ``FORMULAS`` its formula once more, in float64 and with loops.
"""

from collections.abc import Mapping
from types import MappingProxyType

from camcli.methods import (  # isort: skip
    ablationcam, cam, chefer, eigencam, eigengradcam, fem, finercam, fullgrad, gradcam, gradcamelementwise,
    gradcampp, groupcam, guidedbackprop, guidedgradcam, hirescam, iscam, kpcacam, lafam, layercam, legrad, opticam,
    pathcam, randomcam, reciprocam, refinecam, rise, rollout, scorecam, segeigencam, shapleycam, smoothgradcampp, sscam,
    xgradcam,
)  # fmt: skip
from camcli.methods.base import Method

_TABLE = (
    cam, gradcam, gradcampp, smoothgradcampp, xgradcam, hirescam, gradcamelementwise, layercam, scorecam, sscam,
    iscam, ablationcam, eigencam, eigengradcam, segeigencam, kpcacam, fem, lafam, reciprocam, groupcam, fullgrad,
    finercam, refinecam, pathcam, shapleycam, opticam, rise, rollout, chefer, legrad, guidedbackprop, guidedgradcam,
    randomcam,
)  # fmt: skip

METHODS: Mapping[str, Method] = MappingProxyType({module.METHOD.key: module.METHOD for module in _TABLE})
"""Read-only."""
