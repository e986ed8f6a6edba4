"""Joining lines: what goes into the joiner and comes out of it where its output is lines again.

The joiner carries an event's feature entries from its arrival to its example without looking at them. Where
examples are to be written as lines, an event's entries are the eight-byte words of its line, so that memory,
rebuilding and every policy of the joiner hold for lines as they do for features.
"""

import json
from itertools import pairwise

import numpy as np
from numba import njit
from pydantic_core import from_json

from streamrec.events.block import CLICK, ITEM, EventBlock, Examples
from streamrec.memory import JIT

__all__ = ["carrying_lines", "example_line", "lines_of"]

_WORD = 8
_IMPRESSION = b'{"type":"impression",'
_EXAMPLE = b'{"type":"example",'
#: Fields that an impression ignores and an example does not.
_OURS = (b'"label"', b'"weight"')


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


def example_line(line: bytes, label: float, weight: float = 1.0) -> bytes:
    """A line as the example that it became, no newline: an impression's gets a label, others stay.

    >>> example_line(b'{"type":"impression","id":"i","time":1,"user":"u","item":"m","features":{}}', 1.0)
    b'{"type":"example","id":"i","time":1,"user":"u","item":"m","features":{},"label":1}'
    """
    if line.startswith(_IMPRESSION) and not any(name in line for name in _OURS):
        return _EXAMPLE + line[len(_IMPRESSION) :].rstrip()[:-1] + _outcome(label, weight)
    record = from_json(line.removeprefix(b"\xef\xbb\xbf"))
    if record["type"] != "impression":
        return line
    kept = {name: value for name, value in record.items() if name not in ("type", "label", "weight")}
    text = json.dumps({"type": "example", **kept}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")[:-1] + _outcome(label, weight)


def _outcome(label: float, weight: float) -> bytes:
    """The end of an example's line."""
    text = f',"label":{_number(label)}'
    if weight != 1.0:
        text += f',"weight":{_number(weight)}'
    return (text + "}").encode()


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
