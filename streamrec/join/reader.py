"""Reading and decoding a stream, ahead of who works on it."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

import numpy as np

from streamrec.clock import Clock
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import Decoded, decode_chunk, first_records
from streamrec.join.merge import Recorded, merged
from streamrec.transport.base import Chunk, LiveSource, Position, Source

__all__ = ["bounded", "limited", "read", "read_ahead"]

_T = TypeVar("_T")

#: After so long without anything the caller is told: it may have a commit to make, or a signal to obey. Short
#: beside the interval of live commits, which would else be late by this.
_IDLE_S = 0.02
#: How long the thread is waited for at the end: decoding a chunk takes less, reading from a pipe that gives
#: nothing cannot be interrupted, and such a thread is left to end with the process.
_LEAVE_S = 2.0


def read(
    source: Source,
    decoder: BlockDecoder,
    clock: Clock,
    wait_s: float,
    recorded: Recorded = Recorded(),  # noqa: B008
) -> Iterator[Decoded | None]:
    """All records of a source in the order in which they are joined and learned.

    None comes in between where there is nothing for a while. The arguments are those of `merged`; a source
    that is no `LiveSource` has one partition, and needs none of them.
    """
    if isinstance(source, LiveSource):
        return merged(source, decoder, clock, wait_s, recorded)
    return _chunks(source, decoder)


def _chunks(source: Source, decoder: BlockDecoder) -> Iterator[Decoded | None]:
    while (chunk := source.read()) is not None:
        yield decode_chunk(chunk, decoder) if chunk.data or chunk.damage else None


def limited(stream: Iterator[Decoded | None], limit: int | None) -> Iterator[Decoded | None]:
    """The first records of a stream, what cannot be used counted too; None: all of them."""
    while limit is None or limit > 0:
        try:
            decoded = next(stream)
        except StopIteration:
            return
        if decoded is not None and limit is not None:
            decoded = first_records(decoded, limit)
            limit -= decoded.n_records
        yield decoded


def bounded(source: Source, start: Position, end: Position) -> Source:
    """What lies between two positions of a source; it is sought to the first one."""
    source.seek(start)
    if isinstance(source, LiveSource):
        return _BoundedLive(source, start, end)
    return _Bounded(source, start, end)


class _Bounded:
    """Gives a source's chunks up to a position; never asks for more once all partitions are there."""

    def __init__(self, source: Source, start: Position, end: Position) -> None:
        self._source, self._end = source, end
        self._reached = {name: start.get(name, 0) for name in end if name in source.partitions}
        self.stream, self.partitions = source.stream, source.partitions
        self.seek, self.progress, self.close = source.seek, source.progress, source.close

    def ended(self, partition: str) -> bool:
        """Whether it is at its bound."""
        return partition not in self._reached or self._reached[partition] >= self._end[partition]

    def read(self) -> Chunk | None:
        """The next chunk, cut off at the bound."""
        if all(map(self.ended, self._reached)):
            return None
        chunk = self._source.read()
        if chunk is None or not (chunk.data or chunk.damage):
            return chunk
        if self.ended(chunk.partition):
            return chunk._replace(data=b"", damage=())
        end = self._end[chunk.partition]
        self._reached[chunk.partition] = chunk.end
        return _before(chunk, end)


class _BoundedLive(_Bounded):
    def __init__(self, source: LiveSource, start: Position, end: Position) -> None:
        super().__init__(source, start, end)
        self.hold, self.acknowledge = source.hold, source.acknowledge
        self.lags, self.lag, self.trouble = source.lags, source.lag, source.trouble


def _before(chunk: Chunk, end: int) -> Chunk:
    """The lines of a chunk before an offset at which a line begins."""
    damage = tuple(damage for damage in chunk.damage if damage.offset < end)
    if chunk.offsets is None:
        return chunk._replace(data=chunk.data[: max(0, end - chunk.offset)], damage=damage)
    n = int(np.searchsorted(chunk.offsets, end))
    newlines = np.flatnonzero(np.frombuffer(chunk.data, np.uint8) == ord("\n"))
    return chunk._replace(
        data=chunk.data[: int(newlines[n - 1]) + 1 if n else 0], offsets=chunk.offsets[:n], damage=damage
    )


def read_ahead(stream: Iterator[_T | None], depth: int) -> Generator[_T | None, None, None]:
    """A stream, read in a second thread while the caller works on what came before.

    Decoding is compiled and runs without the interpreter's lock, so the two really overlap. Where there is
    nothing for a while, None comes in between. An error of the source is raised here, after everything read
    before it. Closing the iterator stops the thread.

    Args:
        stream: used by that thread alone, with its source and decoder.
        depth: pieces that may wait.

    """
    waiting: queue.Queue[_T | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: _T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for decoded in stream:
                if decoded is not None:
                    offer(decoded)
                if stopped.is_set():
                    return
            offer(None)
        except BaseException as error:  # the caller's thread decides what it means
            offer(error)

    thread = threading.Thread(target=work, name="streamrec-reader", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = waiting.get(timeout=_IDLE_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(_LEAVE_S)
