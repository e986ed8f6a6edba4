"""A request as JSON lines of `example` events, which the learner's own decoder and model score.

The event of a candidate is {user, item, time, features}: the request's features and the candidate's; the
candidate's win where both have one name. Nothing else enters, so a score is what the learner itself would
have predicted for that event at the same sequence number, bit for bit.
"""

from collections.abc import Sequence

import numpy as np
from pydantic_core import to_json

from streamrec.errors import RecordError, UsageError
from streamrec.serving.api import RankRequest
from streamrec.serving.generation import Mirror

__all__ = ["example_lines", "head", "lines_at", "scores"]


def example_lines(request: RankRequest, time_ms: int) -> bytes:
    """One line per candidate, in order; bytes are joined, merging 500 dictionaries costs twice the time."""
    start = head(time_ms, request.user)
    shared = request.features
    shared_json = to_json(shared)[1:-1]
    parts = []
    for candidate in request.candidates:
        own = candidate.features
        if not shared or not own:
            features = to_json(own or shared)
        elif shared.keys().isdisjoint(own):
            features = b"{" + shared_json + b"," + to_json(own)[1:]
        else:
            features = to_json(shared | own)
        parts.append(start + _item_member(candidate.item) + b',"features":' + features + b"}\n")
    return b"".join(parts)


def lines_at(lines: bytes, places: Sequence[int]) -> bytes:
    """Those of these numbers, in this order."""
    each = lines.split(b"\n")
    return b"".join([each[i] + b"\n" for i in places])


def head(time_ms: int, user: str | None) -> bytes:
    """The canonical start of an `example` line; its label is not used."""
    start = f'{{"type":"example","id":"rank","time":{time_ms},"label":0'.encode()
    return start if user is None else start + b',"user":' + to_json(user)


def _item_member(item: str | None) -> bytes:
    """The item as the next member of a line; none without one."""
    return b"" if item is None else b',"item":' + to_json(item)


def scores(mirror: Mirror, lines: bytes, n: int) -> np.ndarray:
    """Probabilities and confidences float32 (2, n) of n lines; the empty request costs no call.

    Raises:
        UsageError: a line cannot be decoded.

    """
    if n == 0:
        return np.empty((2, 0), dtype=np.float32)
    try:
        scored = mirror.score_lines(lines)
    except RecordError as error:
        raise UsageError(f"candidates.{error.number}: {error}") from None
    if scored.shape[1] != n:
        raise UsageError(f"candidates: {n - scored.shape[1]} of {n} cannot be decoded as events")
    return scored
