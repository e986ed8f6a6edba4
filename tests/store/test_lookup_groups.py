"""What single rows of a cluster are said to be as of, from what head and marks told before and after."""

from typing import Any

import numpy as np
import pytest

from streamrec.store.base import Extent
from streamrec.store.group_looks import Told
from streamrec.store.keys import Keys
from streamrec.store.lookup_groups import _Head, _Known, _Look, _Question

HEAD = _Head(epoch=3, seq=9, flushed=6, target=8, birth=2)
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
