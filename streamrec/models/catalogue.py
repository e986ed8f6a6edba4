"""What items are called and what they are like: learning needs ids only, an answer needs texts.

Names and features are texts in tables of the pipeline, so they come with the commit that has the vectors. An
item is known from its first event on. Its features are those of its last catalogue event; as long as there
was none, those of the first event that showed it, as far as they belong to items.

Where items expire, so do their texts, after twice as long: they are read when an event comes, which may be
learned only when its click can come no more, and what can be found must have a name. Then there is

    item_named   item → hour of the last event that named it
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from pydantic_core import from_json, to_json

from streamrec.events.block import ITEM, EventBlock, Rejection
from streamrec.events.codec import decode_line
from streamrec.events.feedback import CORRECTION
from streamrec.events.model import Click, FeatureValue, Item
from streamrec.state.expiry import EventClock
from streamrec.state.last_met import SWEEPS, LastMet
from streamrec.state.table import SparseTable
from streamrec.state.text import TextTable

__all__ = ["FEATURES", "NAMED", "NAMES", "Catalogue"]

#: Tables of a commit; rows of the last one are the learner's alone.
NAMES, FEATURES, NAMED = "item_names", "item_features", "item_named"
_CLOCK = "catalogue.clock"  # blob
_LONGER = 2  # than the items themselves


class Catalogue:
    """Names and features of all items that a stream ever named; a deleted item's stay, for it may come back.

    What it holds depends on the stream only, not on how it is cut into blocks.

    Args:
        of_item: names of the features that an item takes from the first event that shows it.
        ttl_s: seconds of event time for which items live that no event tells of; None: for ever.

    """

    def __init__(self, of_item: Collection[str], ttl_s: float | None = None) -> None:
        self._of_item = frozenset(of_item)
        self._names, self._features = TextTable(), TextTable()
        self.texts: Mapping[str, TextTable] = {NAMES: self._names, FEATURES: self._features}
        self.tables: Mapping[str, SparseTable] = self.texts
        self._named: LastMet | None = None
        if ttl_s is not None:
            ttl_ms = max(1, int(ttl_s * 1000 * _LONGER))
            self._named, self._clock = LastMet(ttl_ms), EventClock(max(1, ttl_ms // SWEEPS))
            self.tables = {**self.texts, NAMED: self._named.table}

    def see(self, block: EventBlock, data: bytes) -> None:
        """Take names and features from the next events of the stream.

        Args:
            block: the events, in the stream's order.
            data: what their `start` and `end` refer to.

        """
        for start, end in self._stretches(block):
            self._read(block, data, start, end)

    def _stretches(self, block: EventBlock) -> Iterator[tuple[int, int]]:
        """Stretches of events within which nothing expires; read each when it comes."""
        if self._named is None:
            yield 0, len(block)
            return
        naming = np.flatnonzero((block.item != 0) & (block.role < CORRECTION))
        now_ms, due = self._clock.read(block.time_ms[naming])
        start = first = 0
        for k in np.flatnonzero(due).tolist():
            yield start, int(naming[k])
            self._named.meet(block.item[naming[first:k]], now_ms[first:k])
            gone = self._named.take_stale(int(now_ms[k]))
            for texts in self.texts.values():
                texts.drop(gone)
            start, first = int(naming[k]), k
        yield start, len(block)
        self._named.meet(block.item[naming[first:]], now_ms[first:])

    def _read(self, block: EventBlock, data: bytes, start: int, end: int) -> None:
        names: dict[int, bytes] = {}
        features: dict[int, bytes] = {}
        for i in self._telling(block, start, end):
            event = decode_line(data[block.start[i] : block.end[i]])
            assert not isinstance(event, Rejection | Click)  # it was decoded as what it is
            name, of_item = (event.id, None) if isinstance(event, Item) else (event.item, self._of_item)
            assert name is not None
            names[int(block.item[i])] = name.encode()
            features[int(block.item[i])] = _packed(event.features or {}, of_item)
        self._names.put(list(names), list(names.values()))
        self._features.put(list(features), list(features.values()))

    def _telling(self, block: EventBlock, start: int, end: int) -> list[int]:
        """Events that tell something new: upserts, and the first of each item that is not known yet."""
        is_item = block.type[start:end] == ITEM
        kept = ~(is_item & (block.value[start:end] != 0.0))  # deletions tell nothing
        items = block.item[start:end]
        shown = np.flatnonzero((items != 0) & kept)
        ids, first = np.unique(items[shown], return_index=True)
        known = self._names.get(ids)[1]
        return (start + np.union1d(shown[first[~known]], np.flatnonzero(is_item & kept))).tolist()

    def names(self, items: np.ndarray) -> list[str | None]:
        """What items uint64 (N,) are called; None of those that no event has named."""
        return [None if text is None else text.decode() for text in self._names.texts(items)]

    def features(self, items: np.ndarray) -> list[dict[str, FeatureValue]]:
        """The features of items uint64 (N,), without those that are absent."""
        return [from_json(text) for text in self.feature_texts(items)]

    def feature_texts(self, items: np.ndarray) -> list[bytes]:
        """The same as JSON objects, as they are kept."""
        return [b"{}" if text is None else text for text in self._features.texts(items)]

    def blobs(self) -> Mapping[str, bytes]:
        """The clock, where items expire."""
        return {} if self._named is None else {_CLOCK: self._clock.to_bytes()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if self._named is not None and _CLOCK in blobs:
            self._clock.restore(blobs[_CLOCK])


def _packed(features: Mapping[str, FeatureValue], of_item: Collection[str] | None) -> bytes:
    """Features as JSON; only those named, where some are."""
    kept = {
        name: value
        for name, value in features.items()
        if value is not None and (of_item is None or name in of_item)
    }
    return to_json(kept)
