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
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit

from streamrec.events.decoder import BlockDecoder
from streamrec.features.batch import Batch
from streamrec.features.spec import FeatureSpec
from streamrec.features.statistics import counted
from streamrec.memory import JIT
from streamrec.models.frame import frame_gain, frame_offset
from streamrec.models.ftrl import INTERCEPT
from streamrec.models.pipeline import Pipeline
from streamrec.optim.ftrl import FTRLParameters, confidence, weight
from streamrec.serving.names import value_names

__all__ = ["LINEAR_KINDS", "LinearScore", "Term", "linear_scores"]

#: Kinds whose score is the sum of one weight a value.
LINEAR_KINDS = frozenset({"ftrl", "wide"})
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Term:
    """One value of a feature or cross."""

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
    pipeline: Pipeline,
    lines: bytes,
    values: Sequence[Mapping[str, Any]],
    time_ms: int,
    mean_square: float | None,
) -> list[LinearScore]:
    """The terms of each event's score.

    Args:
        pipeline: a model of `LINEAR_KINDS`.
        lines: the events, as `serving.lines` makes them.
        values: user, item and features of each, for names.
        time_ms: when it is scored; ages count to then.
        mean_square: of the model's errors over its stream, above 0, for estimated counts; None: without.

    """
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    batch = pipeline.preview(decoder.decode(lines)[0], decoder.fields)
    frame = np.frombuffer(pipeline.model.blobs().get("frame", b""), "<f8").astype(np.float64)
    offset = frame_offset(frame, pipeline.settings.task == "rating")
    gain = frame_gain(frame)
    found = []
    for i, its in enumerate(values):
        one = batch.part(i, i + 1)
        coordinates = _once(pipeline.spec, one, value_names(pipeline.spec, one, its))
        terms = _terms(pipeline, coordinates, (gain, mean_square), time_ms)
        logit = offset + sum(term.contribution for term in terms)
        terms.sort(key=lambda term: -abs(term.contribution))
        found.append(LinearScore(logit, offset, gain, terms))
    return found


class _Coordinates(NamedTuple):
    """What is summed, the intercept last."""

    ids: np.ndarray  # uint64 (K,)
    values: list[float]
    names: list[str]
    steady: list[bool]  # whether other examples have the same value


def _once(spec: FeatureSpec, batch: Batch, names: list[str]) -> _Coordinates:
    """An id that comes twice in a bag counts once, with the sum of its values, as in learning."""
    bags = np.repeat(np.arange(batch.n_fields), np.diff(batch.offsets)).tolist()
    keys = zip(bags, batch.ids.tolist(), strict=True)
    found: dict[tuple[int, int], tuple[float, str]] = {}
    for key, x, name in zip(keys, batch.values.tolist(), names, strict=True):
        before, its_name = found.get(key, (0.0, name))
        found[key] = before + x, its_name
    ids = np.array([id_ for _, id_ in found] + [int(INTERCEPT)], np.uint64)
    values, its_names = [x for x, _ in found.values()], [name for _, name in found.values()]
    steady = [_is_steady(spec, bag, x) for (bag, _), x in zip(found, values, strict=True)]
    return _Coordinates(ids, [*values, 1.0], [*its_names, "(intercept)"], [*steady, True])


def _is_steady(spec: FeatureSpec, bag: int, x: float) -> bool:
    if bag >= len(spec.fields) + len(spec.crosses):
        return False  # of statistics
    return bag >= len(spec.fields) or spec.fields[bag].kind != "number" or x == 1.0


def _terms(
    pipeline: Pipeline, coordinates: _Coordinates, scale: tuple[float, float | None], time_ms: int
) -> list[Term]:
    gain, mean_square = scale
    parameters = pipeline.settings.ftrl.parameters()
    first = parameters.initial_accumulator
    rows, found = pipeline.model.tables["linear"].get(coordinates.ids)
    rows[~found, 1] = first
    counts, last_ms = _history(pipeline, coordinates.ids, rows, found)
    sizes = np.empty((2, len(rows)))
    _size(rows, np.array(coordinates.values), parameters, sizes)
    terms, (weights, bounds), squares = [], sizes.tolist(), rows[:, 1].tolist()
    for i, (x, name) in enumerate(zip(coordinates.values, coordinates.names, strict=True)):
        w, bound, n = weights[i], gain * bounds[i], squares[i]
        age_s = (time_ms - last_ms[i]) / 1000  # below 0 where it is asked for a time before the last example
        count = _counted(counts[i], n - first, x, mean_square if coordinates.steady[i] else None)
        terms.append(Term(name, gain * w * x, w, x, bound, n - first, *count, _given(age_s)))
    return terms


@njit(**JIT)
def _size(rows: np.ndarray, xs: np.ndarray, parameters: FTRLParameters, sizes: np.ndarray) -> None:
    """Weights and confidences of rows float32 (K, W) at values xs (K,) into sizes (2, K)."""
    for i in range(len(rows)):
        z, n = np.float64(rows[i, 0]), np.float64(rows[i, 1])
        sizes[0, i] = weight(z, n, parameters)
        sizes[1, i] = confidence(xs[i], n, parameters)


def _counted(
    counted: float, squared_gradients: float, x: float, mean_square: float | None
) -> tuple[float | None, Literal["counted", "estimated"] | None]:
    """How many examples, and how that is known."""
    if not np.isnan(counted):
        return float(counted), "counted"
    if not mean_square or x == 0.0:
        return None, None
    return squared_gradients / (x * x * mean_square), "estimated"


def _given(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def _history(
    pipeline: Pipeline, ids: np.ndarray, rows: np.ndarray, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Counts and times of the last example in ms, NaN where neither statistics nor expiry keep them."""
    counts, last_ms = np.full(len(ids), np.nan), np.full(len(ids), np.nan)
    if "statistics" in pipeline.tables:
        statistics, has = pipeline.tables["statistics"].get(ids)
        n, epoch = counted(statistics)
        counts[has], last_ms[has] = n[has], epoch[has] * pipeline.spec.lag_ms
    if pipeline.settings.expire_after_s is not None:
        last_ms[found] = rows[found, 2].astype(np.float64) * _HOUR_MS
    return counts, last_ms
