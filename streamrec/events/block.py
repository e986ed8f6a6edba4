"""Decoded events as columns: the one form between the codec and the features, whichever decoder made it."""

from typing import NamedTuple

import numpy as np

__all__ = [
    "BOOLEAN",
    "CLICK",
    "EVENT_TYPES",
    "EXAMPLE",
    "IMPRESSION",
    "ITEM",
    "NUMBER",
    "RATING",
    "STRING",
    "TOKEN",
    "EventBlock",
    "Examples",
    "Rejection",
]

# Event type codes, in the order of EVENT_TYPES.
IMPRESSION, CLICK, RATING, ITEM, EXAMPLE = range(5)
EVENT_TYPES = ("impression", "click", "rating", "item", "example")

# Entry kinds. A null feature makes no entry; a list of strings makes one STRING entry per element;
# a text field (named to the decoder) makes one TOKEN entry per lower-case word.
STRING, NUMBER, BOOLEAN, TOKEN = range(4)


class EventBlock(NamedTuple):
    """N events in stream order, E feature entries in all.

    Entries of event i are `entry_offsets[i]:entry_offsets[i + 1]`, in the order of the event's own JSON.
    Ids are `hashing.hash_bytes` of the UTF-8 text; 0 means absent.
    """

    type: np.ndarray  # uint8 (N,): code of the event type
    time_ms: np.ndarray  # int64 (N,)
    key: np.ndarray  # uint64 (N,): id of the event's `id`
    user: np.ndarray  # uint64 (N,)
    item: np.ndarray  # uint64 (N,); of an item event, the id of its `id`
    # uint64 (N,): of a click, a correction, a confirmation or an arrival, the key of its impression; else 0
    impression: np.ndarray
    # float64 (N,): label | rating | click value | propensity of an impression (1 if none) | 1 for a deleted
    # item
    value: np.ndarray
    weight: np.ndarray  # float32 (N,): example weight, 1 elsewhere
    role: np.ndarray  # uint8 (N,): of an example, see `events.feedback`; FINAL elsewhere
    start: np.ndarray  # int64 (N,): first byte of the event's line, an offset into the decoded bytes
    end: np.ndarray  # int64 (N,): one past its last byte, the newline not counted
    entry_offsets: np.ndarray  # int64 (N + 1,)
    entry_field: np.ndarray  # int32 (E,): index into the decoder's `fields`
    entry_kind: np.ndarray  # uint8 (E,)
    # uint64 (E,): id of the string, token or boolean's text; of a number, the bits of its float64
    entry_value: np.ndarray

    def __len__(self) -> int:
        return len(self.type)


class Rejection(NamedTuple):
    """One record that cannot be used, on its way to the dead letters."""

    reason: str  # one clear line: what, expected, got
    start: int  # byte span in the bytes that were decoded
    end: int
    raw: bytes


class Examples(NamedTuple):
    """B labelled examples in the order in which they are learned, E feature entries: what joining gives.

    Ratings and `example` events pass through; impressions arrive here with the label that joining found, or
    with none yet: `events.feedback` has the roles.
    """

    time_ms: np.ndarray  # int64 (B,): of the impression, rating or example
    key: np.ndarray  # uint64 (B,): id of its `id`; whatever its role, that of its impression
    user: np.ndarray  # uint64 (B,), 0 absent
    item: np.ndarray  # uint64 (B,), 0 absent
    labels: np.ndarray  # float32 (B,)
    weights: np.ndarray  # float32 (B,)
    role: np.ndarray  # uint8 (B,)
    chosen: np.ndarray  # bool (B,): the user took the item: a click, a rating whatever it is, a label above 0
    entry_offsets: np.ndarray  # int64 (B + 1,), entries as in EventBlock
    entry_field: np.ndarray  # int32 (E,)
    entry_kind: np.ndarray  # uint8 (E,)
    entry_value: np.ndarray  # uint64 (E,)

    def __len__(self) -> int:
        return len(self.labels)
