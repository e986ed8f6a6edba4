"""Metrics per value of one field: where the model is good and where it is not."""

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.errors import StoreMismatch
from streamrec.evaluation.blocks import Outcomes
from streamrec.evaluation.scores import entropy, logarithms, mean, ratio
from streamrec.events.block import NUMBER, EventBlock, Examples
from streamrec.hashing import hash_text
from streamrec.memory import JIT

__all__ = ["Slice", "SliceTable"]

_ABSENT, _OTHER = 0, 1  # slots of examples without the field, and of values beyond the bound
_COUNT, _WEIGHT, _LABEL, _PREDICTION, _LOSS, _SQUARE = range(6)
_FORMAT = struct.Struct("<4sI")  # magic, bytes of the header
_MAGIC = b"SRS1"


class Slice(NamedTuple):
    """The examples with one value of the field; metrics as in `ProgressiveMetrics`."""

    value: str
    examples: int
    base_rate: float | None
    log_loss: float | None
    ne: float | None
    calibration: float | None
    rmse: float | None


class SliceTable:
    """Sums per value of a field; an example with several values (a bag) counts in the slice of each.

    The sums depend on the stream only, not on its batches.

    Args:
        field: a feature's name, or `user` or `item` where no feature has that name.
        is_click: False for the rating task, which has no log loss.
        most_values: values with a slice of their own: those that come first; others are pooled as "(other)".

    """

    def __init__(self, field: str, *, is_click: bool = True, most_values: int = 10_000) -> None:
        self.field = field
        self.is_click = is_click
        self.most_values = most_values
        self._slots: dict[int, int] = {}  # value id → slot, from 2 on
        self._names: dict[int, str] = {}  # value id → text
        self._sums = np.zeros((2, 6))

    def update(self, places: tuple[np.ndarray, np.ndarray], outcomes: Outcomes) -> None:
        """Add outcomes; `places` are theirs, as the method gives those of examples."""
        _add(self._sums, *places, outcomes)

    def places(self, examples: Examples, fields: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Which example is in which slice, in order: indices and numbers of slices, int64 (V,).

        `fields` are the decoder's, which `entry_field` counts.
        """
        owners, ids, _ = _values(examples, fields, self.field)
        slots = np.array([self._slot(id_) for id_ in ids.tolist()], np.int64)
        missing = 2 + len(self._slots) - len(self._sums)
        self._sums = np.vstack([self._sums, np.zeros((missing, 6))])
        without = np.setdiff1d(np.arange(len(examples)), owners)
        owners = np.append(owners, without)
        slots = np.append(slots, np.full(len(without), _ABSENT))
        order = np.argsort(owners, kind="stable")
        return owners[order], slots[order]

    def name(self, number: int) -> str:
        """What the values of a slice are called."""
        if number in (_ABSENT, _OTHER):
            return "(absent)" if number == _ABSENT else "(other)"
        id_ = list(self._slots)[number - 2]
        return self._names.get(id_, f"#{id_:016x}")

    def read_names(self, block: EventBlock, data: bytes, fields: Sequence[str]) -> None:
        """Learn what the values are called: columns have ids only, the lines of `data` have the texts."""
        owners, ids, kinds = _values(block, fields, self.field)
        new, first = np.unique(ids, return_index=True)
        for id_, at in zip(new.tolist(), first.tolist(), strict=True):
            if id_ in self._names or len(self._names) >= self.most_values:
                continue
            if kinds[at] == NUMBER:
                self._names[id_] = f"{np.uint64(id_).view(np.float64):g}"
            else:
                i = owners[at]
                self._names |= _texts(data[block.start[i] : block.end[i]], self.field, self.field in fields)

    def top(self, n: int = 20) -> list[Slice]:
        """The n largest slices, largest first; then the others as one, and the examples without the field."""
        names = {slot: self._names.get(id_, f"#{id_:016x}") for id_, slot in self._slots.items()}
        largest = sorted(names, key=lambda slot: (-self._sums[slot, _COUNT], slot))
        shown = [(names[slot], self._sums[slot]) for slot in largest[:n]]
        left_over = self._sums[_OTHER] + self._sums[largest[n:]].sum(axis=0)
        shown += [("(other)", left_over), ("(absent)", self._sums[_ABSENT])]
        return [self._measured(name, sums) for name, sums in shown if sums[_COUNT]]

    def to_text(self, n: int = 20) -> str:
        """`top` as a table for people."""
        head = [self.field, "examples", "base rate", "log loss", "NE", "calibration", "RMSE"]
        rows = [
            [s.value[:40], f"{s.examples:,}", *("" if x is None else f"{x:.4f}" for x in s[2:])]
            for s in self.top(n)
        ]
        columns = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
        widths = [max(map(len, column)) for column in columns]
        lines = []
        for row in zip(*columns, strict=True):
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
        return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])

    def to_bytes(self) -> bytes:
        """The whole state."""
        header = {
            "field": self.field,
            "is_click": self.is_click,
            "most_values": self.most_values,
            "ids": list(self._slots),
            "names": list(self._names.items()),
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        return _FORMAT.pack(_MAGIC, len(text)) + text + self._sums.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "SliceTable":
        """What `to_bytes` was called on.

        Raises:
            StoreMismatch: these are not such bytes.

        """
        try:
            magic, size = _FORMAT.unpack_from(data)
            if magic != _MAGIC:
                raise ValueError(f"expected them to begin with {_MAGIC!r}, got {magic!r}")
            header = json.loads(data[_FORMAT.size : _FORMAT.size + size])
            table = cls(header["field"], is_click=header["is_click"], most_values=header["most_values"])
            table._slots = {id_: slot for slot, id_ in enumerate(header["ids"], 2)}
            table._names = dict(header["names"])
            sums = np.frombuffer(data, "<f8", offset=_FORMAT.size + size)
            table._sums = sums.reshape(2 + len(table._slots), 6).copy()
        except (struct.error, ValueError, KeyError) as error:
            raise StoreMismatch(f"stored slices cannot be read: {error}; start over with --fresh") from error
        return table

    def _slot(self, id_: int) -> int:
        slot = self._slots.get(id_)
        if slot is None:
            if len(self._slots) >= self.most_values:
                return _OTHER
            slot = self._slots[id_] = 2 + len(self._slots)
        return slot

    def _measured(self, name: str, sums: np.ndarray) -> Slice:
        n, weight, label, prediction, loss, square = (float(x) for x in sums)
        base_rate, mean_square = ratio(label, weight), mean(square, weight)
        log_loss = mean(loss, weight) if self.is_click else None
        ne = ratio(log_loss, entropy(base_rate)) if log_loss is not None and base_rate is not None else None
        rmse = mean_square**0.5 if mean_square is not None else None
        return Slice(name, int(n), base_rate, log_loss, ne, ratio(prediction, label), rmse)


def _values(
    source: EventBlock | Examples, fields: Sequence[str], field: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which event has which value of the field, in order: indices, value ids and kinds (V,)."""
    if field in fields:
        entries = np.flatnonzero(source.entry_field == list(fields).index(field))
        owners = np.searchsorted(source.entry_offsets, entries, side="right") - 1
        return owners, source.entry_value[entries], source.entry_kind[entries]
    if field in ("user", "item"):
        ids = source.user if field == "user" else source.item
        owners = np.flatnonzero(ids)
        return owners, ids[owners], np.zeros(len(owners), np.uint8)
    return np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.uint8)


def _texts(line: bytes, field: str, is_feature: bool) -> dict[int, str]:
    """Ids and texts of the values of the field in one event; none where they are not texts."""
    event: dict[str, Any] = json.loads(line)
    value = event.get("features", {}).get(field) if is_feature else event.get(field)
    values = value if isinstance(value, list) else [str(value).lower() if isinstance(value, bool) else value]
    return {hash_text(text): text for text in values if isinstance(text, str)}


@njit(**JIT)
def _add(sums: np.ndarray, owners: np.ndarray, slots: np.ndarray, outcomes: Outcomes) -> None:
    predictions, labels, weights, counts = outcomes
    for j in range(len(owners)):
        i, s = owners[j], slots[j]
        p, y, w = np.float64(predictions[i]), np.float64(labels[i]), np.float64(weights[i])
        log_p, log_q = logarithms(p)
        sums[s, _COUNT] += counts[i]
        sums[s, _WEIGHT] += w
        sums[s, _LABEL] += w * y
        sums[s, _PREDICTION] += w * p
        sums[s, _LOSS] += w * (-y * log_p - (1.0 - y) * log_q)
        sums[s, _SQUARE] += w * (p - y) * (p - y)
