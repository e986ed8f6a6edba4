"""Dense parameters as rows: the same face as the sparse table, views that change with the rows."""

import numpy as np
import pytest

from streamrec.state.dense import ROW, DenseTable

SHAPES = [(3, 50), (5,), (1, 64), (2, 64)]


def filled(seed=1):
    table = DenseTable(SHAPES)
    rng = np.random.default_rng(seed)
    for array in table.arrays:
        array[...] = rng.standard_normal(array.shape)
    return table


def test_arrays_begin_rows_and_share_none():
    table = filled()
    assert [array.shape for array in table.arrays] == SHAPES
    assert len(table) == 3 + 1 + 1 + 2
    assert all(array.ctypes.data % 4 == 0 and array.flags.c_contiguous for array in table.arrays)
    ids, rows = next(table.pieces())
    assert len(set(ids.tolist())) == len(table)
    assert 0 not in ids
    assert np.count_nonzero(rows) == sum(array.size for array in table.arrays)


def test_all_counts_as_changed_once_then_what_is_marked():
    table = filled()
    assert len(table.take_changed()[0]) == len(table)
    assert len(table.take_changed()[0]) == 0
    table.mark(1, 3)
    ids, rows, gone = table.take_changed()
    assert len(ids) == 3
    assert len(gone) == 0
    np.testing.assert_array_equal(rows[0, :5], table.arrays[1])
    table.mark()
    assert len(table.take_changed()[0]) == len(table)


def test_what_was_taken_is_a_copy():
    table = filled()
    _, rows, _ = table.take_changed()
    before = rows.copy()
    table.arrays[0][...] = 7
    np.testing.assert_array_equal(rows, before)


def test_rows_of_another_table_fill_the_views_at_once():
    source, target = filled(), DenseTable(SHAPES)
    view, digest = target.arrays[2], target.digest()
    ids, rows, _ = source.take_changed()
    order = np.random.default_rng(3).permutation(len(ids))
    target.take_changed()
    target.upsert(ids[order], rows[order], changed=False)
    np.testing.assert_array_equal(view, source.arrays[2])
    assert target.digest() == source.digest() != digest
    assert len(target.take_changed()[0]) == 0
    target.upsert(ids[:1], rows[:1] + 1)
    assert target.take_changed()[0].tolist() == ids[:1].tolist()
    found, known = target.get(np.array([ids[0], 12345], np.uint64))
    assert known.tolist() == [True, False]
    np.testing.assert_array_equal(found, [rows[0] + 1, np.zeros(ROW)])
    target.clear()
    assert not target.arrays[0].any()


def test_foreign_rows_are_refused():
    table = filled()
    with pytest.raises(ValueError, match="expected ids of 7 rows, got 5"):
        table.upsert(np.array([5], np.uint64), np.zeros((1, ROW), np.float32))
    with pytest.raises(ValueError, match=r"expected shape \(1, 64\), got \(1, 3\)"):
        table.upsert(np.array([5], np.uint64), np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="can be removed"):
        table.delete(next(table.pieces())[0][:1])
    assert table.delete(np.array([5], np.uint64)) == 0


def test_a_table_of_nothing():
    table = DenseTable([])
    assert len(table) == 0
    assert len(table.take_changed()[0]) == 0
    assert table.get(np.array([5], np.uint64))[1].tolist() == [False]
