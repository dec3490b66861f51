"""Metrics of maps: one small file each, pure functions of tensors.

Where not said otherwise inputs are (N, C, H, W) normalised, maps L (N, H, W) in [0, 1] at the size of the inputs (the
relu of the native map, scaled to [0, 1] and upsampled), classes (N,) int64, seeds one integer an image, and results one
value an image, NaN where it is not defined. A :class:`Scorer` gives class probabilities of altered inputs; no more than
a batch of them exists at a time.

``average`` ``win`` ``adcc``              the class under x ⊙ L
``deletion`` ``insertion`` ``road``       the class when pixels change by rank
``sparsity`` ``entropy``                  the native map alone
``pointing`` ``energy`` ``maxboxacc``     against boxes or masks
``gridpg``                                on mosaics of several images
``baselines``                             maps that know nothing of the model
``registry``                              all of them by key
"""

from camcli.metrics.adcc import adcc, coherency, complexity
from camcli.metrics.average import average_drop, average_gain, average_increase, masked_scores
from camcli.metrics.baselines import BASELINES, baseline
from camcli.metrics.curve import Curve
from camcli.metrics.deletion import deletion
from camcli.metrics.energy import energy
from camcli.metrics.entropy import entropy
from camcli.metrics.gridpg import grid_pointing
from camcli.metrics.impute import impute
from camcli.metrics.insertion import blur, insertion
from camcli.metrics.maxboxacc import box_hits, max_box_accuracy
from camcli.metrics.order import pixel_ranks
from camcli.metrics.pointing import pointing
from camcli.metrics.registry import METRICS, Metric, find_metrics
from camcli.metrics.road import Road, road
from camcli.metrics.scoring import Scorer
from camcli.metrics.sparsity import sparsity
from camcli.metrics.win import win

__all__ = [
    "BASELINES", "METRICS", "Curve", "Metric", "Road", "Scorer", "adcc", "average_drop", "average_gain",
    "average_increase", "baseline", "blur", "box_hits", "coherency", "complexity", "deletion", "energy",
    "entropy", "find_metrics", "grid_pointing", "impute", "insertion", "masked_scores",
    "max_box_accuracy", "pixel_ranks", "pointing", "road", "sparsity", "win",
]  # fmt: skip
