"""A feature spec as flat arrays: what the kernels read in place of the spec."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from streamrec import hashing
from streamrec.features.spec import REST, Cross, FeatureSpec, Field, Statistics

__all__ = [
    "ENTRIES",
    "FROM_ITEM",
    "FROM_TIME",
    "FROM_USER",
    "KEPT",
    "NUMERIC",
    "TEMPORAL",
    "Plan",
    "StatisticsPlan",
    "Wiring",
    "bag_names",
    "plan_spec",
    "plan_statistics",
    "wire",
]

# Where a field's values come from.
ENTRIES, FROM_USER, FROM_ITEM, FROM_TIME = range(4)
# What becomes of a number: kept as a category, bucketed and normalised, split into hour and weekday.
KEPT, NUMERIC, TEMPORAL = range(3)

_SOURCES = {"user": FROM_USER, "item": FROM_ITEM, "time": FROM_TIME}
_KINDS = {"category": KEPT, "bag": KEPT, "text": KEPT, "number": NUMERIC, "time": TEMPORAL}
_POOLING = {"sum": 0, "mean": 1, "sqrt": 2}
_PARTS = {"hour": 1, "weekday": 2, "hour_of_week": 4, "day": 8}
_MAX_PER_OCTAVE = 16
#: Numbers of undeclared features (source features.*) get two buckets an octave, a field's own default.
_REST_PER_OCTAVE = 2


class Plan(NamedTuple):
    """F fields and X crosses."""

    hash: np.ndarray  # uint64 (F,): of the field's name
    source: np.ndarray  # int8 (F,)
    kind: np.ndarray  # int8 (F,)
    direct: np.ndarray  # int64 (n,): fields that read user, item or time
    rest: np.ndarray  # bool (F,): whether it reads all other features
    buckets: np.ndarray  # bool (F,)
    edges: np.ndarray  # float64 (F, 16): lower edges of the buckets of [1, 2), then infinity
    of_number: np.ndarray  # int64 (F,): how many ids a number becomes
    column: np.ndarray  # int64 (F,): dense column of a normalised number, else −1
    slope: np.ndarray  # uint64 (F,): id of a normalised number, else 0
    parts: np.ndarray  # int64 (F,): bits of the parts of a time
    pooling: np.ndarray  # int8 (F,)
    pooled: np.ndarray  # int64 (n,): fields whose pooling is not sum, and the rest (which is sorted)
    crosses: np.ndarray  # int64 (X, 3): fields, −1 where there is no third
    cross_hash: np.ndarray  # uint64 (X,)
    cross_limit: np.ndarray  # int64 (X,)
    extra_ids: np.ndarray  # int64 (S,): ids that a statistic gives for an example that has its field
    part: np.ndarray  # int64 (S,): field, or F + cross, of a statistic


class StatisticsPlan(NamedTuple):
    """S target statistics."""

    part: np.ndarray  # int64 (S,)
    skip: np.ndarray  # uint64 (S,): id that is not counted (the slope of a number), else 0
    hash: np.ndarray  # uint64 (S,)
    prior: np.ndarray  # float64 (S,)
    half_life_min: np.ndarray  # float64 (S,), infinity for never
    logit: np.ndarray  # bool (S,)
    buckets: np.ndarray  # bool (S, 3): of rate, count, age


class Wiring(NamedTuple):
    """From the decoder's field numbers to the spec's; made anew when the decoder has seen new names."""

    first: np.ndarray  # int64 (N,): first field that reads this feature, −1 for none
    following: np.ndarray  # int64 (F,): next field that reads the same feature, −1 for none
    hash: np.ndarray  # uint64 (N,): of the feature's own name, for the ids of undeclared features


def plan_spec(spec: FeatureSpec) -> Plan:
    """The arrays of a spec."""
    fields, crosses = spec.fields, spec.crosses
    index = {field.name: i for i, field in enumerate(fields)}
    normalised = [i for i, field in enumerate(fields) if _is_normalised(field)]
    columns = {f: column for column, f in enumerate(normalised)}
    rest = [field.source == REST for field in fields]
    per_octave = [_REST_PER_OCTAVE if field.source == REST else field.per_octave for field in fields]
    counted = _counted(spec)
    return Plan(
        hash=_hashes([field.name for field in fields]),
        source=np.array([_SOURCES.get(field.source, ENTRIES) for field in fields], np.int8),
        kind=np.array([NUMERIC if r else _KINDS[f.kind] for f, r in zip(fields, rest, strict=True)], np.int8),
        direct=_indices(field.source in _SOURCES for field in fields),
        rest=np.array(rest, np.bool_),
        buckets=np.array([field.buckets for field in fields], np.bool_),
        edges=np.array([_edges(n) for n in per_octave]),
        of_number=np.array([_ids_of_number(field) for field in fields], np.int64),
        column=np.array([columns.get(i, -1) for i in range(len(fields))], np.int64),
        slope=np.array([_slope(f) if i in columns else 0 for i, f in enumerate(fields)], np.uint64),
        parts=np.array(
            [sum(_PARTS[p] for p in set(f.parts)) if f.kind == "time" else 0 for f in fields], np.int64
        ),
        pooling=np.array([_POOLING[field.pooling] for field in fields], np.int8),
        pooled=_indices(f.pooling != "sum" or r for f, r in zip(fields, rest, strict=True)),
        crosses=np.array([_triple(cross, index) for cross in crosses], np.int64).reshape(-1, 3),
        cross_hash=_hashes([cross.name for cross in crosses]),
        cross_limit=np.array([cross.limit for cross in crosses], np.int64),
        extra_ids=np.array(
            [1 + s.rate_buckets + s.count_buckets + s.age_buckets for _, _, s in counted], np.int64
        ),
        part=np.array([part for part, _, _ in counted], np.int64),
    )


def plan_statistics(spec: FeatureSpec, plan: Plan) -> StatisticsPlan:
    """The arrays of a spec's target statistics."""
    counted = _counted(spec)
    settings = [s for _, _, s in counted]
    n_fields = len(spec.fields)
    buckets = [(s.rate_buckets, s.count_buckets, s.age_buckets) for s in settings]
    return StatisticsPlan(
        part=plan.part,
        skip=np.array([plan.slope[part] if part < n_fields else 0 for part in plan.part], np.uint64),
        hash=_hashes([f"rate({name})" for _, name, _ in counted]),
        prior=np.array([s.prior for s in settings], np.float64),
        half_life_min=np.array(
            [s.half_life_s / 60 if s.half_life_s else np.inf for s in settings], np.float64
        ),
        logit=np.array([s.link == "logit" for s in settings], np.bool_),
        buckets=np.array(buckets, np.bool_).reshape(-1, 3),
    )


