"""A topic as a recorded stream: its records as lines, in the order in which they were or would be learned."""

from collections.abc import Iterator
from typing import NamedTuple

from streamrec.clock import Clock
from streamrec.errors import SourceError
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import Decoded, Turn
from streamrec.join.merge import Recorded
from streamrec.join.reader import bounded, read
from streamrec.learner.order import ORDER, Order
from streamrec.learner.progress import Progress
from streamrec.store.base import Store
from streamrec.transport.base import LiveSource, Position

__all__ = ["Learned", "learned_by", "recorded_lines"]


class Learned(NamedTuple):
    """What a model has learned of a stream."""

    position: Position  # where it is
    turns: list[Turn]  # the order up to there
    n_events: int  # how many there are


def learned_by(store: Store, model: str, stream: str) -> Learned:
    """How a stored model came to where its last commit is.

    Raises:
        SourceError: there is no such model, or it never learned this stream.

    """
    snapshot = store.load(model, shadow=True)
    pieces = [rows for table, rows in snapshot.pieces if table == ORDER]
    if not snapshot.head.seq:
        raise SourceError(
            f"no model {model!r} in this store: models there: {', '.join(store.models()) or 'none'}"
        )
    progress = Progress.from_blobs(snapshot.blobs)
    if stream not in progress.joiners:
        known = ", ".join(progress.joiners) or "nothing"
        raise SourceError(f"model {model!r} has not learned {stream}, but {known}")
    order = Order(progress.names)
    order.restore(pieces)
    return Learned(progress.position, order.turns(stream), progress.joiners[stream]["until"])


def recorded_lines(
    source: LiveSource, clock: Clock, wait_s: float, max_line_bytes: int, learned: Learned | None = None
) -> Iterator[bytes]:
    """The records as blocks of lines, what cannot be used too.

    Args:
        source: opened with an end, or to be read up to where it was learned.
        clock: for waiting.
        wait_s: how long a partition is waited for, as a learner would.
        max_line_bytes: a longer record became damage; its line is again one that is too long.
        learned: take the order of this model, up to its position; None: the order of a new one, to the end.

    Raises:
        SourceError: the topics no longer have what was learned.

    """
    if learned is None:
        stream = read(source, BlockDecoder(), clock, wait_s)
    else:
        past = bounded(source, {}, learned.position)
        recorded = Recorded({}, 0, learned.turns, learned.n_events)
        stream = read(past, BlockDecoder(), clock, wait_s, recorded)
    n_events = 0
    for decoded in stream:
        if decoded is not None:
            n_events += len(decoded.block)
            yield b"".join(_lines(decoded, max_line_bytes))
    if learned is not None and n_events != learned.n_events:
        raise SourceError(
            f"{source.stream}: {learned.n_events:,} events were learned, but there are {n_events:,} up to "
            "there: were records deleted (retention)?"
        )


def _lines(decoded: Decoded, max_line_bytes: int) -> Iterator[bytes]:
    """Events and what cannot be used, as they came one after the other."""
    refused = iter(decoded.refused)
    following = next(refused, None)
    for i, line in enumerate([*decoded.lines(), None]):
        while following is not None and (following.decided <= i or line is None):
            # a record that was cut off must not become valid by that
            cut = following.raw if len(following.raw) < max_line_bytes else following.raw + b" "
            yield cut + b"\n"
            following = next(refused, None)
        if line is not None:
            yield line + b"\n"
