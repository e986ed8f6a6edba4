"""The terms of a linear score: what each value of each feature and cross adds, and what is known of it.

    s = Σ wᵢ·xᵢ        p = link(offset + gain·s)        contributionᵢ = gain·wᵢ·xᵢ

so contributions and offset add up to the logit (of a rating model, to the rating), which leaving fields out
does not give: `serving.occlusion`.

How many examples had a value is counted where the value has target statistics. Elsewhere it is estimated from
FTRL's n, which adds up (w·(p − y)·x)² over them: at the model's mean squared error MSE over its whole stream,

    count ≈ (n − n₀)/(x²·MSE)

examples of weight 1 and this x have made it. Averaged over all examples that is right but for the gain; a
value whose examples are predicted better than most has had more of them, one predicted worse fewer. Of a
pooled bag it is as if all of them had as many values. Where x is another number in every example (rates of
statistics, slopes), nothing is estimated.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from numba import njit

from streamrec.features.spec import FeatureSpec
from streamrec.features.statistics import counted
from streamrec.memory import JIT
from streamrec.models.frame import frame_gain, frame_offset
from streamrec.optim.ftrl import FTRLParameters, confidence, weight
from streamrec.serving.evidence import Evidence
from streamrec.serving.names import value_names

__all__ = ["LINEAR_KINDS", "LinearScore", "Term", "linear_scores"]

#: Kinds whose score is the sum of one weight a value.
LINEAR_KINDS = frozenset({"ftrl", "wide"})
_HOUR_MS = 3_600_000
_COUNT_IS = np.array([None, "estimated", "counted"], object)


class Term(TypedDict):
    """One value of a feature or cross, ready for JSON."""

    feature: str
    contribution: float  # to the logit
    weight: float
    value: float
    confidence: float  # how far one more example can move the contribution at most
    squared_gradients: float  # sum over its examples, of a click model each at most value²
    count: float | None  # examples with it
    count_is: Literal["counted", "estimated"] | None  # see the module
    age_s: float | None  # since the last of them, where the model keeps that


class LinearScore(NamedTuple):
    """A score as a sum."""

    logit: float  # before what `feedback` corrects; of a rating model, the rating
    offset: float  # that of the base rate so far
    gain: float
    terms: list[Term]  # largest first


def linear_scores(
    known: Evidence, events: Sequence[Mapping[str, Any]], time_ms: int, mean_square: float | None
) -> list[LinearScore]:
    """The terms of each event's score; the model itself is not read.

    Args:
        known: of the events, by a model of `LINEAR_KINDS`.
        events: user, item and features of each by source, for names.
        time_ms: when it is scored; ages count to then.
        mean_square: of the model's errors over its stream, above 0, for estimated counts; None: without.

    """
    offset, gain = frame_offset(known.frame, known.settings.task == "rating"), frame_gain(known.frame)
    summands = _once(known)
    columns = _columns(known, summands, (gain, mean_square), time_ms)
    ends = np.cumsum(np.bincount(summands.example, minlength=len(events))).tolist()
    contributions = columns[0].tolist()
    logits = [offset + sum(contributions[at:end]) for at, end in pairwise([0, *ends])]
    order = np.lexsort((-np.abs(columns[0]), summands.example))
    names = [*value_names(known.spec, known.batch, events), "(intercept)"]
    named = [names[at] for at in summands.at[order].tolist()]
    terms = _terms(named, *(column[order].tolist() for column in columns))
    parts = [terms[at:end] for at, end in pairwise([0, *ends])]
    return [LinearScore(logit, offset, gain, its) for logit, its in zip(logits, parts, strict=True)]


def _terms(names: list[str], *columns: list[Any]) -> list[Term]:
    return [
        {
            "feature": name,
            "contribution": contribution,
            "weight": w,
            "value": x,
            "confidence": bound,
            "squared_gradients": n,
            "count": count,
            "count_is": count_is,
            "age_s": age_s,
        }
        for name, contribution, w, x, bound, n, count, count_is, age_s in zip(names, *columns, strict=True)
    ]


class _Summands(NamedTuple):
    """K of them, one example's after the other's, in the order of its bags, its intercept last."""

    example: np.ndarray  # int64 (K,)
    at: np.ndarray  # int64 (K,): places among the evidence's rows
    values: np.ndarray  # float64 (K,)
    steady: np.ndarray  # bool (K,): whether other examples have the same value


def _once(known: Evidence) -> _Summands:
    """An id that comes twice in a bag counts once, with the sum of its values, as in learning."""
    batch = known.batch
    bags = np.repeat(np.arange(len(batch.offsets) - 1), np.diff(batch.offsets))
    order = np.lexsort((batch.ids, bags))
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (np.diff(bags[order]) != 0) | (np.diff(batch.ids[order]) != 0)
    values = np.bincount(np.cumsum(is_first) - 1, batch.values[order])  # one after another, as float64
    at = order[is_first]
    turn = np.argsort(at)
    at, values = at[turn], values[turn]
    example, bag = np.divmod(bags[at], batch.n_fields)
    last = np.arange(len(batch))
    whole = np.argsort(np.append(example, last), kind="stable")
    columns = (
        (example, last),
        (at, np.full(len(batch), len(batch.ids))),
        (values, np.ones(len(batch))),
        (_steady(known.spec, bag, values), np.ones(len(batch), np.bool_)),
    )
    return _Summands(*(np.concatenate(column)[whole] for column in columns))


def _steady(spec: FeatureSpec, bag: np.ndarray, values: np.ndarray) -> np.ndarray:
    """bool (K,) of values in the bags of these numbers."""
    n = len(spec.fields)
    numbers = np.flatnonzero([field.kind == "number" for field in spec.fields])
    of_statistics = bag >= n + len(spec.crosses)
    steady: np.ndarray = ~of_statistics & (~np.isin(bag, numbers) | (values == 1.0))
    return steady


def _columns(
    known: Evidence, summands: _Summands, scale: tuple[float, float | None], time_ms: int
) -> tuple[np.ndarray, ...]:
    """Of K summands what a `Term` has after its name: float64 (K,), or objects where some are None."""
    gain, mean_square = scale
    parameters = known.settings.ftrl.parameters()
    first, values = parameters.initial_accumulator, summands.values
    rows, found = known.rows[summands.at], known.found[summands.at]
    rows[~found, 1] = first
    sizes = np.empty((2, len(rows)))
    _size(rows, values, parameters, sizes)
    squares = rows[:, 1].astype(np.float64) - first
    counts, last_ms = _history(known, summands.at, rows, found)
    told = ~np.isnan(counts)
    guessed = ~told & summands.steady & (values != 0.0) & bool(mean_square)
    counts[guessed] = squares[guessed] / (values[guessed] * values[guessed] * (mean_square or np.nan))
    ages_s = (time_ms - last_ms) / 1000  # below 0 where it is asked for a time before the last example
    evidence = (gain * sizes[0] * values, sizes[0], values, gain * sizes[1], squares)
    return (*evidence, _given(counts), _COUNT_IS[guessed + 2 * told], _given(ages_s))


@njit(**JIT)
def _size(rows: np.ndarray, xs: np.ndarray, parameters: FTRLParameters, sizes: np.ndarray) -> None:
    """Weights and confidences of rows float32 (K, W) at values xs (K,) into sizes (2, K)."""
    for i in range(len(rows)):
        z, n = np.float64(rows[i, 0]), np.float64(rows[i, 1])
        sizes[0, i] = weight(z, n, parameters)
        sizes[1, i] = confidence(xs[i], n, parameters)


def _given(numbers: np.ndarray) -> np.ndarray:
    """Objects (K,): None for NaN."""
    objects: np.ndarray = numbers.astype(object)
    objects[np.isnan(numbers)] = None
    return objects


def _history(
    known: Evidence, at: np.ndarray, rows: np.ndarray, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and times of the last example in ms, NaN where neither statistics nor expiry keep them."""
    counts, last_ms = np.full(len(at), np.nan), np.full(len(at), np.nan)
    has = known.counted[at]
    if has.any():
        n, epoch = counted(known.statistics[at[has]])
        counts[has], last_ms[has] = n, epoch * known.spec.lag_ms
    if known.settings.expire_after_s is not None:
        last_ms[found] = rows[found, 2].astype(np.float64) * _HOUR_MS
    return counts, last_ms
