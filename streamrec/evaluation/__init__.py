"""How good the model is: progressive validation, slices, learning curves."""

from streamrec.evaluation.curves import Curves, plot
from streamrec.evaluation.metrics import ProgressiveMetrics
from streamrec.evaluation.slices import SliceTable

__all__ = ["Curves", "ProgressiveMetrics", "SliceTable", "plot"]
