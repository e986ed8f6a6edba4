"""Events of the pydantic path into the columns: what the scan writes by itself for the lines it takes."""

import re
from typing import NamedTuple

import numpy as np

from streamrec.events.block import BOOLEAN, EVENT_TYPES, NUMBER, STRING, TOKEN
from streamrec.events.columns import Columns
from streamrec.events.feedback import CORRECTION, FEEDBACK, FINAL
from streamrec.events.fields import FieldTable
from streamrec.events.model import Event, Features
from streamrec.hashing import hash_texts

__all__ = ["Place", "append", "words"]

_WORD = re.compile(r"[^\W_]+")


class Place(NamedTuple):
    """Where the event goes, and where its line is."""

    event: int
    entry: int
    start: int
    end: int


def words(text: str) -> list[str]:
    """The words of a text field: maximal runs of letters and digits (`str.isalnum`) of the lower-cased text.

    >>> words("Léon: The Professional (1994)")
    ['léon', 'the', 'professional', '1994']
    """
    return _WORD.findall(text.lower())


def append(event: Event, place: Place, out: Columns, table: FieldTable) -> int:
    """Write one event; how many entries the block then has."""
    # Types are told apart by their tag: isinstance on a pydantic class costs a microsecond.
    features = None if event.type == "click" else event.features
    fields, kinds, texts, numbers = _entries(features or {}, table)
    user, item, impression = _references(event)
    ids = hash_texts([event.id, user or "", item or "", impression or "", *texts])
    i, n = place.event, place.entry + len(fields)
    out.type[i] = EVENT_TYPES.index(event.type)
    out.time_ms[i] = event.time
    out.key[i] = ids[0]
    out.user[i] = 0 if user is None else ids[1]
    out.item[i] = 0 if item is None else ids[2]
    out.impression[i] = 0 if impression is None else ids[3]
    out.value[i], out.weight[i], out.role[i] = _value(event), _weight(event), _role(event)
    out.start[i], out.end[i] = place.start, place.end
    out.entry_offsets[i + 1] = n
    if fields:
        entries = slice(place.entry, n)
        kind = out.entry_kind[entries]
        out.entry_field[entries], kind[:] = fields, kinds
        is_number = kind == NUMBER
        out.entry_value[entries][~is_number] = ids[4:]
        out.entry_value[entries][is_number] = np.array(numbers, np.float64).view(np.uint64)
    return n


def _entries(features: Features, table: FieldTable) -> tuple[list[int], list[int], list[str], list[float]]:
    """Fields and kinds of the entries, then the texts of those that are no numbers, then the numbers."""
    fields: list[int] = []
    kinds: list[int] = []
    texts: list[str] = []
    numbers: list[float] = []
    for name, value in features.items():
        field = table.index(name)  # a name is known from its first event on, even if it was null there
        if isinstance(value, str | list):
            new, kind = value if isinstance(value, list) else [value], STRING
            if table.is_text(name):
                new, kind = [word for text in new for word in words(text)], TOKEN
        elif value is None:
            continue
        elif isinstance(value, bool):
            new, kind = ["true" if value else "false"], BOOLEAN
        else:
            numbers.append(float(value) + 0.0)  # never −0.0
            fields.append(field)
            kinds.append(NUMBER)
            continue
        texts += new
        fields += [field] * len(new)
        kinds += [kind] * len(new)
    return fields, kinds, texts, numbers


def _references(event: Event) -> tuple[str | None, str | None, str | None]:
    """User, item and impression."""
    if event.type == "click":
        return None, None, event.impression
    if event.type == "item":
        return None, event.id, None
    if event.type == "example" and _role(event) >= CORRECTION:
        return event.user, event.item, event.impression
    return event.user, event.item, None


def _value(event: Event) -> float:
    """Label, rating, click value, propensity, or 1 for a deleted item; never −0.0."""
    if event.type == "example":
        return event.label + 0.0
    if event.type == "rating":
        return event.rating + 0.0
    if event.type == "click":
        return 1.0 if event.value is None else event.value + 0.0
    if event.type == "impression":
        return 1.0 if event.propensity is None else event.propensity
    return 1.0 if event.deleted else 0.0


def _role(event: Event) -> int:
    return FEEDBACK.index(event.feedback) if event.type == "example" else FINAL


def _weight(event: Event) -> float:
    return event.weight + 0.0 if event.type == "example" and event.weight is not None else 1.0
