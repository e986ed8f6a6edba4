"""What the extractor computes, once more in plain Python: one example, one feature, one id at a time."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from streamrec.events.block import BOOLEAN, NUMBER, STRING, TOKEN, Examples
from streamrec.features.spec import REST, FeatureSpec, Field, Statistics
from streamrec.hashing import combine, hash_number, hash_text

_PER_OCTAVE_OF_REST = 2


class Row(NamedTuple):
    """One labelled example as its JSON says."""

    features: dict[str, Any]
    user: str | None = None
    item: str | None = None
    time_ms: int = 1_700_000_000_000
    label: float = 0.0
    weight: float = 1.0


def columns(rows: Sequence[Row], names: list[str], text: Sequence[str] = ()) -> Examples:
    """Rows as the decoder's columns; `names` grows by the features that it has not seen."""
    fields, kinds, values, offsets = [], [], [], [0]
    for row in rows:
        for name, value in row.features.items():
            if name not in names:
                names.append(name)
            for kind, bits in _entries(value, name in text):
                fields.append(names.index(name))
                kinds.append(kind)
                values.append(bits)
        offsets.append(len(fields))
    return Examples(
        time_ms=np.array([row.time_ms for row in rows], np.int64),
        key=np.arange(1, len(rows) + 1, dtype=np.uint64),
        user=np.array([0 if row.user is None else hash_text(row.user) for row in rows], np.uint64),
        item=np.array([0 if row.item is None else hash_text(row.item) for row in rows], np.uint64),
        labels=np.array([row.label for row in rows], np.float32),
        weights=np.array([row.weight for row in rows], np.float32),
        entry_offsets=np.array(offsets, np.int64),
        entry_field=np.array(fields, np.int32),
        entry_kind=np.array(kinds, np.uint8),
        entry_value=np.array(values, np.uint64),
    )


def _entries(value: Any, text: bool) -> list[tuple[int, int]]:
    if value is None:
        return []
    if isinstance(value, bool):
        return [(BOOLEAN, hash_text("true" if value else "false"))]
    if isinstance(value, int | float):
        return [(NUMBER, _bits(float(value)))]
    if isinstance(value, str) and text:
        return [(TOKEN, hash_text(word)) for word in value.lower().split()]
    return [(STRING, hash_text(v)) for v in (value if isinstance(value, list) else [value])]


def _bits(x: float) -> int:
    return int(np.float64(x).view(np.uint64))


def join(a: int, b: int) -> int:
    return int(combine(np.uint64(a % 2**64), np.uint64(b % 2**64)))


class Counts(NamedTuple):
    total: float
    count: float
    last: float
    first: float


