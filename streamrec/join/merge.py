"""Several partitions as one stream: ordered by (event time, partition, offset).

The order is that of a merge by heads: of all partitions' next events, the one of the earliest time is taken,
ties by the order of the partitions. A record without a time (one that cannot be used) follows the one before
it in its partition. For this every partition must have its next event here. One that has none is waited for
while the broker has more of it, and for a while otherwise; then the others go on without it until it has
something again. Only these turns depend on timing. They are handed out with the events, to be stored with
what was learned from them, and an order is taken again by following them.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from streamrec.clock import Clock
from streamrec.events.block import EventBlock
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import Decoded, Turn, decode_chunk
from streamrec.join.joiner import Refused
from streamrec.join.places import Places
from streamrec.join.select import selected, sliced, together
from streamrec.transport.base import LiveSource, Position

__all__ = ["Recorded", "merged"]

#: Decoded chunks of one partition that may wait for the others.
_MOST_WAITING = 3
#: Earlier than every event.
_BEFORE_ALL = -(2**62)


class Recorded(NamedTuple):
    """What is known of a stream's order before it is read.

    Attributes:
        position: where reading begins.
        n_events: merged before that.
        turns: taken so far, oldest first, those before the position too.
        until: number of events up to which the order is the recorded one.

    """

    position: Position = MappingProxyType({})
    n_events: int = 0
    turns: Sequence[Turn] = ()
    until: int = 0


def merged(
    source: LiveSource, decoder: BlockDecoder, clock: Clock, wait_s: float, recorded: Recorded
) -> Iterator[Decoded | None]:
    """All records of a source, in order; None where nothing came for a while.

    Args:
        source: read from where it stands, which is the recorded position.
        decoder: of its lines.
        clock: for waiting.
        wait_s: how long a partition is waited for that has nothing at the broker either.
        recorded: the order so far, to be followed up to where it ends.

    """
    return _Merge(source, decoder, clock, wait_s, recorded).steps()


class _Part(NamedTuple):
    """Events of one partition that are handed out together."""

    partition: int
    piece: Decoded
    begin: int
    end: int
    refused: Sequence[Refused]  # that come before or between them, or right after; `decided` as in the piece


class _Partition:
    """What has been read of one partition and not been handed out."""

    def __init__(self, name: str, number: int, position: int | None) -> None:
        self.name = name
        self.number = number
        self.position = position  # next offset to hand out; None: its beginning
        self.waited_for = False
        self.waiting: deque[Decoded] = deque()
        self.empty_since_s: float | None = None
        self._at = self._n_refused = 0  # of waiting[0], handed out

    def times_ms(self) -> np.ndarray:
        """Of the events that are left of the first piece, each the latest so far: int64, ascending."""
        return np.maximum.accumulate(self.waiting[0].block.time_ms[self._at :])

    def take(self, n: int) -> _Part:
        """Hand out n more events of the first piece, and what cannot be used up to the next one."""
        piece, begin, end = self.waiting[0], self._at, self._at + n
        left = piece.refused[self._n_refused :]
        refused = [each for each in left if each.decided <= end]
        following = [each.offset for each in left[len(refused) : len(refused) + 1]]
        following += piece.places.offset[end : end + 1].tolist()
        self.position = min(following, default=piece.places.end[self.name])
        self._at, self._n_refused = end, self._n_refused + len(refused)
        if not following:
            self.waiting.popleft()
            self._at = self._n_refused = 0
        return _Part(self.number, piece, begin, end, refused)


class _Merge:
    def __init__(
        self, source: LiveSource, decoder: BlockDecoder, clock: Clock, wait_s: float, recorded: Recorded
    ) -> None:
        self._source, self._decoder, self._clock, self._wait_s = source, decoder, clock, wait_s
        self._start: Position = recorded.position
        self._n, self._until = recorded.n_events, recorded.until
        self._recorded = deque(recorded.turns)
        self._turns: list[Turn] = []
        self._partitions: dict[str, _Partition] = {}
        self._over = False
        for name in source.partitions:
            partition = self._partition(name)
            if not recorded.turns:
                self._turn(partition, True)

    def steps(self) -> Iterator[Decoded | None]:
        """See `merged`."""
        while True:
            self._follow()
            partitions = list(self._partitions.values())
            missing = [p for p in partitions if p.waited_for and not p.waiting and not self._ended(p)]
            ready = [p for p in partitions if p.waited_for and p.waiting]
            if missing or not (ready or self._over):
                yield from self._read(missing)
            elif ready:
                yield self._step(ready)
            elif not self._resume(partitions):
                return

    def _ended(self, partition: _Partition) -> bool:
        return self._over or self._source.ended(partition.name)

    def _partition(self, name: str) -> _Partition:
        if name not in self._partitions:
            self._partitions[name] = _Partition(name, len(self._partitions), self._start.get(name))
        return self._partitions[name]

    def _turn(self, partition: _Partition, waited_for: bool) -> None:
        partition.waited_for, partition.empty_since_s = waited_for, None
        self._turns.append(Turn(self._n, partition.name, waited_for))

    def _follow(self) -> None:
        """Take the recorded turns that are due; after the last of them, wait again for who is back."""
        while self._recorded and self._recorded[0].n_events <= self._n:
            turn = self._recorded.popleft()
            self._partition(turn.partition).waited_for = turn.waited_for
        if self._n >= self._until:
            self._resume(list(self._partitions.values()))

    def _resume(self, partitions: Sequence[_Partition]) -> bool:
        """Wait again for partitions that have something; whether there are any."""
        back = [p for p in partitions if p.waiting and not p.waited_for]
        for partition in back:
            self._turn(partition, True)
        return bool(back)

    def _read(self, missing: Sequence[_Partition]) -> Iterator[None]:
        """One chunk more, if there is one; else decide about the partitions that are missing."""
        self._source.hold([p.name for p in self._partitions.values() if len(p.waiting) >= _MOST_WAITING])
        chunk = self._source.read()
        if chunk is None:
            self._over = True
        elif chunk.data or chunk.damage:
            partition = self._partition(chunk.partition)
            partition.waiting.append(decode_chunk(chunk, self._decoder))
            partition.empty_since_s = None
        else:
            yield None
        if self._n >= self._until:
            self._lose_patience([p for p in missing if not p.waiting])

    def _lose_patience(self, missing: Sequence[_Partition]) -> None:
        """Go on without partitions that were empty for long, once there is something to go on with."""
        now_s = self._clock.monotonic_s()
        others_wait = any(p.waiting for p in self._partitions.values())
        for partition in missing:
            if self._source.lags(partition.name):
                partition.empty_since_s = None
            elif partition.empty_since_s is None:
                partition.empty_since_s = now_s
            elif others_wait and now_s - partition.empty_since_s >= self._wait_s:
                self._turn(partition, False)

    def _step(self, ready: Sequence[_Partition]) -> Decoded:
        """Hand out events until one of these partitions has no more here, or up to the next recorded turn."""
        times = [partition.times_ms() for partition in ready]
        counts = _counts(times)
        if self._recorded and sum(counts) > self._recorded[0].n_events - self._n:
            counts = _first(times, counts, self._recorded[0].n_events - self._n)
        order = _order([of[:count] for of, count in zip(times, counts, strict=True)])
        parts = [partition.take(count) for partition, count in zip(ready, counts, strict=True)]
        self._n += len(order)
        return self._decoded([part for part in parts if part.end > part.begin or part.refused], order)

    def _decoded(self, parts: Sequence[_Part], order: np.ndarray) -> Decoded:
        names = tuple(self._partitions)
        end = {name: p.position for name, p in self._partitions.items() if p.position is not None}
        turns, self._turns = self._turns, []
        if len(parts) == 1 and (parts[0].begin, parts[0].end) == (0, len(parts[0].piece.block)):
            piece = parts[0].piece
            numbers = np.full(len(piece.block), parts[0].partition, np.int32)
            places = Places(names, numbers, piece.places.offset, end)
            return piece._replace(places=places, refused=parts[0].refused, turns=turns)
        blocks = [sliced(part.piece.block, part.begin, part.end) for part in parts]
        cuts = [_bytes_of(block) for block in blocks]
        data = [part.piece.data[start:stop] for part, (start, stop) in zip(parts, cuts, strict=True)]
        ats = np.cumsum([0, *map(len, data)])
        block = together(blocks, [at - start for at, (start, _) in zip(ats.tolist(), cuts, strict=False)])
        numbers = np.repeat(np.array([p.partition for p in parts], np.int32), [len(b) for b in blocks])
        offsets = np.concatenate([part.piece.places.offset[part.begin : part.end] for part in parts])
        places = Places(names, numbers[order], offsets[order], end)
        return Decoded(selected(block, order), b"".join(data), places, _refused(parts, order), turns)


def _counts(times: Sequence[np.ndarray]) -> list[int]:
    """How many events of each partition come before, or are, the last that one of them has here."""
    lasts = [int(of[-1]) if len(of) else _BEFORE_ALL for of in times]
    least = min(lasts)
    first = lasts.index(least)
    sides: list[Literal["left", "right"]] = ["right" if i <= first else "left" for i in range(len(times))]
    return [int(np.searchsorted(of, least, side)) for of, side in zip(times, sides, strict=True)]


def _order(times: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers of the events, counted through all partitions, in the order of time; equal ones as counted."""
    return np.argsort(np.concatenate(times), kind="stable") if len(times) > 1 else np.arange(len(times[0]))


def _first(times: Sequence[np.ndarray], counts: Sequence[int], n: int) -> list[int]:
    """Of so many events of each partition, how many are among the first n."""
    order = _order([of[:count] for of, count in zip(times, counts, strict=True)])[:n]
    whose = np.repeat(np.arange(len(counts)), counts)[order]
    return np.bincount(whose, minlength=len(counts)).tolist()


def _bytes_of(block: EventBlock) -> tuple[int, int]:
    """Where its lines are in what it was decoded from."""
    return (int(block.start[0]), int(block.end[-1])) if len(block) else (0, 0)


def _refused(parts: Sequence[_Part], order: np.ndarray) -> list[Refused]:
    """What cannot be used, each right after the event that it followed in its partition."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    found, first = [], 0
    for part in parts:
        for each in part.refused:
            after = each.decided - 1
            before = int(rank[first + after - part.begin]) + 1 if after >= part.begin else 0
            found.append(each._replace(decided=before))
        first += part.end - part.begin
    return sorted(found, key=lambda each: each.decided)
