"""A feature spec as flat arrays: what the kernels read in place of the spec.

Few wide arrays rather than many: each array that a kernel takes costs a twentieth of a second of compilation.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from streamrec import hashing
from streamrec.features.spec import REST, Cross, FeatureSpec, Field, Statistics

__all__ = [
    "BUCKETS",
    "COLUMN",
    "CROSS_HASH",
    "ENTRIES",
    "EXTRA_IDS",
    "FROM_ITEM",
    "FROM_TIME",
    "FROM_USER",
    "HASH",
    "IS_REST",
    "KEPT",
    "KIND",
    "LIMIT",
    "NUMERIC",
    "OF_NUMBER",
    "PART",
    "PARTS",
    "POOLING",
    "SLOPE",
    "SOURCE",
    "TEMPORAL",
    "Plan",
    "StatisticsPlan",
    "Wiring",
    "bag_names",
    "plan_spec",
    "plan_statistics",
    "wire",
]

# Columns of `Plan.fields`.
HASH, SOURCE, KIND, IS_REST, BUCKETS, OF_NUMBER, COLUMN, SLOPE, PARTS, POOLING = range(10)
# Columns of `Plan.crosses` after its three fields, and of `Plan.statistics`.
CROSS_HASH, LIMIT = 3, 4
PART, EXTRA_IDS = 0, 1
# SOURCE: where a field's values come from.
ENTRIES, FROM_USER, FROM_ITEM, FROM_TIME = range(4)
# KIND: what becomes of a number: kept as a category, bucketed and normalised, split into hour and weekday.
KEPT, NUMERIC, TEMPORAL = range(3)

_SOURCES = {"user": FROM_USER, "item": FROM_ITEM, "time": FROM_TIME}
_KINDS = {"category": KEPT, "bag": KEPT, "text": KEPT, "number": NUMERIC, "time": TEMPORAL}
_POOLING = {"sum": 0, "mean": 1, "sqrt": 2}
_PARTS = {"hour": 1, "weekday": 2, "hour_of_week": 4, "day": 8}
_MAX_PER_OCTAVE = 16


class Plan(NamedTuple):
    """F fields, X crosses, S statistics. Hashes are the bits of a uint64."""

    #: int64 (F, 10): hash of the name, source, kind, whether it reads all other features, whether numbers
    #: are bucketed, ids that a number becomes, dense column of a normalised number or −1, its slope id or 0,
    #: bits of the parts of a time, pooling (0 sum, 1 mean, 2 sqrt).
    fields: np.ndarray
    edges: np.ndarray  # float64 (F, 16): lower edges of the buckets of [1, 2), then infinity
    direct: np.ndarray  # int64 (n,): fields that read user, item or time
    pooled: np.ndarray  # int64 (n,): fields whose pooling is not sum, and the one for all other features
    crosses: np.ndarray  # int64 (X, 5): three fields (−1: no third), hash of the name, limit
    statistics: np.ndarray  # int64 (S, 2): bag (field, or F + cross) that is counted, ids that it gives


class StatisticsPlan(NamedTuple):
    """S target statistics."""

    part: np.ndarray  # int64 (S,): bag that is counted
    hashes: np.ndarray  # uint64 (S, 2): of the name; id that is not counted (the slope of a number), else 0
    settings: np.ndarray  # float64 (S, 2): prior; half-life in minutes, infinity for never
    flags: np.ndarray  # bool (S, 4): buckets of rate, count, age; link is logit


class Wiring(NamedTuple):
    """From the decoder's field numbers to the spec's; made anew when the decoder has seen new names."""

    first: np.ndarray  # int64 (N,): first field that reads this feature, −1 for none
    following: np.ndarray  # int64 (F,): next field that reads the same feature, −1 for none
    hash: np.ndarray  # uint64 (N,): of the feature's own name, for the ids of undeclared features


def plan_spec(spec: FeatureSpec) -> Plan:
    """The arrays of a spec."""
    index = {field.name: i for i, field in enumerate(spec.fields)}
    normalised = [field.name for field in spec.fields if field.kind == "number" and field.normalise]
    columns = {name: column for column, name in enumerate(normalised)}
    return Plan(
        fields=_int64([_field_row(field, columns.get(field.name, -1)) for field in spec.fields], 10),
        edges=np.array([_edges(field.per_octave) for field in spec.fields]),
        direct=_indices(field.source in _SOURCES for field in spec.fields),
        pooled=_indices(field.pooling != "sum" or field.source == REST for field in spec.fields),
        crosses=_int64([_cross_row(cross, index) for cross in spec.crosses], 5),
        statistics=_int64([[part, _n_ids(settings)] for part, _, settings in _counted(spec)], 2),
    )


def plan_statistics(spec: FeatureSpec, plan: Plan) -> StatisticsPlan:
    """The arrays of a spec's target statistics."""
    counted = _counted(spec)
    n_fields = len(spec.fields)
    skips = [int(plan.fields[part, SLOPE]) if part < n_fields else 0 for part, _, _ in counted]
    hashes = [[_bits(f"rate({name})"), skip] for (_, name, _), skip in zip(counted, skips, strict=True)]
    numbers = [[s.prior, s.half_life_s / 60 if s.half_life_s else np.inf] for _, _, s in counted]
    flags = [[s.rate_buckets, s.count_buckets, s.age_buckets, s.link == "logit"] for _, _, s in counted]
    return StatisticsPlan(
        part=np.ascontiguousarray(plan.statistics[:, PART]),
        hashes=_int64(hashes, 2).view(np.uint64),
        settings=np.array(numbers, np.float64).reshape(-1, 2),
        flags=np.array(flags, np.bool_).reshape(-1, 4),
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
    hashes = [hashing.hash_text(name) for name in names]
    return Wiring(np.array(first, np.int64), following, np.array(hashes, np.uint64))


def _field_row(field: Field, column: int) -> list[int]:
    is_rest = field.source == REST
    of_number = 1
    if field.kind == "time":
        of_number = len(set(field.parts))
    elif field.kind == "number":
        of_number = int(field.buckets) + int(field.normalise)
    return [
        _bits(field.name),
        _SOURCES.get(field.source, ENTRIES),
        NUMERIC if is_rest else _KINDS[field.kind],  # an undeclared number is bucketed
        int(is_rest),
        int(field.buckets),
        of_number,
        column,
        _slope_bits(field.name) if column >= 0 else 0,
        sum(_PARTS[part] for part in set(field.parts)),
        _POOLING[field.pooling],
    ]


def _cross_row(cross: Cross, index: dict[str, int]) -> list[int]:
    parts = [*(index[name] for name in cross.fields), -1]
    return [*parts[:3], _bits(cross.name), cross.limit]


def _n_ids(statistics: Statistics) -> int:
    """Ids that a statistic gives for an example that has its field."""
    return 1 + statistics.rate_buckets + statistics.count_buckets + statistics.age_buckets


def _counted(spec: FeatureSpec) -> list[tuple[int, str, Statistics]]:
    """(bag, its name, its statistics) of everything that has statistics."""
    parts: list[Field | Cross] = [*spec.fields, *spec.crosses]
    return [(i, part.name, part.statistics) for i, part in enumerate(parts) if part.statistics is not None]


def _edges(per_octave: int) -> np.ndarray:
    """2^(i / per_octave): compared with an exact mantissa, so that buckets are the same on every platform."""
    edges = np.full(_MAX_PER_OCTAVE, np.inf)
    edges[:per_octave] = [2.0 ** (i / per_octave) for i in range(per_octave)]
    return edges


def _slope_bits(name: str) -> int:
    pair = hashing.combine(np.uint64(hashing.hash_text(name)), np.uint64(hashing.hash_text("slope")))
    return _signed(int(pair))


def _bits(name: str) -> int:
    return _signed(hashing.hash_text(name))


def _signed(identity: int) -> int:
    """The int64 of the same bits."""
    return identity - (1 << 64) if identity >> 63 else identity


def _int64(rows: list[list[int]], width: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, width)


def _indices(flags: Iterable[bool]) -> np.ndarray:
    return np.flatnonzero(np.array(list(flags), np.bool_)).astype(np.int64)