class Oracle:
    """Bags of one example after another; `leak` counts a label before its own features are made."""

    def __init__(self, spec: FeatureSpec, leak: bool = False) -> None:
        self.spec, self.leak = spec, leak
        self.numbers: dict[str, list[float]] = {}
        self.counts: dict[int, Counts] = {}
        self.total = self.weight = 0.0

    def bags(self, row: Row, learn: bool = True) -> tuple[list[list[tuple[int, float]]], list[float]]:
        """(id, value) of every bag, and the dense columns."""
        spec, dense = self.spec, []
        bags = [self._field(field, row) for field in spec.fields]
        for field, bag in zip(spec.fields, bags, strict=True):
            if field.kind == "number" and field.normalise:
                dense.append(self._normalise(field, row, bag, learn))
        index = {field.name: i for i, field in enumerate(spec.fields)}
        for cross in spec.crosses:
            parts = [[p for p in bags[index[n]] if p[0] != slope(n)] for n in cross.fields]
            name = hash_text("×".join(cross.fields))
            bags.append([self._crossed(name, combo) for combo in islice(product(*parts), cross.limit)])
        counted = [
            (part, bag)
            for part, bag in zip([*spec.fields, *spec.crosses], list(bags), strict=True)
            if part.statistics
        ]
        if self.leak and learn:
            self._count(row, counted)
        for part, bag in counted:
            statistic, two = self._statistic(part.name, part.statistics, bag, row)
            bags.append(statistic)
            dense += two
        if learn and not self.leak:
            self._count(row, counted)
        return bags, dense

    def _field(self, field: Field, row: Row) -> list[tuple[int, float]]:
        name = hash_text(field.name)
        if field.source in ("user", "item"):
            value = row.user if field.source == "user" else row.item
            return [] if value is None else [(join(name, hash_text(value)), 1.0)]
        if field.source == "time":
            return [(i, 1.0) for i in self._number(field, name, row.time_ms, row.time_ms / 1000)]
        named = {f.source.removeprefix("features.") for f in self.spec.fields if "." in f.source}
        ids: list[int] = []
        for feature, value in row.features.items():
            if field.source != REST and field.source != f"features.{feature}":
                continue
            if field.source == REST and feature in named:
                continue
            own = hash_text(feature) if field.source == REST else name
            for kind, bits in _entries(value, field.kind == "text"):
                if kind != NUMBER:
                    ids.append(join(own, bits))
                elif field.source == REST:
                    ids.append(join(own, bucket(value, _PER_OCTAVE_OF_REST)))
                else:
                    ids += self._number(field, own, int(min(max(value, -9e15), 9e15)), value)
        if field.source == REST:
            ids.sort()
        share = {"sum": 1.0, "mean": 1 / max(len(ids), 1), "sqrt": 1 / math.sqrt(max(len(ids), 1))}[
            field.pooling
        ]
        return [(i, share) for i in ids]

    def _number(self, field: Field, name: int, time_ms: int, x: float) -> list[int]:
        if field.kind == "number":
            buckets = [join(name, bucket(x, field.per_octave))] if field.buckets else []
            return buckets + ([slope(field.name)] if field.normalise else [])
        if field.kind == "time":
            days, hour = time_ms // 86_400_000, time_ms // 3_600_000 % 24
            weekday = (days + 3) % 7
            parts = {"hour": hour, "weekday": weekday, "hour_of_week": 24 * weekday + hour, "day": days}
            return [join(name, join(hash_text(p), v)) for p, v in parts.items() if p in field.parts]
        return [join(name, int(hash_number(np.uint64(_bits(x + 0.0)))))]

    def _normalise(self, field: Field, row: Row, bag: list[tuple[int, float]], learn: bool) -> float:
        seen = self.numbers.setdefault(field.name, [])
        places = [i for i, (identity, _) in enumerate(bag) if identity == slope(field.name)]
        if not places:
            return 0.0
        x = (
            row.time_ms / 1000
            if field.source == "time"
            else float(row.features[field.source.removeprefix("features.")])
        )
        x = min(max(x, -1e100), 1e100)
        z = 0.0
        if len(set(seen)) > 1:
            z = min(max((x - np.mean(seen)) / np.std(seen), -4.0), 4.0)
        for place in places:
            bag[place] = (bag[place][0], float(z))
        if learn:
            seen.append(x)
        return float(z)

    def _crossed(self, name: int, combo: Sequence[tuple[int, float]]) -> tuple[int, float]:
        value = 1.0
        for identity, share in combo:
            name, value = join(name, identity), value * share
        return name, value

    def _statistic(
        self, name: str, s: Statistics, bag: list[tuple[int, float]], row: Row
    ) -> tuple[list[tuple[int, float]], list[float]]:
        ids = [identity for identity, _ in bag if identity != slope(name)]
        if not ids:
            return [], [0.0, 0.0]
        minute = _minute(row)
        p0 = (self.total + 0.5) / (self.weight + 1)
        link = _logit if s.link == "logit" else float
        value = count = age = 0.0
        for identity in ids:
            c = self.counts.get(identity)
            if c is None or c.count == 0:
                continue
            kept = 0.5 ** (max(minute - c.last, 0) * 60 / s.half_life_s) if s.half_life_s else 1.0
            value += link((c.total * kept + s.prior * p0) / (c.count * kept + s.prior)) - link(p0)
            count += c.count * kept
            age += max(minute - c.first, 0)
        value, count, age = min(max(value / len(ids), -8), 8), count / len(ids), age / len(ids)
        own = hash_text(f"rate({name})")
        made = [(join(own, hash_text("slope")), value)]
        numbers = {"rate": 4 * value + 0.5, "count": 2 * math.log2(1 + count), "age": math.log2(1 + age)}
        for tag, wanted in zip(numbers, (s.rate_buckets, s.count_buckets, s.age_buckets), strict=True):
            if wanted:
                made.append((join(own, join(hash_text(f"statistic {tag}"), math.floor(numbers[tag]))), 1.0))
        return made, [value, math.log2(1 + count) / 8]

    def _count(self, row: Row, counted: Sequence[tuple[Any, list[tuple[int, float]]]]) -> None:
        minute = _minute(row)
        for part, bag in counted:
            for identity, _ in bag:
                if identity == slope(part.name):
                    continue
                c = self.counts.get(identity, Counts(0, 0, minute, minute))
                if c.count == 0:
                    c = Counts(c.total, 0, minute, minute)
                half_life = part.statistics.half_life_s
                kept = 0.5 ** (max(minute - c.last, 0) * 60 / half_life) if half_life else 1.0
                self.counts[identity] = Counts(
                    c.total * kept + row.weight * row.label,
                    c.count * kept + row.weight,
                    max(c.last, minute),
                    c.first,
                )
        self.total += row.weight * row.label
        self.weight += row.weight


def bucket(x: float, per_octave: int) -> int:
    """Value hash of a logarithmic bucket."""
    if x == 0:
        return hash_text("bucket 0")
    exponent = math.floor(math.log2(abs(x)))
    exponent -= abs(x) < 2.0**exponent
    step = max(i for i in range(per_octave) if 2 ** (i / per_octave) <= abs(x) / 2.0**exponent)
    return join(hash_text("bucket +" if x > 0 else "bucket -"), exponent * per_octave + step)


def slope(name: str) -> int:
    return join(hash_text(name), hash_text("slope"))


def _minute(row: Row) -> float:
    return (row.time_ms - 1_577_836_800_000) / 60_000


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def bags_of(batch: Any, names: Mapping[int, str] | None = None) -> list[list[list[tuple[int, float]]]]:
    """A batch as nested lists: example, bag, (id, value)."""
    F = batch.n_fields
    pairs = list(zip(batch.ids.tolist(), batch.values.tolist(), strict=True))
    spans = batch.offsets.tolist()
    return [[pairs[spans[b * F + f] : spans[b * F + f + 1]] for f in range(F)] for b in range(len(batch))]
