"""Sorting and settling against Python's own stable sort."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.datasets.order import in_time_order, settle

times = st.lists(st.integers(-5, 5), max_size=40)


@settings(deadline=None)
@given(times, st.integers(1, 7))
def test_external_sort_is_the_stable_sort(times, run_rows):
    rows = [(time, (n, "row")) for n, time in enumerate(times)]
    assert list(in_time_order(rows, run_rows)) == sorted(rows, key=lambda row: row[0])


def test_external_sort_closes_its_files_when_it_is_left_early():
    rows = in_time_order(((-n, n) for n in range(5000)), run_rows=1500)
    assert next(rows) == (-4999, 4999)
    rows.close()


@given(times, st.integers(0, 4), st.data())
def test_settle_is_the_stable_sort_within_its_lag(base, lag, data):
    events = []
    for n, time in enumerate(sorted(base)):
        later = data.draw(st.integers(0, lag))
        events.append((time + later, b"%d" % n))
    expected = [line for _, line in sorted(events, key=lambda event: event[0])]
    assert list(settle(events, lag)) == expected


def test_settle_does_not_wait_for_the_end():
    def endless():
        n = 0
        while True:
            yield n, b"%d" % n
            n += 1

    assert next(settle(endless(), 3)) == b"0"
