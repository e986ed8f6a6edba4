"""Item vectors, and the best of them for a query, while they change."""

from streamrec.index.approximate import ApproximateIndex, ApproximateSettings
from streamrec.index.generation import Generation
from streamrec.index.item_index import ItemIndex
from streamrec.index.recall import RecallMonitor
from streamrec.index.request import Found, Predicate
from streamrec.index.settings import IndexSettings

__all__ = [
    "ApproximateIndex",
    "ApproximateSettings",
    "Found",
    "Generation",
    "IndexSettings",
    "ItemIndex",
    "Predicate",
    "RecallMonitor",
]
