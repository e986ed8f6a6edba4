"""Several partitions as one stream, against a merge by heads that is written as it is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import Turn
from streamrec.join.merge import Recorded
from streamrec.join.reader import bounded, limited, read
from streamrec.transport.base import Chunk

BAD = "{nonsense"
FROM_THE_BEGINNING = Recorded()


def line(partition: int, offset: int, time: int) -> str:
    return f'{{"type":"example","id":"{partition}.{offset}","time":{time},"label":1,"features":{{"o":{offset},"p":"{partition}"}}}}'


class Clock:
    """Goes a second further at every look."""

    def __init__(self, step_s=1.0):
        self.s, self.step_s = 0.0, step_s

    def monotonic_s(self):
        self.s += self.step_s
        return self.s

    def now_ms(self):
        return int(self.s * 1000)

    def sleep(self, seconds):
        self.s += seconds


class Live:
    """Partitions p0, p1, … of lines with offsets 0, 2, 4, …; chunks come in an order drawn by chance.

    `late`: partition → reads before its first chunk comes.
    """

    stream = "topic"

    def __init__(self, lines, seed=0, late=None, endless=False):
        self._lines, self._rng, self._late = lines, np.random.default_rng(seed), late or {}
        self.partitions = [f"p{i}" for i in range(len(lines))]
        self._at = dict.fromkeys(self.partitions, 0)
        self._held, self._n_reads, self._endless = set(), 0, endless
        self.acknowledged = None

    def seek(self, position):
        self._at = {name: position.get(name, 0) // 2 for name in self.partitions}

    def hold(self, partitions):
        self._held = set(partitions)

    def _left(self, name):
        return len(self._lines[int(name[1:])]) - self._at[name]

    def ended(self, partition):
        return not self._endless and not self._left(partition)

    def lags(self, partition):
        return bool(self._left(partition)) and self._n_reads >= self._late.get(partition, 0)

    def lag(self):
        return {}

    def trouble(self):
        return ""

    def acknowledge(self, position):
        self.acknowledged = position

    def read(self):
        self._n_reads += 1
        able = [name for name in self.partitions if self.lags(name) and name not in self._held]
        if not able:
            return Chunk("p0", 0, b"") if self._endless or any(map(self._left, self.partitions)) else None
        name = able[self._rng.integers(len(able))]
        n = min(int(self._rng.integers(1, 5)), self._left(name))
        begin = self._at[name]
        self._at[name] += n
        lines = self._lines[int(name[1:])][begin : begin + n]
        offsets = np.arange(begin, begin + n, dtype=np.int64) * 2
        data = "".join(f"{text}\n" for text in lines).encode()
        return Chunk(name, begin * 2, data, (), (begin + n) * 2 - 1, offsets)

    def progress(self):
        return None

    def close(self):
        pass


def lines_of(times):
    """Times by partition; None is a record that cannot be used."""
    return [[BAD if t is None else line(p, 2 * i, t) for i, t in enumerate(of)] for p, of in enumerate(times)]


def expected(times):
    """(partition, offset) in the order of the promise."""
    heads, out = [0] * len(times), []
    while any(head < len(of) for head, of in zip(heads, times, strict=True)):
        ready = [p for p, of in enumerate(times) if heads[p] < len(of)]
        bad = [p for p in ready if times[p][heads[p]] is None]
        p = bad[0] if bad else min(ready, key=lambda p: times[p][heads[p]])
        out.append((p, 2 * heads[p]))
        heads[p] += 1
        while heads[p] < len(times[p]) and times[p][heads[p]] is None:  # follows the one before
            out.append((p, 2 * heads[p]))
            heads[p] += 1
    return out


def records(stream):
    """(partition, offset) of all records as they come; checks what is said of each against its line."""
    out, end, turns = [], {}, []
    for decoded in stream:
        if decoded is None:
            continue
        places, waiting = decoded.places, list(decoded.refused)
        names = [places.partitions[number] for number in places.partition]
        for i, (name, offset, raw) in enumerate(
            zip(names, places.offset.tolist(), decoded.lines(), strict=True)
        ):
            while waiting and waiting[0].decided <= i:
                letter = waiting.pop(0)
                out.append((int(letter.partition[1:]), letter.offset))
            assert f'"id":"{name[1:]}.{offset}"'.encode() in raw
            first, last = decoded.block.entry_offsets[i : i + 2]
            assert decoded.block.entry_value[first:last].view(np.float64)[0] == offset
            out.append((int(name[1:]), offset))
        out += [(int(letter.partition[1:]), letter.offset) for letter in waiting]
        end |= places.end
        turns += decoded.turns
    return out, end, turns


def merged(source, recorded=FROM_THE_BEGINNING, wait_s=1e9, limit=None):
    return records(limited(read(source, BlockDecoder(), Clock(), wait_s, recorded), limit))


TIMES = st.lists(st.lists(st.one_of(st.integers(0, 12), st.none()), max_size=12), min_size=1, max_size=4)


def without_leading_bad(times):
    """Two records without a time at the heads of two partitions have no order between them."""
    return [of[next((i for i, t in enumerate(of) if t is not None), len(of)) :] for of in times]


@settings(max_examples=200, deadline=None)
@given(TIMES, st.integers(0, 1000))
def test_the_order_is_that_of_time_partition_and_offset_however_chunks_come(times, seed):
    times = without_leading_bad(times)
    out, end, turns = merged(Live(lines_of(times), seed))
    assert out == expected(times)
    assert end == {f"p{p}": 2 * len(of) - 1 for p, of in enumerate(times) if of}
    assert turns == [Turn(0, f"p{p}", True) for p in range(len(times))][: len(turns)]


@settings(max_examples=100, deadline=None)
@given(TIMES, st.integers(0, 1000), st.integers(0, 40))
def test_stopped_anywhere_it_goes_on_as_if_it_had_not(times, seed, limit):
    times = without_leading_bad(times)
    first, end, turns = merged(Live(lines_of(times), seed), limit=limit)
    n = sum(times[p][offset // 2] is not None for p, offset in first)
    source = Live(lines_of(times), seed + 1)
    source.seek({name: offset + offset % 2 for name, offset in end.items()})
    rest, _, _ = merged(source, Recorded(end, n, turns or [Turn(0, p, True) for p in source.partitions], n))
    assert first + rest == expected(times)


@settings(max_examples=100, deadline=None)
@given(TIMES, st.integers(0, 1000), st.integers(0, 30), st.integers(0, 3))
def test_an_order_that_timing_decided_is_taken_again_by_its_turns(times, seed, delay, who):
    times = without_leading_bad(times)
    out, end, turns = merged(Live(lines_of(times), seed, {f"p{who}": delay}), wait_s=2.5)
    assert sorted(out) == sorted(expected(times))
    n = sum(t is not None for of in times for t in of)
    again, again_end, more = merged(Live(lines_of(times), seed + 1), Recorded({}, 0, turns, n))
    assert (again, again_end, more) == (out, end, [])


@settings(max_examples=60, deadline=None)
@given(TIMES, st.integers(0, 1000), st.integers(0, 40), st.integers(0, 30))
def test_what_lies_between_two_positions_comes_in_the_same_order(times, seed, first, more):
    times = without_leading_bad(times)
    whole, _, _ = merged(Live(lines_of(times), seed))
    _, start, turns = merged(Live(lines_of(times), seed), limit=first)
    _, end, _ = merged(Live(lines_of(times), seed), limit=first + more)
    n = sum(times[p][offset // 2] is not None for p, offset in whole[:first])
    turns = turns or [Turn(0, f"p{i}", True) for i in range(len(times))]
    source = Live(lines_of(times), seed + 2)
    even = {name: offset + offset % 2 for name, offset in start.items()}
    between, _, _ = merged(bounded(source, even, end), Recorded(start, n, turns, 10**9))
    assert between == whole[first : first + more]


def test_a_quiet_partition_is_waited_for_only_so_long_and_only_where_others_have_something():
    source = Live(lines_of([[1, 2, 3], []]), endless=True)
    stream = read(source, BlockDecoder(), Clock(step_s=0.0), 5.0, Recorded())
    assert all(next(stream) is None for _ in range(50))
    stream = read(Live(lines_of([[1, 2, 3], []]), endless=True), BlockDecoder(), Clock(), 5.0, Recorded())
    seen = [decoded for _, decoded in zip(range(60), stream, strict=False) if decoded is not None]
    assert sum(len(decoded.block) for decoded in seen) == 3
    assert [turn.waited_for for decoded in seen for turn in decoded.turns] == [True, True, False]
    quiet = read(Live(lines_of([[], []]), endless=True), BlockDecoder(), Clock(), 5.0, Recorded())
    assert all(next(quiet) is None for _ in range(50))


def test_a_partition_that_the_broker_has_more_of_is_waited_for_without_limit():
    class Slow(Live):
        def lags(self, partition):
            return bool(self._left(partition))

        def read(self):
            if self._n_reads < 200:
                self._held.add("p1")
            chunk = super().read()
            return Chunk("p0", 0, b"") if chunk is None and self._n_reads < 200 else chunk

    times = [[5, 6], [1, 2]]
    out, _, turns = merged(Slow(lines_of(times)), wait_s=2.0)
    assert out == expected(times)
    assert len(turns) == 2


@pytest.mark.parametrize("n", [1, 5])
def test_partitions_that_wait_are_held_back(n):
    source = Live(lines_of([list(range(1000)), [2000]]), late={"p1": 300})
    most = 0
    stream = read(source, BlockDecoder(), Clock(), 1e9, Recorded())
    for _ in range(100):
        next(stream)
        most = max(most, source._at["p0"])
    assert most <= 3 * 4
