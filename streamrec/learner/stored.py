"""What a stored model says of itself, without its rows; and letting one that was stopped be learned again."""

import json
from collections.abc import Mapping
from typing import Any

from streamrec.clock import Clock
from streamrec.errors import StoreMismatch
from streamrec.evaluation.guards import released, stored_guards
from streamrec.evaluation.history import History
from streamrec.learner.loop import COPY, CUT_OFF, MODEL
from streamrec.learner.measures import GUARDS, METRICS
from streamrec.learner.progress import Progress
from streamrec.store.base import Commit, Store

__all__ = ["ORIGIN", "blobs_of", "described", "measured", "missing", "release", "small_state"]

#: Blob of a model that was rolled back: to what, and from where.
ORIGIN = "origin"


def blobs_of(store: Store, model: str) -> Mapping[str, bytes]:
    """The blobs of the newest generation; its reader leaves at once, so that no flush waits for it."""
    snapshot = store.load(model)
    pieces = iter(snapshot.pieces)
    next(pieces, None)
    if hasattr(pieces, "close"):
        pieces.close()
    return snapshot.blobs


def small_state(store: Store, model: str) -> Mapping[str, bytes]:
    """The blobs of a model.

    Raises:
        StoreMismatch: there is no such model.

    """
    blobs = blobs_of(store, model)
    if MODEL not in blobs:
        raise missing(store, model)
    return blobs


def missing(store: Store, model: str) -> StoreMismatch:
    """There is no such model."""
    names = ", ".join(name for name in store.models() if "@" not in name) or "none"
    return StoreMismatch(f"no model {model!r} in this store; models there: {names}")


def described(store: Store, model: str) -> dict[str, Any]:
    """What a person wants to know of a model's newest generation, or of a copy (MODEL@NAME).

    Raises:
        StoreMismatch: there is no such model.

    """
    head, blobs = store.head(model), small_state(store, model)
    progress = Progress.from_blobs(blobs)
    origin = {"rolled_back": json.loads(blobs[ORIGIN])} if ORIGIN in blobs else {}
    return {
        "model": model,
        **(json.loads(blobs[COPY]) if COPY in blobs else head._asdict()),
        "kind": json.loads(blobs[MODEL])["kind"],
        "cut_off": json.loads(blobs[CUT_OFF])["reason"] if CUT_OFF in blobs else None,
        "position": progress.position,
        "events": progress.events,
        **json.loads(blobs[METRICS]),
        **origin,
    }


def measured(store: Store, model: str) -> History:
    """How a model's predictions did, block by block.

    Raises:
        StoreMismatch: it is not there, or was learned before that was measured.

    """
    blobs = small_state(store, model)
    if GUARDS not in blobs:
        raise StoreMismatch(f"model {model!r}: learned by another version, without blocks: learn it anew")
    return stored_guards(blobs[GUARDS]).history


def release(store: Store, model: str, clock: Clock) -> str:
    """Let a model that its guards stopped be learned again, from its last commit; returns why it was stopped.

    What it was stopped by is learned, and what comes then is compared with what comes after that.

    Raises:
        StoreMismatch: it was not stopped, or is not there.

    """
    if CUT_OFF not in small_state(store, model):
        raise StoreMismatch(f"model {model!r}: its guards did not stop it: nothing to release")
    lease = store.acquire(model)
    try:
        head, blobs = store.head(model), small_state(store, model)
        cut_off = json.loads(blobs[CUT_OFF])
        guards = released(blobs[GUARDS], cut_off["ahead"])
        lease.commit(Commit(head.seq + 1, {}, {CUT_OFF: b"", GUARDS: guards}, clock.now_ms()))
    finally:
        lease.close(flush=False)
    reason: str = cut_off["reason"]
    return reason
