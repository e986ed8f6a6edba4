"""Reading and decoding ahead of the learner, in a thread of its own."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import NamedTuple

from streamrec.events.block import EventBlock, Rejection
from streamrec.events.decoder import BlockDecoder
from streamrec.transport.base import Chunk, Source

__all__ = ["Decoded", "decode_chunk", "read_ahead"]


class Decoded(NamedTuple):
    """One chunk and its events."""

    chunk: Chunk
    block: EventBlock
    rejections: list[Rejection]


def decode_chunk(chunk: Chunk, decoder: BlockDecoder) -> Decoded:
    """Decode all lines of a chunk."""
    block, rejections = decoder.decode(chunk.data)
    return Decoded(chunk, block, rejections)


def read_ahead(
    source: Source, decoder: BlockDecoder, depth: int, limit: int | None = None
) -> Generator[Decoded, None, None]:
    """All chunks of a source, decoded in a second thread while the caller works on the ones before.

    Decoding is compiled and runs without the interpreter's lock, so the two really overlap. An error of the
    source is raised here, after everything read before it. Closing the iterator stops the thread.

    Args:
        source: read by that thread alone, from where it stands.
        decoder: used by that thread alone.
        depth: chunks that may wait.
        limit: lines after which to stop; None reads to the end.

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
            for chunk in _chunks(source, limit):
                offer(decode_chunk(chunk, decoder))
                if stopped.is_set():
                    return
            offer(None)
        except BaseException as error:  # the caller's thread decides what it means
            offer(error)

    thread = threading.Thread(target=work, name="streamrec-reader", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _chunks(source: Source, limit: int | None) -> Iterator[Chunk]:
    while limit is None or limit > 0:
        chunk = source.read()
        if chunk is None:
            return
        if limit is not None:
            chunk = _first_lines(chunk, limit)
            limit -= chunk.data.count(b"\n")
        yield chunk


def _first_lines(chunk: Chunk, n: int) -> Chunk:
    """The chunk cut after its n-th line."""
    if chunk.data.count(b"\n") <= n:
        return chunk
    end = 0
    for _ in range(n):
        end = chunk.data.index(b"\n", end) + 1
    damage = tuple(d for d in chunk.damage if d.offset < chunk.offset + end)
    return chunk._replace(data=chunk.data[:end], damage=damage, end_offset=chunk.offset + end)
