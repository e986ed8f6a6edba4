"""Requests to rank → columns of the events that their candidates are, each byte read once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamrec.events.block import Examples
from streamrec.events.columns import Columns
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
#: Bodies of at most so many bytes share one memory, which never has room for fewer than the other number.
_KEPT_BYTES, _USUAL_BYTES = 1 << 22, 1 << 18
_F, _W = Frame(), Words()
_GIVEN = np.array([_W.base, _W.most_repeats, _W.most_k, _W.room, _W.k, _W.time_ms])
_KEY = hash_text("rank")
_ALL = np.arange(10_000)  # numbers of candidates, of whom mostly none is left


class Request(NamedTuple):
    """What a body asks for, N candidates; valid until the decoder's next one.

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
    examples: Examples  # B; `at` gives them their time
    fields: Sequence[str]  # the decoder's names; it may meet more of them later

    def candidate(self, i: int) -> bytes:
        """The object of a candidate."""
        return self.body[self.spans[i, FIRST_BYTE] : self.spans[i, PAST]]

    def items(self, places: np.ndarray) -> list[bytes]:
        """The items of some candidates as they are written, JSON without escapes; of one that is left, no
        matter what.
        """
        spans = self.spans[places, ITEM_AT : ITEM_END + 1].tolist()
        return [self.body[at:end] if at else b"null" for at, end in spans]

    def at(self, time_ms: int) -> Examples:
        """The examples at this time."""
        self.examples.time_ms[:] = time_ms
        return self.examples


class _Room:
    """Memory for one request of up to so many bytes, used again for the next one: fresh pages cost as much as
    reading does.
    """

    def __init__(self, n_bytes: int, most: int) -> None:
        self.n_bytes, self.most = n_bytes, most
        n = min(most, n_bytes // _MIN_CANDIDATE_BYTES + 1)
        self.spans = np.empty((n, SPAN_WORDS), np.int64)
        self.items, self.offsets = np.empty(n, np.uint64), np.empty(n + 1, np.int64)
        n_entries = n_bytes + _MOST_REPEATS  # where the candidates are read twice: two bytes an entry
        entries = [np.empty(n_entries, dtype) for dtype in (np.int32, np.uint8, np.uint64)]
        self.field, self.kind, self.value = entries
        nothing = dict.fromkeys(Columns._fields, self.items)  # never written
        columns = Columns(
            **nothing
            | {
                "item": self.items,
                "entry_offsets": self.offsets,
                "entry_field": self.field,
                "entry_kind": self.kind,
                "entry_value": self.value,
            }
        )
        self.addresses = np.array([column.ctypes.data for column in columns], np.int64)
        self.zeros, self.keys = np.zeros(n, np.float32), np.full(n, _KEY, np.uint64)
        self.ones, self.roles = np.ones(n, np.float32), np.full(n, FINAL, np.uint8)
        self.chosen, self.times = np.zeros(n, np.bool_), np.zeros(n, np.int64)


class RequestDecoder(BlockDecoder):
    """A `BlockDecoder` that also decodes requests, with the feature names that it has met in lines."""

    _room: _Room | None = None

    def decode_request(self, body: bytes, most: int) -> Request | None:
        """What is asked for; None where that, or whether it is valid, is not known here.

        Args:
            body: JSON as `serving.api.RankRequest` describes it.
            most: candidates, and what `k` may be.

        """
        if b"\n" in body:
            body = body.replace(b"\n", b"\t")
        n_bytes = self._load(body)
        room, words = self._room_for(n_bytes, most), np.zeros(len(_W), np.int64)
        frame, base = self._frame, self._buffer.ctypes.data
        words[_GIVEN] = base, _MOST_REPEATS, most, MAX_ENTRIES, ABSENT, ABSENT
        point(frame, self._table)
        frame[_F.type : _F.entry_value + 1] = room.addresses
        frame[_F.at], frame[_F.n_entries] = base, 0
        if not n_bytes or not scan_request(frame, words, room.spans[:most]):
            return None
        given = Words(*words.tolist())
        return _request(body, given, room, self.fields)

    def _room_for(self, n_bytes: int, most: int) -> _Room:
        room = self._room
        if room is None or room.n_bytes < n_bytes or room.most < most:
            room = _Room(max(n_bytes + n_bytes // 4, _USUAL_BYTES), most)
            if n_bytes <= _KEPT_BYTES:
                self._room = room
        return room


def _request(body: bytes, given: Words, room: _Room, fields: Sequence[str]) -> Request:
    spans = room.spans[: given.n_candidates]
    taken, left = _ALL[: len(spans)], _ALL[:0]
    if given.n_taken < len(spans) or len(spans) > len(_ALL):
        is_left = spans[:, ITEM_AT] < 0
        taken, left = np.flatnonzero(~is_left), np.flatnonzero(is_left)
    return Request(
        body,
        body[given.user_at : given.user_end] or b"null",
        body[given.features_at : given.features_end] or b"{}",
        None if given.k == ABSENT else given.k,
        None if given.time_ms == ABSENT else given.time_ms,
        spans,
        taken,
        left,
        _examples(given, room),
        fields,
    )


def _examples(given: Words, room: _Room) -> Examples:
    """As the learner would see them: a label that nobody reads, the weight of one."""
    n = given.n_taken
    offsets = room.offsets[: n + 1]
    last = int(offsets[-1])
    return Examples(
        room.times[:n],
        room.keys[:n],
        np.full(n, np.int64(given.user)).view(np.uint64),
        room.items[:n],
        room.zeros[:n],
        room.ones[:n],
        room.roles[:n],
        room.chosen[:n],
        offsets,
        room.field[:last],
        room.kind[:last],
        room.value[:last],
    )
