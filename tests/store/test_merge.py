import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_oracle import apply_pieces, commit, rows

from streamrec.errors import StoreMismatch
from streamrec.store.merge import newest, served, tables_of

ID = st.integers(0, 12)


@st.composite
def change(draw: st.DrawFn):  # type: ignore[no-untyped-def]
    ids = draw(st.lists(ID, unique=True))
    values = [draw(st.floats(width=32, allow_nan=False)) for _ in ids]
    return rows(ids, np.array(values), [draw(st.booleans()) for _ in ids], draw(st.lists(ID, unique=True)))


@given(st.lists(change(), min_size=1, max_size=6))
def test_newest_is_one_change_after_the_other(changes) -> None:  # type: ignore[no-untyped-def]
    one_by_one: dict[str, dict[int, tuple[bytes, bool]]] = {}
    touched: set[int] = set()
    for each in changes:
        apply_pieces(one_by_one, [("t", each)])
        touched |= set(each.ids.tolist()) | set(each.deleted.tolist())
    merged = newest(changes)
    at_once: dict[str, dict[int, tuple[bytes, bool]]] = {}
    apply_pieces(at_once, [("t", merged)])
    assert at_once == one_by_one
    assert merged.ids.tolist() == sorted(one_by_one["t"])
    assert merged.deleted.tolist() == sorted(touched - set(one_by_one["t"]))


def test_served_hides_by_deleting() -> None:
    seen = served(rows([1, 2, 3], [1, 2, 3], [True, False, True], deleted=[9]))
    assert (seen.ids.tolist(), sorted(seen.deleted.tolist()), seen.shadow.any()) == ([2], [1, 3, 9], False)


def test_a_change_of_width_is_named() -> None:
    with pytest.raises(StoreMismatch, match="2 slots a row before and 3 in commit 2"):
        tables_of([commit(1, t=rows([1])), commit(2, t=rows([1], width=3))])


def test_nothing() -> None:
    assert newest([rows([], width=3)]).rows.shape == (0, 3)
