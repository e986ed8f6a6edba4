import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from store_oracle import commit, rows

from streamrec.errors import StoreMismatch
from streamrec.store.base import Commit, Rows
from streamrec.store.codec import pack, stamp, unpack

IDS = st.integers(0, 2**64 - 1)


@st.composite
def changes(draw: st.DrawFn) -> Rows:
    n, width, k = draw(st.integers(0, 9)), draw(st.integers(1, 5)), draw(st.integers(0, 3))
    bits = draw(arrays.arrays(np.uint32, (n, width)))  # every float32, NaNs with payload too
    ids, deleted = draw(arrays.arrays(np.uint64, n)), draw(arrays.arrays(np.uint64, k))
    return Rows(ids, bits.view(np.float32), draw(arrays.arrays(np.bool_, n)), deleted)


COMMITS = st.builds(
    Commit,
    st.integers(1, 2**53),
    st.dictionaries(st.text(max_size=5), changes(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.binary(max_size=40), max_size=3),
    st.integers(0, 2**45),
)


@given(COMMITS)
def test_a_commit_comes_back_bit_by_bit(made: Commit) -> None:
    data = pack(made)
    back = unpack(data, "here")
    assert (back.seq, back.time_ms, dict(back.blobs)) == (made.seq, made.time_ms, dict(made.blobs))
    assert stamp(data) == (made.seq, made.time_ms)
    assert list(back.tables) == list(made.tables)
    for name, mine in made.tables.items():
        for left, right in zip(mine, back.tables[name], strict=True):
            assert left.dtype == right.dtype
            assert left.shape == right.shape
            assert left.tobytes() == right.tobytes()
            assert right.flags.aligned


@given(COMMITS, st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(made: Commit, place: int, bit: int) -> None:
    data = bytearray(pack(made))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(StoreMismatch, match="log entry 7"):
        unpack(bytes(data), "log entry 7")


@given(COMMITS, st.integers(0))
def test_any_cut_is_noticed(made: Commit, end: int) -> None:
    data = pack(made)
    with pytest.raises(StoreMismatch):
        unpack(data[: end % len(data)], "here")


def test_another_version_is_named() -> None:
    data = bytearray(pack(commit(1)))
    data[3] = 9
    with pytest.raises(StoreMismatch, match="written in format 9, this streamrec reads 1"):
        unpack(bytes(data), "here")


def test_a_learner_may_give_views() -> None:
    wide = np.arange(40, dtype=np.float32).reshape(10, 4)
    strided = Rows(
        np.arange(20, dtype=np.uint64)[::2],
        wide[:, ::2],
        np.zeros(10, np.bool_),
        np.arange(4, dtype=np.uint64)[::3],
    )
    back = unpack(pack(commit(1, t=strided)), "here").tables["t"]
    np.testing.assert_array_equal(back.rows, wide[:, ::2])
    np.testing.assert_array_equal(back.ids, strided.ids)
    np.testing.assert_array_equal(back.deleted, [0, 3])


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="'t'"):
        pack(commit(1, t=rows([1, 2])._replace(ids=np.zeros(3, np.uint64))))
