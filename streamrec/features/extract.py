"""From examples to batches: the extractor of one model."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.events.block import Examples
from streamrec.features.batch import Batch
from streamrec.features.buffers import Buffers
from streamrec.features.ids import count_ids, fill_crosses, fill_ids
from streamrec.features.numbers import normalise
from streamrec.features.plan import (
    COLUMN,
    Plan,
    StatisticsPlan,
    Wiring,
    bag_names,
    plan_spec,
    plan_statistics,
    wire,
)
from streamrec.features.spec import FeatureSpec
from streamrec.features.statistics import BLANK, COLUMNS, count_labels, new_totals
from streamrec.state.table import SparseTable

__all__ = ["Extractor"]

_BLOB = "features"
_TABLE = "statistics"


class Extractor:
    """Turns examples into batches, one after another in the order of the stream.

    It owns what features remember: moments of numbers, target statistics. The features of an example depend
    on the examples before it only, never on its own label or on where a batch ends. Ids depend on the spec
    only.

    Args:
        spec: the features.

    Attributes:
        check: called with every batch to predict from, before anybody gets it; it may raise.

    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.check: Callable[[Batch], None] | None = None
        self.tables: Mapping[str, SparseTable] = {}
        self.field_names = bag_names(spec)
        self._plan: Plan = plan_spec(spec)
        self._statistics: StatisticsPlan = plan_statistics(spec)
        if len(self._plan.counted):
            self.tables = {_TABLE: SparseTable(len(BLANK))}
        self._n_numbers = int(np.count_nonzero(self._plan.fields[:, COLUMN] >= 0))
        self._moments = np.zeros((self._n_numbers, 3))
        self._totals = new_totals()
        self._buffers = Buffers()
        self._names: tuple[str, ...] = ()
        self._wiring: Wiring = wire(spec, ())
        self._unknown: dict[str, int] = {}
        self._seen_unknown: list[str] = []

    @property
    def n_fields(self) -> int:
        """Bags of an example: fields, crosses, statistics."""
        return len(self.field_names)

    @property
    def n_dense(self) -> int:
        """Dense columns: one a normalised number, then three a statistic: rate, recent, log2(1 + n) / 8."""
        return self._n_numbers + COLUMNS * len(self._plan.counted)

    @property
    def counted_bags(self) -> np.ndarray:
        """int64 (S,): numbers of the bags whose ids have target statistics."""
        return self._plan.counted

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Names of features that the decoder must split into words."""
        return tuple(f.source.removeprefix("features.") for f in self.spec.fields if f.kind == "text")

    @property
    def unknown_fields(self) -> tuple[str, ...]:
        """Features of examples that no field of the spec names, in the order of their first batch."""
        return tuple(self._seen_unknown)

    def extract(self, examples: Examples, fields: Sequence[str]) -> Batch:
        """The batch to learn from; moments and statistics go on by these examples.

        Args:
            examples: B examples, the next of the stream.
            fields: the decoder's field names, which `entry_field` counts.

        """
        return self._extract(examples, fields, learn=True)

    def preview(self, examples: Examples, fields: Sequence[str]) -> Batch:
        """The batch to predict from: each example as if it were next; nothing changes, no label is read."""
        batch = self._extract(examples, fields, learn=False)
        if self.check is not None:
            self.check(batch)
        return batch

    def blobs(self) -> dict[str, bytes]:
        """State that is not in a table: moments (D, 3) and totals (4,), little-endian float64."""
        if not self.n_dense:
            return {}
        return {_BLOB: np.concatenate([self._moments.ravel(), self._totals]).astype("<f8").tobytes()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave; other keys are ignored.

        Raises:
            StoreMismatch: the blob belongs to another spec.

        """
        if not self.n_dense:
            return
        expected = 8 * (self._moments.size + self._totals.size)
        got = len(blobs.get(_BLOB, b""))
        if got != expected:
            raise StoreMismatch(f"state of the features: expected {expected} bytes for this spec, got {got}")
        state = np.frombuffer(blobs[_BLOB], "<f8").astype(np.float64)
        self._moments = state[: self._moments.size].reshape(-1, 3).copy()
        self._totals = state[self._moments.size :].copy()

    def _extract(self, examples: Examples, fields: Sequence[str], *, learn: bool) -> Batch:
        examples = _canonical(examples)
        self._rewire(fields)
        if learn and self._unknown:
            self._note_unknown(examples)
        n = len(examples)
        offsets = self._buffers.take("offsets", n * self.n_fields + 1, np.int64)
        repeats, cursor = np.empty(n, np.bool_), np.empty(self.n_fields, np.int64)
        count_ids(examples, self._plan, self._wiring, offsets, repeats)
        n_ids = int(offsets[-1])
        ids, values = (
            self._buffers.take("ids", n_ids, np.uint64),
            self._buffers.take("values", n_ids, np.float32),
        )
        values[:] = 1
        raw = np.full((n, self._n_numbers), np.nan)
        dense = np.zeros((n, self.n_dense), np.float32)
        numbers = examples.entry_value.view(np.float64)
        longest = int(np.diff(examples.entry_offsets).max(initial=0))
        scratch = (repeats, cursor, np.empty(longest, np.uint64), np.empty(longest, np.uint64))
        bags = (offsets, ids, values)
        fill_ids(examples, self._plan, self._wiring, bags, numbers, raw, scratch)
        if self._n_numbers:
            normalise(self._plan.fields, self._moments, learn, examples.role, raw, dense, bags)
        if self.spec.crosses:
            fill_crosses(self._plan, n, *bags)
        given = (examples.labels, examples.weights, examples.time_ms, examples.role, examples.key)
        who = (examples.user, examples.item, examples.chosen)
        batch = Batch(ids, values, offsets, dense, *given, *who)
        if self.tables:
            self._count(batch, learn=learn)
        return batch

    def _count(self, batch: Batch, *, learn: bool) -> None:
        table = self.tables[_TABLE]
        full = np.zeros(1, np.uint64)
        columns = np.zeros((len(batch), COLUMNS * len(self._plan.counted)), np.float32)
        examples = (batch.time_ms, batch.labels, batch.weights, batch.role)
        bags = (batch.offsets, batch.ids, batch.values, columns)
        done = 0
        while True:
            slots = (table.directory, table.stride, BLANK, full)
            done = count_labels(
                self._plan, self._statistics, slots, self._totals, learn, done, examples, bags
            )
            if done == len(batch):
                break
            table.grow_for(int(full[0]))
        batch.dense[:, self._n_numbers :] = columns

    def _rewire(self, fields: Sequence[str]) -> None:
        if len(fields) == len(self._names) and tuple(fields) == self._names:
            return
        self._names = tuple(fields)
        self._wiring = wire(self.spec, self._names)
        known = {field.source.removeprefix("features.") for field in self.spec.fields if "." in field.source}
        self._unknown = {
            name: i
            for i, name in enumerate(self._names)
            if name not in known and name not in self._seen_unknown
        }

    def _note_unknown(self, examples: Examples) -> None:
        """Move the names that this batch has from those to look for to those seen."""
        used = examples.entry_field[examples.entry_offsets[0] : examples.entry_offsets[-1]]
        present = np.bincount(used, minlength=len(self._names)) if len(used) else np.zeros(len(self._names))
        seen = [name for name, i in self._unknown.items() if present[i]]
        self._seen_unknown += seen
        for name in seen:
            del self._unknown[name]


_DTYPES: dict[str, type[np.generic]] = {
    "time_ms": np.int64,
    "key": np.uint64,
    "user": np.uint64,
    "item": np.uint64,
    "labels": np.float32,
    "weights": np.float32,
    "role": np.uint8,
    "chosen": np.bool_,
    "entry_offsets": np.int64,
    "entry_field": np.int32,
    "entry_kind": np.uint8,
    "entry_value": np.uint64,
}


def _canonical(examples: Examples) -> Examples:
    """The same columns, each writeable and contiguous: kernels are compiled for this form only."""
    return Examples(*(_required(getattr(examples, name), dtype) for name, dtype in _DTYPES.items()))


def _required(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """`np.require` of those that are not in this form: it takes 4 µs also where nothing is to be done."""
    flags = array.flags
    if array.dtype.type is dtype and flags.c_contiguous and flags.writeable:
        return array
    return np.require(array, dtype, ["C", "W"])
