"""Requests to rank → columns of the events that their candidates are, each byte read once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamrec.events.block import Examples
from streamrec.events.columns import Columns, allocate
from streamrec.events.decoder import BlockDecoder
from streamrec.events.feedback import FINAL
from streamrec.events.frame import Frame, point
from streamrec.events.model import MAX_ENTRIES
from streamrec.events.scan_request import (
    ABSENT,
    FIRST_BYTE,
    ITEM_AT,
    ITEM_END,
    PAST,
    SPAN_WORDS,
    Words,
    scan_request,
)
from streamrec.hashing import hash_text

__all__ = ["Request", "RequestDecoder"]

#: `{},` is the shortest candidate.
_MIN_CANDIDATE_BYTES = 3
#: Copies of shared entries in one request, 13 bytes each; 10,000 candidates may share a hundred.
_MOST_REPEATS = 1 << 20
_F, _W = Frame(), Words()
_KEY = hash_text("rank")


class Request(NamedTuple):
    """What a body asks for, N candidates.

    Candidates that are left are known by their bytes only: they need not be valid.
    """

    body: bytes  # line breaks, which are but white space in it, as tabs
    user: bytes  # as it is written in JSON, null without one
    features: bytes  # of all candidates, likewise
    k: int | None
    time_ms: int | None
    spans: np.ndarray  # int64 (N, SPAN_WORDS): places in the body, see `scan_request`
    taken: np.ndarray  # int64 (B,): those candidates that are examples
    left: np.ndarray  # int64 (N − B,): the others
    examples: Examples  # B, without their time
    fields: Sequence[str]  # the decoder's names; it may meet more of them later

    def candidate(self, i: int) -> bytes:
        """The object of a candidate."""
        return self.body[self.spans[i, FIRST_BYTE] : self.spans[i, PAST]]

    def item(self, i: int) -> bytes:
        """The item of a candidate that was taken, as it is written: JSON without escapes."""
        at = self.spans[i, ITEM_AT]
        return self.body[at : self.spans[i, ITEM_END]] if at else b"null"

    def at(self, time_ms: int) -> Examples:
        """The examples at this time."""
        times = np.full(len(self.examples), time_ms, np.int64)
        return Examples(times, *self.examples[1:])


class RequestDecoder(BlockDecoder):
    """A `BlockDecoder` that also decodes requests, with the feature names that it has met in lines."""

    def decode_request(self, body: bytes, most: int) -> Request | None:
        """What is asked for; None where that, or whether it is valid, is not known here.

        Args:
            body: JSON as `serving.api.RankRequest` describes it.
            most: candidates, and what `k` may be.

        """
        body = body.replace(b"\n", b"\t")
        n_bytes = self._load(body + b"\n")
        columns, words = _columns(n_bytes), np.zeros(len(_W), np.int64)
        words[[_W.most_repeats, _W.most_k, _W.room]] = _MOST_REPEATS, most, MAX_ENTRIES
        words[[_W.k, _W.time_ms]] = ABSENT
        spans = np.empty((min(most, n_bytes // _MIN_CANDIDATE_BYTES + 1), SPAN_WORDS), np.int64)
        frame, base = self._frame, self._buffer.ctypes.data
        frame[[_F.at, _F.n_entries]] = base, 0
        point(frame, self._table, columns)
        if not scan_request(frame, words, spans):
            return None
        given = Words(*words.tolist())
        where = spans[: given.n_candidates]
        where = np.where(where > 0, where - base, where)
        return _request(body, _relative(given, base), where, _examples(given, columns), self.fields)


def _columns(n_bytes: int) -> Columns:
    """Room for a request: its candidates' entries perhaps twice, and the copies of shared ones."""
    columns = allocate(n_bytes)
    n_events = n_bytes // _MIN_CANDIDATE_BYTES + 2
    entries = {f"entry_{name}": dtype for name, dtype in (("field", "i4"), ("kind", "u1"), ("value", "u8"))}
    wider = {name: np.empty(n_bytes + _MOST_REPEATS, dtype) for name, dtype in entries.items()}
    return columns._replace(
        item=np.empty(n_events, np.uint64), entry_offsets=np.empty(n_events, np.int64), **wider
    )


def _relative(given: Words, base: int) -> Words:
    """With places in the body, 0 for none."""
    names = ("user_at", "user_end", "features_at", "features_end")
    return given._replace(**{name: max(getattr(given, name) - base, 0) for name in names})


def _request(
    body: bytes, given: Words, spans: np.ndarray, examples: Examples, fields: Sequence[str]
) -> Request:
    is_left = spans[:, ITEM_AT] < 0
    return Request(
        body,
        body[given.user_at : given.user_end] or b"null",
        body[given.features_at : given.features_end] or b"{}",
        None if given.k == ABSENT else given.k,
        None if given.time_ms == ABSENT else given.time_ms,
        spans,
        np.flatnonzero(~is_left),
        np.flatnonzero(is_left),
        examples,
        fields,
    )


def _examples(given: Words, columns: Columns) -> Examples:
    """As the learner would see them: a label that nobody reads, the weight of one."""
    n = given.n_taken
    offsets = columns.entry_offsets[: n + 1]
    last = int(offsets[-1])
    return Examples(
        np.zeros(n, np.int64),
        np.full(n, _KEY, np.uint64),
        np.full(n, np.int64(given.user)).view(np.uint64),
        columns.item[:n],
        np.zeros(n, np.float32),
        np.ones(n, np.float32),
        np.full(n, FINAL, np.uint8),
        np.zeros(n, np.bool_),
        offsets,
        columns.entry_field[:last],
        columns.entry_kind[:last],
        columns.entry_value[:last],
    )
