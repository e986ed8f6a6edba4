"""Which items have which values of which features, while both change: what predicates on items ask.

Columns of (item, feature, value), a block for each change. An entry counts while its block is the newest of
its item. Two blocks of about one size become one, so there are few, and an entry is moved log(n) times.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from streamrec.errors import StoreMismatch, UsageError
from streamrec.events.decoder import BlockDecoder
from streamrec.events.model import FeatureValue
from streamrec.state.table import SparseTable

__all__ = ["Attributes"]

_HEAD = b'{"type":"item","id":"i","time":0,"features":'


class _Entries(NamedTuple):
    """Values of features of items, as one change gave them."""

    serial: int  # of the change, or of the last one that was merged into these
    item: np.ndarray[Any, Any]  # uint64 (E,)
    born: np.ndarray[Any, Any]  # int64 (E,), the change that gave it
    field: np.ndarray[Any, Any]  # int32 (E,), place in the decoder's `fields`
    value: np.ndarray[Any, Any]  # uint64 (E,), as the decoder has it


class Attributes:
    """Items by the values of their features.

    >>> attributes = Attributes()
    >>> attributes.update(np.array([7, 8], np.uint64), [b'{"genres":["war","drama"]}', b'{"year":1999}'])
    >>> attributes.having("genres", ["drama", "comedy"]).tolist(), attributes.having("year", [1999]).tolist()
    ([7], [8])
    """

    def __init__(self) -> None:
        self._decoder = BlockDecoder()
        self._newest = SparseTable(2)  # of each item the number of its last change, an int64
        self._blocks: list[_Entries] = []
        self._serial = 0

    def __len__(self) -> int:
        """How many items are known, those without features too."""
        return len(self._newest)

    @property
    def fields(self) -> Sequence[str]:
        """Names of the features that items have had."""
        return self._decoder.fields

    def update(self, items: np.ndarray[Any, Any], texts: Sequence[bytes]) -> None:
        """Set all features of items uint64 (N,), each once, to JSON objects.

        Raises:
            StoreMismatch: one is no object of features.

        """
        if not len(items):
            return
        data = b"".join([_HEAD + text + b"}\n" for text in texts])
        block, rejections = self._decoder.decode(data)
        if rejections or len(block) != len(items):
            reason = rejections[0].reason if rejections else "no line"
            raise StoreMismatch(f"stored features of an item: {reason}; start over with --fresh")
        self._serial += 1
        number = np.full(len(items), self._serial, np.int64)
        self._newest.upsert(items, number.view(np.float32).reshape(-1, 2), changed=False)
        owner = np.repeat(items, np.diff(block.entry_offsets))
        born = np.full(len(owner), self._serial, np.int64)
        self._blocks.append(_Entries(self._serial, owner, born, block.entry_field, block.entry_value))
        self._merge()

    def forget(self, items: np.ndarray[Any, Any]) -> None:
        """Items uint64 (N,) have no features any more; those that are not known are ignored."""
        self._newest.delete(items, changed=False)

    def having(self, field: str, values: Sequence[FeatureValue]) -> np.ndarray[Any, Any]:
        """Items of which a feature is, or has among its elements, one of these values; uint64, ascending."""
        if field not in self._decoder.fields:
            return np.empty(0, np.uint64)
        number, wanted = self._decoder.fields.index(field), _ids(values)
        found = [np.empty(0, np.uint64)]
        for block in self._blocks:
            places = np.flatnonzero((block.field == number) & np.isin(block.value, wanted))
            items = block.item[places]
            found.append(items[self._born(items) == block.born[places]])
        return np.unique(np.concatenate(found))

    def _born(self, items: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self._newest.get(items)[0].view(np.int64)[:, 0]

    def _merge(self) -> None:
        blocks = self._blocks
        while len(blocks) > 1 and len(blocks[-2].item) <= 2 * len(blocks[-1].item):
            older, newer = blocks[-2:]
            columns = [np.concatenate(pair) for pair in zip(older[1:], newer[1:], strict=True)]
            alive = self._born(columns[0]) == columns[1]
            blocks[-2:] = [_Entries(newer.serial, *(column[alive] for column in columns))]


def _ids(values: Sequence[FeatureValue]) -> np.ndarray[Any, Any]:
    """What the decoder makes of values, uint64; a decoder of their own, so that requests leave no traces."""
    data = b"".join([_HEAD + b'{"v":' + to_json(value) + b"}}\n" for value in values])
    block, rejections = BlockDecoder().decode(data)
    if rejections:
        raise UsageError(f"exclude.where: {rejections[0].reason}")
    return block.entry_value
