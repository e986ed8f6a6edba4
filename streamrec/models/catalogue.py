"""What items are called and what they are like: learning needs ids only, an answer needs texts.

Names and features are texts in tables of the pipeline, so they come with the commit that has the vectors. An
item is known from its first event on. Its features are those of its last catalogue event; as long as there
was none, those of the first event that showed it, as far as they belong to items.
"""

from collections.abc import Collection, Mapping

import numpy as np
from pydantic_core import from_json, to_json

from streamrec.events.block import ITEM, EventBlock, Rejection
from streamrec.events.codec import decode_line
from streamrec.events.model import Click, FeatureValue, Item
from streamrec.state.text import TextTable

__all__ = ["FEATURES", "NAMES", "Catalogue"]

#: Tables of a commit.
NAMES, FEATURES = "item_names", "item_features"


class Catalogue:
    """Names and features of all items that a stream ever named; a deleted item's stay, for it may come back.

    What it holds depends on the stream only, not on how it is cut into blocks.

    Args:
        of_item: names of the features that an item takes from the first event that shows it.

    """

    def __init__(self, of_item: Collection[str]) -> None:
        self._of_item = frozenset(of_item)
        self._names, self._features = TextTable(), TextTable()
        self.tables: Mapping[str, TextTable] = {NAMES: self._names, FEATURES: self._features}

    def see(self, block: EventBlock, data: bytes) -> None:
        """Take names and features from the next events of the stream.

        Args:
            block: the events, in the stream's order.
            data: what their `start` and `end` refer to.

        """
        names: dict[int, bytes] = {}
        features: dict[int, bytes] = {}
        for i in self._telling(block):
            event = decode_line(data[block.start[i] : block.end[i]])
            assert not isinstance(event, Rejection | Click)  # it was decoded as what it is
            name, of_item = (event.id, None) if isinstance(event, Item) else (event.item, self._of_item)
            assert name is not None
            names[int(block.item[i])] = name.encode()
            features[int(block.item[i])] = _packed(event.features or {}, of_item)
        self._names.put(list(names), list(names.values()))
        self._features.put(list(features), list(features.values()))

    def _telling(self, block: EventBlock) -> list[int]:
        """Events that tell something new: upserts, and the first of each item that is not known yet."""
        is_item = block.type == ITEM
        kept = ~(is_item & (block.value != 0.0))  # deletions tell nothing
        shown = np.flatnonzero((block.item != 0) & kept)
        ids, first = np.unique(block.item[shown], return_index=True)
        known = self._names.get(ids)[1]
        return np.union1d(shown[first[~known]], np.flatnonzero(is_item & kept)).tolist()

    def names(self, items: np.ndarray) -> list[str | None]:
        """What items uint64 (N,) are called; None of those that no event has named."""
        return [None if text is None else text.decode() for text in self._names.texts(items)]

    def features(self, items: np.ndarray) -> list[dict[str, FeatureValue]]:
        """The features of items uint64 (N,), without those that are absent."""
        return [from_json(text) for text in self.feature_texts(items)]

    def feature_texts(self, items: np.ndarray) -> list[bytes]:
        """The same as JSON objects, as they are kept."""
        return [b"{}" if text is None else text for text in self._features.texts(items)]


def _packed(features: Mapping[str, FeatureValue], of_item: Collection[str] | None) -> bytes:
    """Features as JSON; only those named, where some are."""
    kept = {
        name: value
        for name, value in features.items()
        if value is not None and (of_item is None or name in of_item)
    }
    return to_json(kept)
