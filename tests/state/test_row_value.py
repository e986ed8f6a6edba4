"""What rows are worth beside sums in float64, and which of them go."""

import numpy as np
import pytest

from streamrec.state.table import SparseTable
from streamrec.state.value import RowValue, ValueSettings

HOUR = 480_000.0  # of about 2024; float32 has steps of 1/32 there
DAY_S = 86_400


def used(value, table, ids, hours, clicks=None):
    """One id an example."""
    ids, n = np.asarray(ids, np.uint64), len(ids)
    counted = np.array([clicks if clicks is not None else np.zeros(n), np.ones(n)])
    value.count(table, ids, np.arange(1, n + 1), counted, np.asarray(hours, np.float32))


def filled(n, width=3):
    table = SparseTable(width)
    table.upsert(np.arange(1, n + 1, dtype=np.uint64), np.zeros((n, width), np.float32))
    return table


def worth(value, table, hour):
    ids, values = value.values(table, hour)
    return dict(zip(ids.tolist(), values.tolist(), strict=True))


def alive(table, n):
    ids = np.arange(1, n + 1, dtype=np.uint64)
    return ids[table.get(ids)[1]].tolist()


@pytest.mark.parametrize("show", [0.1, 0.0])
def test_a_value_is_the_decayed_sum_over_the_examples(show):
    rng = np.random.default_rng(0)
    value, table = RowValue(ValueSettings(show=show, click=0.7, half_life_s=2 * DAY_S)), filled(50)
    ids, clicks = rng.integers(1, 51, 3_000), rng.integers(0, 2, 3_000)
    hours = HOUR + np.sort(rng.integers(0, 300 * 32, 3_000)) / 32
    hours[::9] -= 10  # late ones count as old as they are
    for part in np.split(np.arange(3_000), [1, 70, 1_000]):
        used(value, table, ids[part], hours[part], clicks[part])
    end = HOUR + 320
    got = worth(value, table, end)
    for i in range(1, 51):
        gain = np.where(clicks[ids == i] == 1, 0.7, show)
        assert got[i] == pytest.approx((gain * 0.5 ** ((end - hours[ids == i]) / 48)).sum(), rel=1e-4)
    later = worth(value, table, end + 48)
    assert all(later[i] == pytest.approx(got[i] / 2) for i in got)


def test_clicks_and_impressions_may_be_counted_apart():
    """An impression when it is shown, its click as a correction later: together they are one click."""
    value, table = RowValue(ValueSettings(show=0.25, click=1.0)), filled(3)
    one = np.array([1], np.uint64)
    for counted in ([[0.0], [1.0]], [[1.0], [0.0]]):
        value.count(table, one, np.array([1]), np.array(counted), np.array([HOUR], np.float32))
    used(value, table, [2], [HOUR], [1.0])
    assert worth(value, table, HOUR) == {1: 1.0, 2: 1.0, 3: 0.0}


def test_examples_of_several_ids_and_ids_without_a_row():
    value, table = RowValue(ValueSettings(show=0.5)), filled(3)
    ids = np.array([1, 9, 2, 3, 1], np.uint64)
    counted = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    value.count(table, ids, np.array([3, 3, 5]), counted, np.full(3, HOUR, np.float32))
    assert worth(value, table, HOUR) == {1: 1.0, 2: 0.5, 3: 0.5}
    assert len(table) == 3


def test_rows_worth_little_are_swept():
    settings = ValueSettings(show=0.1, click=1.0, half_life_s=DAY_S, least=0.05)
    value, table = RowValue(settings), filled(4)
    used(value, table, [1, 2, 3, 3, 3], np.full(5, HOUR), [0, 1, 0, 0, 0])
    assert value.sweep(table, HOUR) == 1  # 4 was never used
    assert value.sweep(table, HOUR + 23) == 0
    assert value.sweep(table, HOUR + 25) == 1
    assert alive(table, 4) == [2, 3]
    assert value.sweep(table, HOUR + 24 * 3) == 1
    assert value.sweep(table, HOUR + 24 * 4) == 0
    assert value.sweep(table, HOUR + 24 * 5) == 1
    assert table.take_changed()[2].size == 4


def test_counting_is_a_change_of_the_row():
    value, table = RowValue(ValueSettings()), filled(4)
    table.take_changed()
    used(value, table, [3], [HOUR])
    assert table.take_changed()[0].tolist() == [3]


@pytest.mark.parametrize("turned", [False, True])
def test_a_full_table_loses_the_sixteenth_worth_least(turned):
    """Which ones depends on values and ids only, not on the order in which rows came."""
    value, table = RowValue(ValueSettings(most_rows=160)), SparseTable(2)
    ids = np.arange(1, 171, dtype=np.uint64)
    table.upsert(ids[::-1] if turned else ids, np.zeros((170, 2), np.float32))
    used(value, table, np.repeat(np.arange(1, 171), np.arange(1, 171) % 10 + 1), np.full(935, HOUR))
    assert value.trim(table, HOUR) == 20
    gone = sorted(set(range(1, 171)) - set(alive(table, 170)))
    assert gone == sorted([*range(10, 171, 10), 1, 11, 21])
    assert value.trim(table, HOUR) == 0
    assert RowValue(ValueSettings()).trim(filled(10), HOUR) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"show": -0.1},
        {"click": float("nan")},
        {"half_life_s": 599},
        {"least": -1},
        {"most_rows": 15},
        {"rate": 1},
    ],
)
def test_settings_out_of_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ValueSettings(**wrong)
