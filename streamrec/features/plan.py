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
# Columns of `Plan.crosses` after its three fields.
CROSS_HASH, LIMIT = 3, 4
# SOURCE: where a field's values come from.
ENTRIES, FROM_USER, FROM_ITEM, FROM_TIME = range(4)
# KIND: what becomes of a number: kept as a category, bucketed and normalised, split into hour and weekday.
KEPT, NUMERIC, TEMPORAL = range(3)

_SOURCES = {"user": FROM_USER, "item": FROM_ITEM, "time": FROM_TIME}
_KINDS = {"category": KEPT, "bag": KEPT, "text": KEPT, "number": NUMERIC, "time": TEMPORAL}
_POOLING = {"sum": 0, "mean": 1, "sqrt": 2}
_PARTS = {"hour": 1, "weekday": 2, "hour_of_week": 4, "day": 8}


class Plan(NamedTuple):
    """F fields, X crosses, S statistics. Hashes are the bits of a uint64."""

    #: int64 (F, 10): hash of the name, source, kind, whether it reads all other features, whether numbers
    #: are bucketed, ids that a number becomes, dense column of a normalised number or −1, its slope id or 0,
    #: bits of the parts of a time, pooling (0 sum, 1 mean, 2 sqrt).
    fields: np.ndarray
    edges: np.ndarray  # float64 (F, most edges + 1): edges of the intervals of a number, then infinity
    direct: np.ndarray  # int64 (n,): fields that read user, item or time
    pooled: np.ndarray  # int64 (n,): fields whose pooling is not sum, and the one for all other features
    crosses: np.ndarray  # int64 (X, 5): three fields (−1: no third), hash of the name, limit
    counted: np.ndarray  # int64 (S,): bags that have target statistics (field, or F + cross)


class StatisticsPlan(NamedTuple):
    """S target statistics."""

    ids: np.ndarray  # uint64 (S, 2): of the coordinates of rate and of recent
    settings: (
        np.ndarray
    )  # float64 (S, 3): prior; half-life in ms, infinity for never; 1 for logit, 0 identity
    lag_ms: int


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
        edges=_edges(spec.fields),
        direct=_indices(field.source in _SOURCES for field in spec.fields),
        pooled=_indices(field.pooling != "sum" or field.source == REST for field in spec.fields),
        crosses=_int64([_cross_row(cross, index) for cross in spec.crosses], 5),
        counted=np.array([part for part, _, _ in _counted(spec)], np.int64),
    )


def plan_statistics(spec: FeatureSpec) -> StatisticsPlan:
    """The arrays of a spec's target statistics."""
    names = [name for _, name, _ in _counted(spec)]
    settings = [s for _, _, s in _counted(spec)]
    ids = [[_bits(f"rate({name})"), _bits(f"recent({name})")] for name in names]
    half_lives_ms = [s.half_life_s * 1000 if s.half_life_s else np.inf for s in settings]
    rows = [[s.prior, ms, s.link == "logit"] for s, ms in zip(settings, half_lives_ms, strict=True)]
    return StatisticsPlan(
        ids=_int64(ids, 2).view(np.uint64),
        settings=np.array(rows, np.float64).reshape(-1, 3),
        lag_ms=spec.lag_ms,
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
        of_number = (1 + bool(field.edges) if field.buckets else 0) + int(field.slope)
    return [
        _bits(field.name),
        _SOURCES.get(field.source, ENTRIES),
        NUMERIC if is_rest else _KINDS[field.kind],  # an undeclared number is bucketed
        int(is_rest),
        int(field.buckets),
        of_number,
        column,
        _slope_bits(field.name) if field.slope else 0,
        sum(_PARTS[part] for part in set(field.parts)),
        _POOLING[field.pooling],
    ]


def _cross_row(cross: Cross, index: dict[str, int]) -> list[int]:
    parts = [*(index[name] for name in cross.fields), -1]
    return [*parts[:3], _bits(cross.name), cross.limit]


def _counted(spec: FeatureSpec) -> list[tuple[int, str, Statistics]]:
    """(bag, its name, its statistics) of everything that has statistics."""
    parts: list[Field | Cross] = [*spec.fields, *spec.crosses]
    return [(i, part.name, part.statistics) for i, part in enumerate(parts) if part.statistics is not None]


def _edges(fields: Sequence[Field]) -> np.ndarray:
    edges = np.full((len(fields), 1 + max(len(field.edges) for field in fields)), np.inf)
    for f, field in enumerate(fields):
        edges[f, : len(field.edges)] = field.edges
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
