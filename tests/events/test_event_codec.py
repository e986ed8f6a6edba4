"""One line ↔ one event: what is taken, and the words in which everything else is refused."""

import json

import pytest
from event_lines import as_line, events
from hypothesis import HealthCheck, given, settings

from streamrec.events.block import Rejection
from streamrec.events.codec import decode_line, encode, is_blank
from streamrec.events.model import Click, Event, Example, Impression, Item

NO_FEATURE = "expected a string, a finite number, a boolean, a list of strings or null, got"
HEAD = '"id":"a","time":1700000000000'


def reason(line: str | bytes) -> str:
    raw = line if isinstance(line, bytes) else line.encode()
    result = decode_line(raw)
    assert isinstance(result, Rejection), result
    assert (result.raw, result.start, result.end) == (raw, 0, len(raw))
    return result.reason


def example(rest: str) -> str:
    return '{"type":"example",' + HEAD + "," + rest + "}"


def features(inner: str) -> str:
    return example('"label":1,"features":{' + inner + "}")


REASONS = [
    (b"", "bad JSON: EOF while parsing a value at byte 0"),
    (b"\x00\x9f\x92\x96", "not UTF-8: invalid start byte 0x9f at byte 1"),
    (b'{"type":"\xff"}', "not UTF-8: invalid start byte 0xff at byte 9"),
    ('{"type":"example"', "bad JSON: EOF while parsing an object at byte 17"),
    ("[1]", "expected a JSON object, got a list"),
    ("null", "expected a JSON object, got null"),
    ("[" * 100_000, "bad JSON: recursion limit exceeded at byte 202"),
    ("{}", "type: missing; expected one of impression, click, rating, item, example"),
    (
        '{"typ":"click"}',
        "type: missing ('typ' is there); expected one of impression, click, rating, item, example",
    ),
    ('{"type":"clik"}', "type: unknown 'clik'; did you mean 'click'?"),
    ('{"type":"Rating"}', "type: unknown 'Rating'; did you mean 'rating'?"),
    ('{"type":"?"}', "type: unknown '?'; expected one of impression, click, rating, item, example"),
    ('{"type":1}', "type: expected a string, got 1"),
    (example('"lable":1'), "label: missing ('lable' is there)"),
    (example('"label":"1"'), "label: expected a number, got the string '1'"),
    (example('"label":true'), "label: expected a number, got true"),
    (example('"label":NaN'), "label: expected a finite number, got NaN"),
    (example('"label":1e400'), "label: expected a finite number, got a number beyond float64"),
    (example('"label":-1e39'), "label: expected a number within ±3.4e38, got -1e+39"),
    (example('"label":1' + "0" * 400), "label: expected a number, got an integer of more than 60 digits"),
    (example('"label":1,"weight":-0.5'), "weight: expected a number at least 0, got -0.5"),
    (example('"label":1,"user":7'), "user: expected a string, got 7"),
    (example('"label":"x","user":7'), "label: expected a number, got the string 'x' (and 1 more)"),
    (features('"a":1e400'), f"features.a: {NO_FEATURE} a number beyond float64"),
    (features('"a":["x",2]'), "features.a: element 1: expected a string, got 2"),
    (features('"a":[null]'), "features.a: element 0: expected a string, got null"),
    (features('"a b":{}'), f"features.a b: {NO_FEATURE} an object"),
    (features('"a\\n":{}'), f"features.'a\\n': {NO_FEATURE} an object"),
    (features('"a":1' + "0" * 400), "features.a: an integer beyond float64"),
    (features(",".join(f'"f{i}":1' for i in range(10_000))), "features: 10000 entries, at most 4096"),
    (features('"bag":[' + ",".join(['"x"'] * 5000) + "]"), "features: 5000 entries, at most 4096"),
    (features('"' + "n" * 257 + '":1'), f"features: a name of 257 characters, at most 256: '{'n' * 60}'…"),
    (example('"label":1,"features":[]'), "features: expected an object, got a list"),
    ('{"type":"example","id":"","time":1,"label":1}', "id: expected a non-empty string, got the string ''"),
    ('{"type":"example","id":"a","time":1.0,"label":1}', "time: expected an integer, got 1.0"),
    ('{"type":"example","id":"a","time":true,"label":1}', "time: expected an integer, got true"),
    ('{"type":"example","id":"a","time":"1","label":1}', "time: expected an integer, got the string '1'"),
    (
        '{"type":"example","id":"a","time":-62135596800000,"label":1}',
        "time: expected milliseconds since 1970 within the years 2 to 2999, got -62135596800000 (year 1)",
    ),
    (
        '{"type":"example","id":"a","time":32503680000000,"label":1}',
        "time: expected milliseconds since 1970 within the years 2 to 2999, got 32503680000000 (year 3000)",
    ),
    (
        '{"type":"example","id":"a","time":1700000000000000,"label":1}',
        "time: expected milliseconds since 1970 within the years 2 to 2999, got 1700000000000000",
    ),
    ('{"type":"item",' + HEAD + "}", "features: missing; an item needs them unless deleted is true"),
    (
        '{"type":"item",' + HEAD + ',"deleted":false}',
        "features: missing; an item needs them unless deleted is true",
    ),
    ('{"type":"click",' + HEAD + "}", "impression: missing"),
    (
        '{"type":"click",' + HEAD + ',"impression":""}',
        "impression: expected a non-empty string, got the string ''",
    ),
    (
        '{"type":"impression",' + HEAD + ',"user":"u","item":"i","features":{},"propensity":0}',
        "propensity: expected a number above 0 and at most 1, got 0",
    ),
    (
        '{"type":"impression",' + HEAD + ',"user":"u","item":"i","features":{},"position":-1}',
        "position: expected a number 0 to 2147483647, got -1",
    ),
    (b" " * 1_048_577, "line of 1048577 bytes, at most 1048576"),
]


