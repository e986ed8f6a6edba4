"""Joining lines: what goes into the joiner and comes out of it where its output is lines again.

The joiner carries an event's feature entries from its arrival to its example without looking at them. Where
examples are to be written as lines, an event's entries are the eight-byte words of its line, so that memory,
rebuilding and every policy of the joiner hold for lines as they do for features.
"""

import json
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from pydantic_core import from_json

from streamrec.events.block import CLICK, ITEM, EventBlock, Examples
from streamrec.events.feedback import CONFIRMED, FINAL, feedback_fields
from streamrec.join.relabel import Ending, relabelled
from streamrec.memory import JIT

__all__ = ["Outcome", "carrying_lines", "example_line", "example_lines", "lines_of"]

_WORD = 8
_BOM = b"\xef\xbb\xbf"
#: Fields that an impression ignores and an example does not.
_OURS = ("label", "weight", "feedback", "impression")


def carrying_lines(block: EventBlock, data: bytes) -> EventBlock:
    """The same events, each with its line for entries; clicks and items carry nothing.

    data: what the block's `start` and `end` refer to.
    """
    sizes = block.end - block.start
    sizes[(block.type == CLICK) | (block.type == ITEM)] = 0
    offsets = np.append(np.int64(0), np.cumsum(-(-sizes // _WORD)))
    words = np.zeros(int(offsets[-1]), np.uint64)
    _copy(words.view(np.uint8), np.frombuffer(data, np.uint8), offsets, block.start, sizes)
    field, kind = np.zeros(len(words), np.int32), np.zeros(len(words), np.uint8)
    entries = {"entry_offsets": offsets, "entry_field": field, "entry_kind": kind, "entry_value": words}
    return EventBlock(**{**block._asdict(), **entries})


@njit(**JIT)
def _copy(
    out: np.ndarray, data: np.ndarray, offsets: np.ndarray, starts: np.ndarray, sizes: np.ndarray
) -> None:
    for i in range(len(sizes)):
        at, start = 8 * offsets[i], starts[i]
        for j in range(sizes[i]):
            out[at + j] = data[start + j]


def lines_of(examples: Examples) -> list[bytes]:
    """The lines that these examples carry: of the impression, rating or example that each was."""
    data, ends = examples.entry_value.tobytes(), (examples.entry_offsets * _WORD).tolist()
    # no JSON has NUL bytes: those at the end fill the last word
    return [data[start:end].rstrip(b"\0") for start, end in pairwise(ends)]


class Outcome(NamedTuple):
    """What an example says beyond its impression."""

    label: float
    weight: float = 1.0
    role: int = FINAL


def example_lines(examples: Examples) -> list[bytes]:
    """`example_line` of every line that these examples carry, with its outcome.

    Compiled code takes what can be decided by its bytes: lines without escapes that name none of an example's
    fields; a tenth of the time that it takes one by one.
    """
    outcomes, which = _outcomes(examples)
    spans = examples.entry_offsets * _WORD
    out, ends = relabelled(examples.entry_value.view(np.uint8), spans, list(map(_ending, outcomes)), which)
    data, lines = out.tobytes(), []
    for i, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
        lines.append(data[start:end])
        if start == end:
            line = examples.entry_value[examples.entry_offsets[i] : examples.entry_offsets[i + 1]].tobytes()
            lines[-1] = example_line(line.rstrip(b"\0"), outcomes[which[i]])
    return lines


def _outcomes(examples: Examples) -> tuple[list[Outcome], np.ndarray]:
    """Every outcome that there is, and the number of each example's."""
    pairs = np.empty((len(examples), 2), np.float32)
    pairs[:, 0], pairs[:, 1] = examples.labels, examples.weights
    distinct, which = np.unique(pairs.view(np.uint64), return_inverse=True)
    codes, which = np.unique(which.reshape(-1) << 8 | examples.role, return_inverse=True)
    found = distinct.view(np.float32).reshape(-1, 2)[codes >> 8].tolist()
    roles = (codes & 255).tolist()
    return [Outcome(label, weight, role) for (label, weight), role in zip(found, roles, strict=True)], which


def _ending(outcome: Outcome) -> Ending:
    fields = feedback_fields("", outcome.role)
    text = _outcome(outcome)[:-1]
    if "feedback" in fields:
        text += f',"feedback":"{fields["feedback"]}"'.encode()
    return Ending(fields["id"].encode(), text, "impression" in fields, outcome.role == CONFIRMED)


def example_line(line: bytes, outcome: Outcome) -> bytes:
    """A line as the example that it became, no newline: an impression's gets a label, others stay.

    What only confirms has no features: nothing is learned from it.

    >>> line = b'{"type":"impression","id":"i","time":1,"user":"u","item":"m","features":{}}'
    >>> example_line(line, Outcome(1.0))
    b'{"type":"example","id":"i","time":1,"user":"u","item":"m","features":{},"label":1}'
    >>> example_line(line, Outcome(0.0, role=CONFIRMED))  # doctest: +ELLIPSIS
    b'{"type":"example","id":"i#confirmed",...,"feedback":"confirmed","impression":"i","label":0}'
    """
    line = line.removeprefix(_BOM)
    record = from_json(line)
    if record["type"] != "impression":
        return line
    kept = {name: value for name, value in record.items() if name not in _OURS}
    kept |= {"type": "example"} | feedback_fields(record["id"], outcome.role)
    if outcome.role == CONFIRMED:
        del kept["features"]
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")[:-1] + _outcome(outcome)


def _outcome(outcome: Outcome) -> bytes:
    """The label and the weight at the end of an example's line."""
    text = f',"label":{_number(outcome.label)}'
    if outcome.weight != 1.0:
        text += f',"weight":{_number(outcome.weight)}'
    return (text + "}").encode()


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
