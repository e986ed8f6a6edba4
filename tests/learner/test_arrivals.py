"""What was predicted on arrival, against a dictionary, however the stream is cut and wherever it is resumed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.events.block import Examples
from streamrec.events.feedback import ARRIVAL, CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.learner.arrivals import Arrivals

ROLES = (FINAL, EARLY, CORRECTION, CONFIRMED, ARRIVAL)
STREAMS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(ROLES), st.sampled_from([0.0, 0.5, 1.0, 10.0])), max_size=40
)


def examples(rows) -> tuple[Examples, np.ndarray]:
    """Keys, roles and weights; the label is the number of the row, and so is its prediction."""
    n = len(rows)
    number, zeros = np.arange(n), np.zeros(n, np.uint64)
    entries = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.uint64))
    keys = np.array([key for key, _, _ in rows], np.uint64)
    roles = np.array([role for _, role, _ in rows], np.uint8)
    weights = np.array([weight for *_, weight in rows], np.float32)
    labels = number.astype(np.float32)
    offsets = np.zeros(n + 1, np.int64)
    made = Examples(number, keys, zeros, zeros, labels, weights, roles, labels > 0, offsets, *entries)
    return made, number.astype(np.float32)


def expected(rows) -> list[tuple[float, float, float]]:
    """(label, prediction, weight) of what is measured."""
    kept, measured = {}, []
    for i, (key, role, weight) in enumerate(rows):
        if role in (ARRIVAL, EARLY):
            kept.setdefault(key, (i, weight, role))
        elif key in kept and not (role == FINAL and kept[key][2] == EARLY):
            prediction, of_arrival, _ = kept.pop(key)
            measured.append((i, prediction, of_arrival))
        elif role == FINAL:
            measured.append((i, i, weight))
    return measured


def resolved(
    arrivals: Arrivals, made: Examples, predictions: np.ndarray, start: int, end: int
) -> list[tuple]:
    part = Examples(
        *(column[start:end] for column in made[:8]), made.entry_offsets[start : end + 1], *made[9:]
    )
    known, shown = arrivals.resolve(part, predictions[start:end]).measured
    assert shown.dtype == known.weights.dtype == np.float32
    return list(zip(known.labels.tolist(), shown.tolist(), known.weights.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 40), max_size=5))
def test_measures_each_impression_once_however_the_stream_is_cut(rows, cuts):
    """After every cut the arrivals are those that commits gave back."""
    made, predictions = examples(rows)
    arrivals, commits, measured, start = Arrivals(), [], [], 0
    for end in [*sorted(cut for cut in cuts if cut < len(rows)), len(rows)]:
        measured += resolved(arrivals, made, predictions, start, end)
        start = end
        if (changed := arrivals.take_changed()) is not None:
            assert changed.shadow.all()
            commits.append(changed)
        again = Arrivals()
        for commit in commits:
            again.apply(commit)
        assert len(again) == len(arrivals)
        arrivals = again
    assert measured == expected(rows)


def test_grows_and_forgets():
    n = 300_000
    rows = [(i + 1, EARLY, 1.0) for i in range(n)] + [(i + 1, CONFIRMED, 1.0) for i in range(n)]
    made, predictions = examples(rows)
    arrivals = Arrivals()
    assert resolved(arrivals, made, predictions, 0, n) == []
    assert len(arrivals) == n
    measured = resolved(arrivals, made, predictions, n, 2 * n)
    assert [prediction for _, prediction, _ in measured] == list(range(n))
    assert len(arrivals) == 0


def test_a_rating_with_the_name_of_an_impression_is_measured_by_itself():
    made, predictions = examples([(7, EARLY, 1.0), (7, FINAL, 1.0), (7, CORRECTION, 1.0)])
    assert resolved(Arrivals(), made, predictions, 0, 3) == [(1.0, 1.0, 1.0), (2.0, 0.0, 1.0)]


@pytest.mark.parametrize("role", [CORRECTION, CONFIRMED])
def test_what_was_never_predicted_is_not_measured(role):
    made, predictions = examples([(7, role, 1.0)])
    assert resolved(Arrivals(), made, predictions, 0, 1) == []


def outcomes(rows) -> list[tuple[int, float, float, float, float]]:
    """What is watched: example, prediction, label, weight, count."""
    made, predictions = examples(rows)
    made.labels[made.role == CONFIRMED] = 0
    watched = Arrivals().resolve(made, predictions).watched
    return list(zip(watched.which.tolist(), *(column.tolist() for column in watched.outcomes), strict=True))


def test_an_arrival_is_watched_once_whatever_follows():
    rows = [(7, ARRIVAL, 2.0), (7, EARLY, 9.0), (8, ARRIVAL, 1.0), (7, CORRECTION, 9.0), (8, FINAL, 9.0)]
    assert outcomes(rows) == [
        (0, 0, 0, 2, 1),
        (2, 2, 0, 1, 1),
        (3, 0, 0, -2, 0),
        (3, 0, 3, 2, 0),
        (4, 2, 0, -1, 0),
        (4, 2, 4, 1, 0),
    ]


def test_an_early_negative_is_watched_at_once_and_its_click_makes_up_for_it():
    rows = [(7, EARLY, 2.0), (8, EARLY, 1.0), (7, CORRECTION, 1.0), (8, CONFIRMED, 1.0), (9, FINAL, 3.0)]
    assert outcomes(rows) == [
        (0, 0, 0, 2, 1),
        (1, 1, 0, 1, 1),  # whatever its label says
        (2, 0, 0, -2, 0),
        (2, 0, 2, 2, 0),
        (4, 4, 4, 3, 1),
    ]


@settings(max_examples=200, deadline=None)
@given(STREAMS)
def test_in_the_end_what_is_watched_counts_as_what_is_measured(rows):
    """Of streams in which everything that waits comes to an end."""
    kept = dict.fromkeys(key for key, role, _ in rows if role in (ARRIVAL, EARLY))
    rows += [(key, CONFIRMED, 1.0) for key in kept]
    made, predictions = examples(rows)
    labels = np.where(made.role == CONFIRMED, np.float32(0), made.labels)
    made = Examples(**(made._asdict() | {"labels": labels}))
    measured, watched = Arrivals().resolve(made, predictions)
    assert watched.outcomes.counts.sum() == len(measured.examples)
    weight, label = measured.examples.weights, measured.examples.labels
    assert watched.outcomes.weights.sum() == weight.sum()
    assert (watched.outcomes.weights * watched.outcomes.labels).sum() == (weight * label).sum()
    predicted = (watched.outcomes.weights * watched.outcomes.predictions).sum()
    assert predicted == (weight * measured.predictions).sum()
