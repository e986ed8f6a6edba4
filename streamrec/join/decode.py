"""Chunks of lines become decoded events that know where they stand."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamrec.events.block import EventBlock
from streamrec.events.decoder import BlockDecoder
from streamrec.join.joiner import Refused
from streamrec.join.places import Places, places_in
from streamrec.join.select import selected
from streamrec.transport.base import Chunk

__all__ = ["Decoded", "Turn", "decode_chunk", "first_records"]


class Turn(NamedTuple):
    """From here on, one partition is waited for or is not: what makes an order that time alone does not."""

    n_events: int  # events of the stream before it
    partition: str
    waited_for: bool


class Decoded(NamedTuple):
    """Some records of a stream, in order."""

    block: EventBlock
    data: bytes  # what the block's `start` and `end` refer to
    places: Places
    refused: Sequence[Refused]  # what is no event, in order; `decided` is the event that it comes before
    turns: Sequence[Turn] = ()  # taken since the `Decoded` before

    @property
    def n_records(self) -> int:
        """Events and what cannot be used; blank lines are neither."""
        return len(self.block) + len(self.refused)

    def line(self, i: int) -> bytes:
        """Event i as it came, without its newline."""
        return self.data[self.block.start[i] : self.block.end[i]]

    def lines(self) -> list[bytes]:
        """The events as they came, without newlines."""
        return [self.line(i) for i in range(len(self.block))]


def decode_chunk(chunk: Chunk, decoder: BlockDecoder) -> Decoded:
    """All lines of a chunk."""
    block, rejections = decoder.decode(chunk.data)
    n = len(block)
    starts = np.array([rejection.start for rejection in rejections], np.int64)
    before = np.searchsorted(block.start, starts).tolist() if rejections else []
    offset, offsets = _offsets(chunk, block.start), _offsets(chunk, starts).tolist()
    refused = [
        Refused(rejection.reason, chunk.partition, at, rejection.raw, i)
        for rejection, at, i in zip(rejections, offsets, before, strict=True)
    ]
    refused += [Refused(d.reason, d.partition, d.offset, d.raw, n) for d in chunk.damage]
    return Decoded(block, chunk.data, places_in(chunk.partition, offset, chunk.end), refused)


def _offsets(chunk: Chunk, starts: np.ndarray) -> np.ndarray:
    """Positions of the lines that start at these bytes, int64."""
    if chunk.offsets is None:
        return starts + chunk.offset
    if len(starts) == len(chunk.offsets):
        return chunk.offsets
    newlines = np.flatnonzero(np.frombuffer(chunk.data, np.uint8) == ord("\n"))
    return chunk.offsets[np.searchsorted(newlines, starts)]


def first_records(decoded: Decoded, n: int) -> Decoded:
    """What is left of it after its n-th record is cut off with all that follows."""
    if decoded.n_records <= n:
        return decoded
    # what comes before event i is taken before it, so record number i + j is event i after j refused ones
    n_refused = n_events = 0
    while n_events + n_refused < n:
        refused = decoded.refused
        if n_refused < len(refused) and refused[n_refused].decided <= n_events:
            n_refused += 1
        else:
            following = refused[n_refused].decided if n_refused < len(refused) else len(decoded.block)
            n_events = min(following, n - n_refused)
    places = decoded.places
    end = places.position(n_events)
    for left in decoded.refused[n_refused:]:
        end[left.partition] = min(end[left.partition], left.offset)
    block = selected(decoded.block, np.arange(n_events))
    return decoded._replace(
        block=block,
        places=Places(places.partitions, places.partition[:n_events], places.offset[:n_events], end),
        refused=decoded.refused[:n_refused],
    )
