"""What the extractor computes, once more in plain Python: one example, one feature, one id at a time."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from streamrec.events.block import BOOLEAN, NUMBER, STRING, TOKEN, Examples
from streamrec.events.feedback import CORRECTION, FINAL
from streamrec.features.spec import REST, Cross, FeatureSpec, Field, Statistics
from streamrec.hashing import combine, hash_number, hash_text


class Row(NamedTuple):
    """One labelled example as its JSON says."""

    features: dict[str, Any]
    user: str | None = None
    item: str | None = None
    time_ms: int = 1_700_000_000_000
    label: float = 0.0
    weight: float = 1.0
    role: int = FINAL


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
        role=np.array([row.role for row in rows], np.uint8),
        chosen=np.array([row.label > 0 for row in rows], np.bool_),
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


class Counted(NamedTuple):
    """One label that was counted for a value."""

    epoch: int  # of the clock at that time
    weight: float
    label: float
    base: float
    corrects: bool  # a label that was counted as 0


class Oracle:
    """Bags of one example after another.

    Plants one of two faults: `leak` "label" counts a label before its own features are made, "live" looks up
    what was counted until now instead of until the example's epoch began.
    """

    def __init__(self, spec: FeatureSpec, leak: str = "") -> None:
        self.spec, self.leak = spec, leak
        self.numbers: dict[str, list[float]] = {}
        self.counted: dict[int, list[Counted]] = {}
        self.total = self.weight = 0.0
        self.now = -math.inf

    def bags(self, row: Row, learn: bool = True) -> tuple[list[list[tuple[int, float]]], list[float]]:
        """(id, value) of every bag, and the dense columns."""
        spec, dense = self.spec, []
        now, self.now = self.now, max(self.now, row.time_ms)
        bags = [self._field(field, row) for field in spec.fields]
        for field, bag in zip(spec.fields, bags, strict=True):
            if field.kind == "number" and field.normalise:
                dense.append(self._normalise(field, row, bag, learn))
        index = {field.name: i for i, field in enumerate(spec.fields)}
        for cross in spec.crosses:
            parts = [values_of(spec.fields[index[n]], bags[index[n]]) for n in cross.fields]
            name, value = hash_text("×".join(cross.fields)), 1 / math.sqrt(math.prod(map(len, parts)) or 1)
            combos = islice(product(*parts), cross.limit)
            bags.append([(reduce(join, [i for i, _ in combo], name), value) for combo in combos])
        counted = [
            (part, values_of(part, bag))
            for part, bag in zip([*spec.fields, *spec.crosses], list(bags), strict=True)
            if part.statistics
        ]
        if self.leak == "label" and learn:
            self._count(row, counted)
        for part, bag in counted:
            statistic, two = self._statistic(part.name, part.statistics, bag, row)
            bags.append(statistic)
            dense += two
        if learn and self.leak != "label":
            self._count(row, counted)
        if not learn:
            self.now = now
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
                    ids.append(join(own, octave(value)))
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
            ids = []
            if field.buckets and field.edges:
                ids.append(join(name, hash_text("bucket interval") + sum(edge <= x for edge in field.edges)))
            if field.buckets:
                ids.append(join(name, octave(x)))
            return ids + ([slope(field.name)] if field.slope else [])
        if field.kind == "time":
            days, hour = time_ms // 86_400_000, time_ms // 3_600_000 % 24
            weekday = (days + 3) % 7
            parts = {"hour": hour, "weekday": weekday, "hour_of_week": 24 * weekday + hour, "day": days}
            return [join(name, join(hash_text(p), v)) for p, v in parts.items() if p in field.parts]
        return [join(name, int(hash_number(np.uint64(_bits(x + 0.0)))))]

    def _normalise(self, field: Field, row: Row, bag: list[tuple[int, float]], learn: bool) -> float:
        seen = self.numbers.setdefault(field.name, [])
        places = [i for i, (identity, _) in enumerate(bag) if identity == slope(field.name)]
        x = (
            row.time_ms / 1000
            if field.source == "time"
            else row.features.get(field.source.removeprefix("features."))
        )
        if isinstance(x, bool) or not isinstance(x, int | float):
            return 0.0
        x = min(max(x, -1e100), 1e100)
        z = 0.0
        if len(set(seen)) > 1:
            z = min(max((x - np.mean(seen)) / np.std(seen), -4.0), 4.0)
        for place in places:
            bag[place] = (bag[place][0], float(z))
        if learn and row.role != CORRECTION:
            seen.append(x)
        return float(z)

    def _statistic(
        self, name: str, s: Statistics, bag: list[tuple[int, float]], row: Row
    ) -> tuple[list[tuple[int, float]], list[float]]:
        if not bag:
            return [], [0.0, 0.0, 0.0]
        p0 = self._base(s)
        link = _logit if s.link == "logit" else float
        rate = recent = count = 0.0
        for identity, _ in bag:
            n, total, e = self._as_of(identity, row.time_ms // self.spec.lag_ms, s.half_life_s)
            if n == 0:
                continue
            total = min(total, n) if s.link == "logit" else total
            rate += link((total + s.prior * p0) / (n + s.prior)) - link(p0)
            recent += e / math.sqrt(p0 * (1 - p0)) if s.link == "logit" else e
            count += n
        rate, recent, count = rate / len(bag), recent / len(bag), count / len(bag)
        made = [(hash_text(f"rate({name})"), rate), (hash_text(f"recent({name})"), recent)]
        return made, [rate, recent, math.log2(1 + count) / 8]

    def _as_of(self, identity: int, epoch: int, half_life_s: float | None) -> tuple[float, float, float]:
        """n, s, e of everything counted before the epoch, as far as three snapshots can tell."""
        counted = self.counted.get(identity, [])
        if not counted:
            return 0.0, 0.0, 0.0
        last = max(c.epoch for c in counted)
        before = math.inf if last < epoch or self.leak == "live" else last if last == epoch else last - 1
        n = total = e = 0.0
        for c in counted:
            if c.epoch < before:
                age_s = (max(epoch, last) - c.epoch) * self.spec.lag_ms / 1000
                kept = 0.5 ** (age_s / half_life_s) if half_life_s else 1.0
                n, total = n + kept * c.weight * (not c.corrects), total + kept * c.weight * c.label
                e += (1 - 0.8**c.weight) * (c.label - (0 if c.corrects else c.base + e))
        return n, total, e

    def _base(self, s: Statistics) -> float:
        total = min(self.total, self.weight) if s.link == "logit" else self.total
        return (total + 0.5) / (self.weight + 1)

    def _count(self, row: Row, counted: Sequence[tuple[Any, list[tuple[int, float]]]]) -> None:
        epoch = int(self.now) // self.spec.lag_ms
        for part, bag in counted:
            for identity, _ in bag:
                label = Counted(
                    epoch, row.weight, row.label, self._base(part.statistics), row.role == CORRECTION
                )
                self.counted.setdefault(identity, []).append(label)
        self.total += row.weight * row.label
        self.weight += row.weight * (row.role != CORRECTION)


def values_of(part: Field | Cross, bag: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """What of a bag stands for values: of the ids of one number the first."""
    if isinstance(part, Field) and part.kind == "number":
        n = (1 + bool(part.edges)) * part.buckets + part.slope
        return bag[:1] if len(bag) == n else bag
    return bag


def octave(x: float) -> int:
    """Value hash of sign·⌊log2(1 + |x|)⌋."""
    k = math.floor(math.log2(1 + abs(x)))
    k -= 1 + abs(x) < 2.0**k
    return hash_text("bucket octave") + (k if x >= 0 else -k)


def slope(name: str) -> int:
    return join(hash_text(name), hash_text("slope"))


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def bags_of(batch: Any, names: Mapping[int, str] | None = None) -> list[list[list[tuple[int, float]]]]:
    """A batch as nested lists: example, bag, (id, value)."""
    F = batch.n_fields
    pairs = list(zip(batch.ids.tolist(), batch.values.tolist(), strict=True))
    spans = batch.offsets.tolist()
    return [[pairs[spans[b * F + f] : spans[b * F + f + 1]] for f in range(F)] for b in range(len(batch))]