def bag_names(spec: FeatureSpec) -> tuple[str, ...]:
    """A name for every bag of a batch: fields, crosses, statistics."""
    names = [field.name for field in spec.fields] + [cross.name for cross in spec.crosses]
    return tuple(names + [f"rate({name})" for _, name, _ in _counted(spec)])


def wire(spec: FeatureSpec, names: Sequence[str]) -> Wiring:
    """The way from the decoder's field numbers, given its field names, to the spec's fields."""
    readers: dict[str, list[int]] = {}
    for i, field in enumerate(spec.fields):
        readers.setdefault(field.source, []).append(i)
    rest = readers.pop(REST, [-1])[0]
    following = np.full(len(spec.fields), -1, np.int64)
    for same in readers.values():
        following[same[:-1]] = same[1:]
    first = [readers[f"features.{name}"][0] if f"features.{name}" in readers else rest for name in names]
    return Wiring(first=np.array(first, np.int64), following=following, hash=_hashes(list(names)))


def _ids_of_number(field: Field) -> int:
    if field.kind == "time":
        return len(set(field.parts))
    return int(field.buckets) + int(field.normalise) if field.kind == "number" else 1


def _is_normalised(field: Field) -> bool:
    return field.kind == "number" and field.normalise


def _slope(field: Field) -> int:
    return int(
        hashing.combine(np.uint64(hashing.hash_text(field.name)), np.uint64(hashing.hash_text("slope")))
    )


def _counted(spec: FeatureSpec) -> list[tuple[int, str, Statistics]]:
    """(bag, its name, its statistics) of everything that has statistics."""
    parts: list[Field | Cross] = [*spec.fields, *spec.crosses]
    return [(i, part.name, part.statistics) for i, part in enumerate(parts) if part.statistics is not None]


def _hashes(names: list[str]) -> np.ndarray:
    return np.array([hashing.hash_text(name) for name in names], np.uint64)


def _indices(flags: Iterable[bool]) -> np.ndarray:
    return np.flatnonzero(np.array(list(flags), np.bool_)).astype(np.int64)


def _edges(per_octave: int) -> np.ndarray:
    """2^(i / per_octave): compared with an exact mantissa, so that buckets are the same on every platform."""
    edges = np.full(_MAX_PER_OCTAVE, np.inf)
    edges[:per_octave] = [2.0 ** (i / per_octave) for i in range(per_octave)]
    return edges


def _triple(cross: Cross, index: dict[str, int]) -> list[int]:
    return ([index[name] for name in cross.fields] + [-1])[:3]
