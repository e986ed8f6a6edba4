"""What single rows of a cluster are said to be as of, from what head and marks told before and after."""

from typing import Any

import numpy as np
import pytest

from streamrec.errors import StoreMismatch
from streamrec.store.base import Extent
from streamrec.store.group_looks import GroupLooks, Told
from streamrec.store.keys import Keys, Space
from streamrec.store.lookup_groups import _Head, _Known, _Look, _Question
from streamrec.store.place import Place
from streamrec.store.rows import Answers

HEAD = _Head(epoch=3, seq=9, flushed=6, birth=2)
TOLD = Told(epoch=3, birth=2, low=6, high=8, mend=None, spots=((11, 8),))
#: In group 1 and in group 2.
IDS = np.array([1, 2], np.uint64) << np.uint64(56)


def extent_of(then: dict[str, Any], now: dict[str, Any], *told: dict[str, Any]) -> Extent | None:
    """Of what the head told in the look before and in this one, and group 1 in that, before and after rows."""
    known = _Known(Keys("m"))
    known.head = HEAD._replace(**then)
    thought, before, after = (TOLD._replace(**its) for its in told)
    looks = known.looks(("t",))
    looks._last[1], looks._last[2] = (b"", thought), (b"", TOLD)
    question = _Question(known, {"t": IDS}, [1, 2])
    found = question.found(_Look(HEAD._replace(**now), {1: before, 2: TOLD}, [], {1: after, 2: TOLD}))
    return None if found is None else found.extent


def test_the_lowest_and_the_highest_count() -> None:
    assert extent_of({}, {}, {}, {}, {}) == Extent(3, 9, 6, 8)
    assert extent_of({}, {}, {"low": 2}, {"low": 5}, {"low": 6}) == Extent(3, 9, 5, 8)
    assert extent_of({}, {}, {}, {}, {"low": 4}) == Extent(3, 9, 4, 8)
    assert extent_of({}, {}, {}, {}, {"high": 12}) == Extent(3, 9, 6, 12)  # beyond the head of a moment ago
    assert extent_of({}, {}, {}, {"epoch": 1}, {"epoch": 1}) == Extent(3, 9, 6, 8)


def test_no_row_is_said_to_be_newer_than_the_head_s_flushes() -> None:
    """Of a flush that is not finished a group may lose what it wrote, and nobody marks that."""
    newer = {"low": 8}
    assert extent_of({"flushed": 5}, {"flushed": 8}, newer, newer, newer) == Extent(3, 9, 5, 8)
    assert extent_of({"flushed": 8}, {"flushed": 5}, newer, newer, newer) == Extent(3, 9, 5, 8)


@pytest.mark.parametrize(
    ("then", "now", "told"),
    [
        ({"epoch": 2}, {}, ({}, {}, {})),
        ({"birth": 1}, {}, ({}, {}, {})),
        ({}, {}, ({}, {}, {"epoch": 4})),  # a later learner has the group
        ({}, {}, ({}, {}, {"mend": b"x"})),  # it was older meanwhile
        ({}, {}, ({}, {"mend": b"x"}, {})),
        ({}, {}, ({}, {}, {"spots": ((12, 8),)})),  # moved to other buckets before, meanwhile and since
        ({}, {}, ({}, {"spots": ((12, 8),)}, {})),
        ({}, {}, ({"spots": ((12, 8),)}, {}, {})),
        ({}, {}, ({"spots": (None,)}, {}, {})),
        ({}, {}, ({"birth": 1}, {}, {})),
        ({}, {}, ({}, {}, {"birth": 3})),
    ],
)
def test_what_is_not_the_same_before_and_after_is_asked_for_again(
    then: dict[str, Any], now: dict[str, Any], told: tuple[dict[str, Any], ...]
) -> None:
    assert extent_of(then, now, *told) is None


def test_a_mark_of_another_birth_says_that_no_row_is_there() -> None:
    other = {"birth": 1}
    assert extent_of({}, {}, other, other, other) == Extent(3, 9, 0, 8)


def test_nothing_is_known_at_first() -> None:
    known = _Known(Keys("m"))
    question = _Question(known, {"t": IDS}, [1, 2])
    assert question.found(_Look(HEAD, {1: TOLD, 2: TOLD}, [], {1: TOLD, 2: TOLD})) is None
    known.head = HEAD
    question = _Question(known, {"t": IDS}, [1, 2])
    assert question.found(_Look(HEAD, {1: TOLD, 2: TOLD}, [], {1: TOLD, 2: TOLD})) is None


class Arriving:
    """A connection on which these bytes come, some at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    def receive(self, buffer: memoryview) -> int:
        assert self._data, "more is waited for than comes"
        n = min(self._size, len(buffer))
        taken, self._data = self._data[:n], self._data[n:]
        buffer[: len(taken)] = taken
        return len(taken)


def answers_of(data: bytes, size: int) -> Answers:
    return Answers(Arriving(data, size), 16)  # type: ignore[arg-type]


def mark(low: int) -> bytes:
    fields = b"2", b"%d" % low, b"12", None, b"11 8"
    texts = (b"$-1\r\n" if each is None else b"$%d\r\n%s\r\n" % (len(each), each) for each in fields)
    return b"*5\r\n" + b"".join(texts) + b"$4\r\n3.ab\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_marks_that_tell_the_same_and_others_are_told_apart(size: int) -> None:
    looks = GroupLooks(Keys("m"), ["t"])
    of = {low: Told(3, 2, low, 12, None, ((11, 8),)) for low in (6, 8, 10)}
    for lows in ((6, 6, 6), (6, 6, 6), (6, 8, 6), (10, 10, 10), (10, 6, 8)):
        answers = answers_of(b"".join(map(mark, lows)), size)
        assert looks.take(answers, [4, 5, 9]) == dict(zip((4, 5, 9), (of[low] for low in lows), strict=True))
    assert looks.last(5) == of[6]
    assert looks.last(6) is None


def test_the_first_row_tells_how_large_rows_are() -> None:
    three, two = np.arange(3, dtype="<f4").tobytes(), bytes(8)

    def place() -> Place:
        return Place(Keys("m"), Space("t", shadow=False, width=0, bits=8, token=1, rows=0))

    first = place()
    ids, rows = first.take(answers_of(b"$-1\r\n$12\r\n%s\r\n" % three, 100), IDS)
    assert (ids.tolist(), rows.tolist()) == (IDS[1:].tolist(), [[0, 1, 2]])
    ids, rows = first.taken(IDS, [three, None])
    assert (ids.tolist(), rows.tolist()) == (IDS[:1].tolist(), [[0, 1, 2]])
    for other in (two, b"short", b""):
        with pytest.raises(StoreMismatch, match="table 't': expected rows of 3 slots"):
            first.taken(IDS, [three, other])
        with pytest.raises(StoreMismatch, match="table 't': expected rows of 3 slots"):
            first.take(answers_of(b"$%d\r\n%s\r\n" % (len(other), other), 100), IDS)
    for broken in (b"short", b""):
        with pytest.raises(StoreMismatch, match="table 't': expected rows of some slots"):
            place().taken(IDS, [broken, None])
        with pytest.raises(StoreMismatch, match="table 't': expected rows of some slots"):
            place().take(answers_of(b"$%d\r\n%s\r\n" % (len(broken), broken), 100), IDS)