@pytest.mark.parametrize(("line", "expected"), REASONS, ids=[str(i) for i in range(len(REASONS))])
def test_reasons(line: str | bytes, expected: str) -> None:
    assert reason(line) == expected
    assert "\n" not in expected


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            Impression(
                id="i",
                time=1,
                user="u",
                item="é",
                position=0,
                features={"a": None, "b": [], "c": 2.0, "d": -0.0},
            ),
            '{"type":"impression","id":"i","time":1,"user":"u","item":"é","position":0,'
            '"features":{"a":null,"b":[],"c":2,"d":0}}',
        ),
        (Click(id="c", time=-1, impression="i"), '{"type":"click","id":"c","time":-1,"impression":"i"}'),
        (
            Click(id="c", time=1, impression="i", value=0.1),
            '{"type":"click","id":"c","time":1,"impression":"i","value":0.1}',
        ),
        (Item(id="x", time=1, deleted=True), '{"type":"item","id":"x","time":1,"deleted":true}'),
        (
            Example(id="e", time=1, label=1, features={"f": True, "g": 1e-7, "h": "\u2028\n"}),
            '{"type":"example","id":"e","time":1,"label":1,"features":{"f":true,"g":1e-07,"h":"\u2028\\n"}}',
        ),
    ],
)
def test_canonical_lines(event: Event, line: str) -> None:
    assert encode(event).decode() == line
    assert decode_line(line.encode()) == event


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events().map(as_line))
def test_encoding_keeps_the_event(line: bytes) -> None:
    event = decode_line(line)
    if not isinstance(event, Rejection):
        again = encode(event)
        assert decode_line(again) == event
        assert encode(decode_line(again)) == again  # type: ignore[arg-type]


def test_last_of_two_values_counts() -> None:
    event = decode_line(example('"label":1,"label":0,"features":{"a":1,"a":"x"}').encode())
    assert isinstance(event, Example)
    assert (event.label, event.features) == (0.0, {"a": "x"})


def test_unknown_fields_are_ignored() -> None:
    assert not isinstance(
        decode_line(example('"label":1,"position":7.5,"extra":{"deep":[[]]}').encode()), Rejection
    )


def test_byte_order_mark_is_skipped() -> None:
    line = example('"label":1').encode()
    assert decode_line(b"\xef\xbb\xbf" + line) == decode_line(line)


def test_entries_up_to_the_limit_are_taken() -> None:
    for inner in (",".join(f'"f{i}":1' for i in range(4096)), '"a":1,"b":' + json.dumps(["x"] * 4095)):
        assert not isinstance(decode_line(features(inner).encode()), Rejection)


def test_blank_lines() -> None:
    assert is_blank(b"")
    assert is_blank(b" \t\r\n")
    assert not is_blank(b"\x0b")
    assert not is_blank(b"\xc2\xa0")
