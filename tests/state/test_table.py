"""The sparse table against a Python dict, through growth, deletion and change tracking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from streamrec.state import probe
from streamrec.state.table import SparseTable


def rows_of(ids, width, salt=0):
    return (np.asarray(ids, np.float64)[:, None] % 1000 + np.arange(width) + salt).astype(np.float32)


def u64(values):
    return np.array(list(values), np.uint64)


class Oracle(dict):
    def upsert(self, ids, rows):
        self.update({int(i): r.tolist() for i, r in zip(ids, rows, strict=True)})

    def delete(self, ids):
        return sum(self.pop(int(i), None) is not None for i in ids)


def content(table):
    return {int(i): r.tolist() for ids, rows in table.pieces() for i, r in zip(ids, rows, strict=True)}


operations = st.lists(
    st.tuples(st.sampled_from(["upsert", "delete", "take"]), st.integers(0, 2**32), st.integers(1, 400)),
    max_size=12,
)


@pytest.mark.parametrize("width", [1, 2, 3, 17])
@settings(max_examples=25, deadline=None)
@given(operations=operations)
def test_a_table_is_a_dict(width, operations):
    table, oracle, changed, deleted = SparseTable(width), Oracle(), set(), set()
    for name, seed, n in operations:
        ids = np.unique(np.random.default_rng(seed).integers(1, 600, n).astype(np.uint64))
        if name == "upsert":
            table.upsert(ids, rows_of(ids, width, seed % 7))
            oracle.upsert(ids, rows_of(ids, width, seed % 7))
            changed |= set(ids.tolist())
        elif name == "delete":
            present = set(ids.tolist()) & oracle.keys()
            assert table.delete(ids) == oracle.delete(ids)
            deleted |= present
            changed -= present
        else:
            got, rows, gone = table.take_changed()
            assert set(got.tolist()) == changed
            assert set(gone.tolist()) == {i for i in deleted if i not in oracle}
            assert all(oracle[int(i)] == r.tolist() for i, r in zip(got, rows, strict=True))
            assert sorted(table.ids().tolist()) == sorted(oracle)
            changed, deleted = set(), set()
    assert content(table) == oracle
    assert len(table) == len(oracle)


@pytest.mark.parametrize(
    "pattern",
    [
        lambda n: np.arange(1, n + 1),  # sequential
        lambda n: np.arange(1, n + 1) << 32,  # only upper bits
        lambda n: np.arange(1, n + 1) * 64,  # multiples
        lambda n: np.random.default_rng(1).integers(1, 2**63, n),
    ],
)
def test_growth_keeps_every_row_and_dirty_bit_whatever_the_ids_look_like(pattern):
    n, table = 600_000, SparseTable(2)
    ids = pattern(n).astype(np.uint64)
    before = table.nbytes
    table.upsert(ids, rows_of(ids, 2))
    assert table.nbytes > before  # it did grow
    rows, found = table.get(ids)
    assert found.all()
    np.testing.assert_array_equal(rows, rows_of(ids, 2))
    assert len(table.take_changed()[0]) == n
    assert len(table.take_changed()[0]) == 0


def test_the_digest_tells_content_not_history():
    ids = u64(range(1, 50_001))
    straight, winding = SparseTable(2), SparseTable(2)
    straight.upsert(ids, rows_of(ids, 2))
    winding.reserve(1_000_000)
    winding.upsert(u64(range(60_000, 70_000)), rows_of(range(60_000, 70_000), 2))
    winding.upsert(ids[::-1].copy(), rows_of(ids[::-1], 2))
    winding.delete(u64(range(60_000, 70_000)))
    assert straight.digest() == winding.digest()
    rows = rows_of(ids, 2)
    rows[17, 1] = np.nextafter(rows[17, 1], np.float32(np.inf))
    straight.upsert(ids, rows)
    assert straight.digest() != winding.digest()


def test_rows_from_a_store_do_not_count_as_changed():
    table = SparseTable(2)
    table.upsert(u64([5, 6]), rows_of([5, 6], 2), changed=False)
    table.delete(u64([5]), changed=False)
    ids, _, gone = table.take_changed()
    assert len(ids) == len(gone) == 0


def test_a_row_created_again_after_deletion_is_changed_not_deleted():
    table = SparseTable(1)
    table.upsert(u64([5]), rows_of([5], 1))
    table.delete(u64([5]))
    table.upsert(u64([5]), rows_of([5], 1, salt=3))
    ids, rows, gone = table.take_changed()
    assert (ids.tolist(), rows.tolist(), gone.tolist()) == ([5], [[8.0]], [])


def test_a_full_table_of_64_slot_walks_still_finds_absent_ids_absent():
    table = SparseTable(2)
    ids = u64(range(1, 200_000))
    table.upsert(ids, rows_of(ids, 2))
    assert not table.get(u64(range(300_000, 400_000)))[1].any()


@njit
def addresses(directory, stride, ids, walked):
    """Of the slots, 1 of absent ids, by the walk or four at a time."""
    out = np.empty(len(ids), np.uint64)
    for i in range(len(ids)):
        if walked:
            h = probe.spread(ids[i])
            slot = probe.find(directory, stride, ids[i], h)
            out[i] = probe.row_address(directory, stride, h, slot) - 8 if slot >= 0 else 1
        else:
            out[i] = probe.find_address(directory, stride, ids[i], np.uint64(1))
    return out


@pytest.mark.parametrize("n", [0, 50, 2_000, 130_000, 200_000])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_slots_are_found_four_at_a_time_where_a_walk_finds_them(n, width):
    table = SparseTable(width)
    ids = np.random.default_rng(n).permutation(2 * n + 100).astype(np.uint64) ** 2 + np.uint64(1)
    table.upsert(ids[:n], rows_of(ids[:n], width))
    table.delete(ids[:n:9])  # walks that were closed up
    table.take_changed()  # bits behind the last slot are no ids
    found = addresses(table.directory, table.stride, ids, False)
    assert np.array_equal(found, addresses(table.directory, table.stride, ids, True))
    assert np.count_nonzero(found != 1) == len(table)


def test_clear_forgets_rows_and_changes():
    table = SparseTable(2)
    table.upsert(u64([1, 2]), rows_of([1, 2], 2))
    table.clear()
    assert len(table) == 0
    assert not table.get(u64([1, 2]))[1].any()
    assert [len(part) for part in table.take_changed()] == [0, 0, 0]


def test_id_0_and_wrong_shapes_are_refused():
    table = SparseTable(2)
    with pytest.raises(ValueError, match="other than 0"):
        table.upsert(u64([1, 0]), rows_of([1, 2], 2))
    with pytest.raises(ValueError, match=r"shape \(1, 2\), got \(1, 3\)"):
        table.upsert(u64([1]), rows_of([1], 3))
    with pytest.raises(ValueError, match="at least 1"):
        SparseTable(0)


def test_segments_are_never_more_than_four_fifths_full():
    table = SparseTable(2)
    ids = np.random.default_rng(0).integers(1, 2**63, 1_000_000).astype(np.uint64)
    table.upsert(ids, rows_of(ids, 2))
    load = table.directory[:, 2] / table.directory[:, 1]
    assert load.max() <= 0.8
    assert len(load) == probe.SEGMENTS


def test_python_and_compiled_code_agree_on_the_segment():
    for identity in np.random.default_rng(2).integers(1, 2**64, 200, dtype=np.uint64):
        compiled = probe.segment_of(np.uint64(probe.spread(identity)))
        assert probe.segment_number(int(identity)) == int(compiled)
