"""Reading ahead: what counts against a limit, and that nobody waits for a source that gives nothing."""

import threading
import time

import pytest

from streamrec.clock import SystemClock
from streamrec.events.decoder import BlockDecoder
from streamrec.join import reader
from streamrec.transport.base import Chunk, Damage

GOOD = b'{"type":"example","id":"%d","time":1,"label":1}\n'
BAD = b"{nonsense\n"
BLANK = b" \r\n"


def chunks(*pieces, damage_after=()):
    """Chunks of these pieces; those named are followed by damage of 10 bytes."""
    offset, made = 0, []
    for i, piece in enumerate(pieces):
        end = offset + len(piece)
        damage = (Damage("line too long", "p", end, b"x"),) if i in damage_after else ()
        made.append(Chunk("p", offset, piece, damage, end + 10 * len(damage)))
        offset = made[-1].end_offset
    return made


class Recorded:
    """A source of given chunks, from any position that they gave."""

    partitions = ("p",)

    def __init__(self, made, at=0):
        self.left = [self.rest(chunk, at) for chunk in made if chunk.end_offset > at]

    @staticmethod
    def rest(chunk, at):
        skipped = max(0, at - chunk.offset)
        return chunk._replace(offset=chunk.offset + skipped, data=chunk.data[skipped:])

    def read(self):
        return self.left.pop(0) if self.left else None


def stream(source):
    return reader.read(source, BlockDecoder(), SystemClock(), 0)


def read(source, limit):
    decoded = [d for d in reader.limited(stream(source), limit) if d is not None]
    return sum(d.n_records for d in decoded), decoded[-1].places.end["p"] if decoded else 0


STREAM = chunks(
    GOOD % 0 + BLANK + GOOD % 1 + BAD + BLANK,
    BLANK + BLANK,
    GOOD % 2 + GOOD % 3,
    BAD + BLANK + GOOD % 4,
    GOOD % 5,
    damage_after=(2,),
)
N = 9  # 6 good, 2 bad, 1 damage


@pytest.mark.parametrize("limit", range(N + 1))
def test_a_limit_counts_records_and_neither_blank_lines_nor_chunks(limit):
    assert read(Recorded(STREAM), limit)[0] == limit
    assert read(Recorded(STREAM), limit + N)[0] == N


@pytest.mark.parametrize("first", range(N + 1))
def test_going_on_to_a_limit_ends_where_one_run_does(first):
    n, at = read(Recorded(STREAM), first)
    for limit in range(first, N + 1):
        more, end = read(Recorded(STREAM, at), limit - n)
        assert n + more == limit
        assert (end or at) == read(Recorded(STREAM), limit)[1]


class Silent(Recorded):
    """Gives its chunks and then nothing, until the test is over."""

    def __init__(self, made):
        super().__init__(made)
        self.over = threading.Event()

    def read(self):
        if self.left:
            return self.left.pop(0)
        self.over.wait(30)
        return None


def test_a_source_that_gives_nothing_does_not_hold_its_reader():
    source = Silent(STREAM[:1])
    decoded = reader.read_ahead(stream(source), 2)
    assert next(each for each in decoded if each is not None).n_records == 3
    assert next(decoded) is None
    started = time.monotonic()
    decoded.close()
    assert time.monotonic() - started < 10
    source.over.set()
