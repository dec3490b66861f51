"""``cam eval``: how faithful the maps of methods are, and how well they point, over a set of images.

The maps come from the same loader, batches and explainer as those of a run; the metrics from :mod:`camcli.metrics`.

``options``    the flags
``evaluate``   the stream: batches of explanations to values per image
``entries``    methods and baselines, and how each makes its map
``measure``    all metrics of one entry on one batch, and the objects in the geometry of the inputs
``cost``       what the map of each method costs, in passes and in time
``reference``  the method that all others are compared with, and by which metric
``scorer``     class probabilities of altered inputs
``mosaics``    GridPG
``comparison`` entries in pairs, on the same images
``result``     figures with intervals, JSON, CSV
``recommend``  the best method and layer
``plot``       the bar plot
``best``       ``cam run --method best`` without an evaluation before it
"""

from camcli.evaluation.comparison import Comparison
from camcli.evaluation.entries import MethodEntry
from camcli.evaluation.evaluate import evaluate
from camcli.evaluation.options import EvalOptions
from camcli.evaluation.result import Evaluation, Recommendation

__all__ = ["Comparison", "EvalOptions", "Evaluation", "MethodEntry", "Recommendation", "evaluate"]
