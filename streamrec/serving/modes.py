"""The two modes of a scorer: a mirror of the whole model, or some rows of it and the store for the others."""

from streamrec.clock import Clock
from streamrec.errors import UsageError
from streamrec.serving.scorer import Scorer
from streamrec.serving.settings import LookupSettings, RetrievalSettings
from streamrec.store.base import RowStore, Store

__all__ = ["Mode", "scorer_of"]

#: What a mirror may be told, or that it shall be no mirror; None is a mirror with the defaults.
Mode = RetrievalSettings | LookupSettings | None


def scorer_of(store: Store, model: str, clock: Clock, mode: Mode = None) -> Scorer:
    """A scorer in this mode, not started yet.

    Raises:
        UsageError: rows cannot be looked up in this store.

    """
    if not isinstance(mode, LookupSettings):
        return Scorer(store, model, clock, retrieval=mode)
    from streamrec.serving.lookup import LookupScorer

    if not isinstance(store, RowStore):
        raise UsageError(f"a {type(store).__name__} gives no single rows: serve without --lookup")
    store.look_up(model, {})  # what refuses it refuses now
    return LookupScorer(store, model, clock, mode)
