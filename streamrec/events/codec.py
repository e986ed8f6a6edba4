"""One line of JSON ↔ one event by the pydantic models: what is valid, why not, the canonical line.

`events/decoder.py` is the fast one; it hands over to this one whatever it does not take at once, and every
rejection's reason is written here.
"""

import json
from difflib import get_close_matches
from math import isfinite
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from streamrec.events.block import Rejection
from streamrec.events.model import EVENT_MODELS, MAX_LINE_BYTES, Event

__all__ = ["decode_line", "encode", "is_blank", "other_item"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # what editors on Windows put before the first line
_ECHO_CHARS = 60  # of a wrong value, enough to recognise it
_JSON_TYPES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
_EXPECTED = {
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "an integer",
    "float_type": "a number",
    "dict_type": "an object",
    "string_too_short": "a non-empty string",
    "finite_number": "a finite number",
}
_FEATURE = "a string, a finite number, a boolean, a list of strings or null"


def is_blank(raw: bytes) -> bool:
    """Whether a line holds nothing but JSON's white space: such lines are skipped."""
    return not raw.strip(b" \t\r\n")


def decode_line(raw: bytes) -> Event | Rejection:
    """One event from one line of JSON, without or with its newline, or why it is none.

    A name that stands twice in an object has its last value, as everywhere in JSON.

    >>> decode_line(b'{"type":"click","id":"c1","time":1,"impression":"i1"}')
    Click(type='click', id='c1', time=1, impression='i1', value=1.0)
    >>> decode_line(b'{"type":"clik"}').reason
    "type: unknown 'clik'; did you mean 'click'?"
    """
    if len(raw) > MAX_LINE_BYTES:
        return _reject(f"line of {len(raw)} bytes, at most {MAX_LINE_BYTES}", raw)
    try:
        record = from_json(raw.removeprefix(_BYTE_ORDER_MARK))
    except ValueError as error:
        return _reject(_explain_json(raw, error), raw)
    if not isinstance(record, dict):
        return _reject(f"expected a JSON object, got {_describe(record)}", raw)
    kind = record.get("type")
    model = EVENT_MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return _reject(_explain_type(record), raw)
    try:
        return model.model_validate(record)
    except ValidationError as error:
        return _reject(_explain_fields(record, error), raw)


def other_item(raw: bytes) -> str:
    """What an `item` event calls its item in a field that such an event does not have; empty if it agrees.

    Its `id` is the item, and unknown fields are ignored; who sends both may have meant the other one.

    >>> other_item(b'{"type":"item","id":"e17","time":1,"item":"film9","features":{}}')
    "id 'e17' is the item's, item the string 'film9' is not read"
    """
    if raw.count(b'"item"') < 2:  # one is its type
        return ""
    record = from_json(raw.removeprefix(_BYTE_ORDER_MARK))
    item, identity = record.get("item"), record["id"]
    if item is None or item == identity:
        return ""
    return f"id {_echo(identity)} is the item's, item {_describe(item)} is not read"


def encode(event: Event) -> bytes:
    """The canonical line of an event, no newline: compact, type, id and time first, defaults left out, UTF-8.

    Whole numbers are written as integers, others with the shortest text that reads back to the same float64.
    """
    fields = type(event).model_fields
    record = {}
    for name, field in fields.items():
        value = getattr(event, name)
        if name == "type" or field.is_required() or (value is not None and value != field.default):
            record[name] = _canonical(value)
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # −0.0 becomes 0, as in the columns
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    return value


def _reject(reason: str, raw: bytes) -> Rejection:
    return Rejection(reason, 0, len(raw), raw)


def _explain_json(raw: bytes, error: ValueError) -> str:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: {wrong.reason} 0x{raw[wrong.start]:02x} at byte {wrong.start}"
    message, _, column = str(error).partition(" at line ")
    return f"bad JSON: {message} at byte {column.rpartition(' ')[2]}"


def _explain_type(record: dict[str, Any]) -> str:
    known = ", ".join(EVENT_MODELS)
    if "type" not in record:
        return f"type: missing{_similar('type', record)}; expected one of {known}"
    kind = record["type"]
    if not isinstance(kind, str):
        return f"type: expected a string, got {_describe(kind)}"
    near = get_close_matches(kind[:_ECHO_CHARS].lower(), EVENT_MODELS, n=1)
    return f"type: unknown {_echo(kind)}; " + (
        f"did you mean {near[0]!r}?" if near else f"expected one of {known}"
    )


def _explain_fields(record: dict[str, Any], error: ValidationError) -> str:
    """The first wrong field, and how many more are wrong."""
    details = error.errors(include_url=False)
    wrong = {detail["loc"][:2] for detail in details}
    first = details[0]
    rest = "" if len(wrong) == 1 else f" (and {len(wrong) - 1} more)"
    return _explain_field(record, first, [d for d in details if d["loc"][:2] == first["loc"][:2]]) + rest


def _explain_field(record: dict[str, Any], detail: ErrorDetails, same: list[ErrorDetails]) -> str:
    where, kind, value = detail["loc"], detail["type"], detail["input"]
    field = str(where[0]) if where else ""
    if kind in ("no_features", "no_impression"):
        return detail["msg"]
    if kind == "missing":
        return f"{field}: missing{_similar(field, record)}"
    if kind in ("too_many_entries", "feature_range"):
        return f"{field}: {detail['msg']}" if kind == "too_many_entries" else f"{field}.{detail['msg']}"
    if field == "features" and len(where) > 1:
        return _explain_feature(str(where[1]), record["features"].get(where[1]), same)
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{field}: {_out_of_range(field, value)}"
    if kind == "literal_error":
        return f"{field}: expected {detail['ctx']['expected']}, got {_describe(value)}"
    return f"{field}: expected {_EXPECTED.get(kind, detail['msg'])}, got {_describe(value)}"


def _explain_feature(name: str, value: Any, same: list[ErrorDetails]) -> str:
    if any(detail["type"] == "string_too_long" for detail in same):
        return f"features: a name of {len(name)} characters, at most 256: {_echo(name)}"
    elements = [d for d in same if len(d["loc"]) > 3]
    if elements:
        place, element = elements[0]["loc"][3], _describe(elements[0]["input"])
        return f"features.{_plain(name)}: element {place}: expected a string, got {element}"
    return f"features.{_plain(name)}: expected {_FEATURE}, got {_describe(value)}"


def _out_of_range(field: str, value: Any) -> str:
    if field == "time":
        year = 1970 + value / 31_556_952_000
        when = f" (year {int(year)})" if 0 <= year < 10_000 else ""
        return f"expected milliseconds since 1970 within the years 2 to 2999, got {_describe(value)}{when}"
    limits = {"propensity": "above 0 and at most 1", "weight": "at least 0", "position": "0 to 2147483647"}
    return f"expected a number {limits.get(field, 'within ±3.4e38')}, got {_describe(value)}"


def _similar(field: str, record: dict[str, Any]) -> str:
    """A name in the record that was probably meant."""
    near = get_close_matches(field, [name for name in record if len(name) <= _ECHO_CHARS], n=1, cutoff=0.7)
    return f" ({_echo(near[0])} is there)" if near else ""


def _describe(value: Any) -> str:
    """A JSON value in a few words, on one line."""
    if isinstance(value, str):
        return f"the string {_echo(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**_ECHO_CHARS:
        return "an integer of more than 60 digits"
    if isinstance(value, (int, float)):
        return str(value) if isfinite(value) else {"nan": "NaN"}.get(str(value), "a number beyond float64")
    return _JSON_TYPES[type(value)]


def _echo(text: str) -> str:
    return repr(text) if len(text) <= _ECHO_CHARS else repr(text[:_ECHO_CHARS]) + "…"


def _plain(name: str) -> str:
    return name if name.isprintable() and len(name) <= _ECHO_CHARS else _echo(name)
