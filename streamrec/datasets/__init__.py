"""Public data sets → recorded streams."""

from streamrec.datasets.registry import DATASETS, convert
from streamrec.datasets.rows import BadRow, OnBadRow

__all__ = ["DATASETS", "BadRow", "OnBadRow", "convert"]
