"""Reading and decoding ahead of the learner, in a thread of its own."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import NamedTuple

from streamrec.events.block import EventBlock, Rejection
from streamrec.events.codec import is_blank
from streamrec.events.decoder import BlockDecoder
from streamrec.transport.base import Chunk, Source

__all__ = ["Decoded", "decode_chunk", "read_ahead"]

#: After so long without a chunk the caller is told: it may have a commit to make, or a signal to obey.
_IDLE_S = 0.1
#: How long the thread is waited for at the end: decoding a chunk takes less, reading from a pipe that gives
#: nothing cannot be interrupted, and such a thread is left to end with the process.
_LEAVE_S = 2.0


class Decoded(NamedTuple):
    """One chunk and its events."""

    chunk: Chunk
    block: EventBlock
    rejections: list[Rejection]

    @property
    def n_records(self) -> int:
        """Events and what cannot be used; blank lines are neither."""
        return len(self.block) + len(self.rejections) + len(self.chunk.damage)


def decode_chunk(chunk: Chunk, decoder: BlockDecoder) -> Decoded:
    """Decode all lines of a chunk."""
    block, rejections = decoder.decode(chunk.data)
    return Decoded(chunk, block, rejections)


def read_ahead(
    source: Source, decoder: BlockDecoder, depth: int, limit: int | None = None
) -> Generator[Decoded | None, None, None]:
    """All chunks of a source, decoded in a second thread while the caller works on the ones before.

    Decoding is compiled and runs without the interpreter's lock, so the two really overlap. Where the source
    has nothing for a while, None comes in between. An error of the source is raised here, after everything
    read before it. Closing the iterator stops the thread.

    Args:
        source: read by that thread alone, from where it stands.
        decoder: used by that thread alone.
        depth: chunks that may wait.
        limit: records after which to stop, what cannot be used counted too; None reads to the end.

    """
    waiting: queue.Queue[Decoded | BaseException | None] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: Decoded | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for decoded in _decoded(source, decoder, limit):
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


def _decoded(source: Source, decoder: BlockDecoder, limit: int | None) -> Iterator[Decoded]:
    while limit is None or limit > 0:
        chunk = source.read()
        if chunk is None:
            return
        if limit is None:
            yield decode_chunk(chunk, decoder)
            continue
        decoded = decode_chunk(_first_records(chunk, limit), decoder)
        limit -= decoded.n_records
        yield decoded


def _first_records(chunk: Chunk, n: int) -> Chunk:
    """The chunk cut after its n-th record: blank lines are none, damage (it follows the lines) is."""
    if chunk.data.count(b"\n") + len(chunk.damage) <= n:
        return chunk
    n_lines = end = 0
    while n_lines < n and end < len(chunk.data):
        start, end = end, chunk.data.index(b"\n", end) + 1
        n_lines += not is_blank(chunk.data[start:end])
    if n_lines < n:
        return chunk
    return chunk._replace(data=chunk.data[:end], damage=(), end_offset=chunk.offset + end)
