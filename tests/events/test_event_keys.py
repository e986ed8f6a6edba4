"""Keys of events: the fast way agrees with the codec, and what belongs together has one key."""

import json

import pytest
from event_lines import lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.events import key as key_module
from streamrec.events.block import Rejection
from streamrec.events.codec import decode_line, encode, is_blank
from streamrec.events.key import LineKeys, key_of

SHARED = LineKeys()  # a decoder with the field names of other streams must not differ
IMPRESSION = {
    "type": "impression",
    "id": "i1",
    "time": 5,
    "user": "u1",
    "item": "m1",
    "features": {"id": "x", "user": "y", "impression": "z"},
}
CLICK = {"type": "click", "id": "c1", "time": 6, "impression": "i1"}
RATING = {"type": "rating", "id": "r1", "time": 5, "user": "u1", "item": "m1", "rating": 3, "features": {}}
ITEM = {"type": "item", "id": "m1", "time": 5, "features": {"a": 1}}
EXAMPLE = {"type": "example", "id": "i1", "time": 5, "label": 1, "user": "u1", "features": {}}

#: Generating is the slow part, and the first call compiles.
SWEPT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def by_codec(line):
    event = decode_line(line)
    return None if isinstance(event, Rejection) else key_of(event)


def text(event, **settings):
    return json.dumps(event, **settings).encode()


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (IMPRESSION, b"i1"),
        (CLICK, b"i1"),
        (EXAMPLE, b"i1"),
        (RATING, b"u1"),
        (RATING | {"user": ""}, b"r1"),
        (ITEM, b"m1"),
        (IMPRESSION | {"id": "Léon 日本"}, "Léon 日本".encode()),
    ],
)
@pytest.mark.parametrize(
    "form", [{}, {"separators": (",", ":")}, {"separators": (",", ":"), "ensure_ascii": False}, {"indent": 1}]
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_key_of_every_type_however_it_is_written(event, key, form, turned):
    if turned:
        event = dict(reversed(event.items()))
    line = text(event, **form).replace(b"\n", b" ")
    assert LineKeys().split(line).keys == [key] == [by_codec(line)]


@SWEPT
@given(st.lists(lines, max_size=8), st.booleans())
def test_the_fast_way_is_the_codec(block, cut):
    data = b"".join(block).removesuffix(b"\n" if cut else b"")
    wanted = [line for line in data.split(b"\n") if not is_blank(line)]
    for keys in (SHARED, LineKeys()):
        found = keys.split(data)
        assert found.lines == wanted
        assert found.keys == [by_codec(line) for line in wanted]
        assert [place for place, _ in found.faults] == [i for i, key in enumerate(found.keys) if key is None]
        for place, rejection in found.faults:
            assert rejection.raw == wanted[place]
            assert rejection.reason == decode_line(wanted[place]).reason


@SWEPT
@given(st.text(min_size=1), st.text(), st.text(min_size=1))
def test_any_text_may_be_a_key(id_, user, impression):
    try:
        (id_ + user + impression).encode()
    except UnicodeEncodeError:
        return
    events = [
        IMPRESSION | {"id": id_},
        CLICK | {"id": id_, "impression": impression},
        RATING | {"id": id_, "user": user},
    ]
    wanted = [id_.encode(), impression.encode(), (user or id_).encode()]
    for form in ({}, {"separators": (",", ":"), "ensure_ascii": False}):
        assert SHARED.split(b"\n".join(text(event, **form) for event in events)).keys == wanted


def test_canonical_lines_do_not_need_the_codec(monkeypatch):
    """Among decoys: names of the fields within features and in other strings."""
    decoy = {"note": 'x"id', "id": "no", "impression": "no", "impressed": "no", "user": "no"}
    events = [
        IMPRESSION | {"features": decoy},
        CLICK,
        RATING | {"features": decoy},
        ITEM | {"features": decoy},
        EXAMPLE | {"features": decoy},
    ]
    canonical = [encode(decode_line(text(event))) for event in events]
    keys = LineKeys()
    keys.split(b"\n".join(canonical))  # meets the names, which the codec enters
    monkeypatch.setattr(key_module, "decode_line", None)
    plain = [line.replace(b'"note":"x\\"id",', b"") for line in canonical]
    assert keys.split(b"\n".join(plain)).keys == [b"i1", b"i1", b"u1", b"m1", b"i1"]


def test_a_name_that_only_begins_like_the_field():
    line = b'{"type":"click","impressed":"no","id":"c1","time":1,"impression":"i1","impressions":"no"}'
    assert LineKeys().split(line).keys == [b"i1"]
    near = b'{"type":"click","id":"c1","time":1,"impression" : "i1","x":"' + b"impress" * 9 + b'"}'
    assert LineKeys().split(near).keys == [b"i1"]


def test_nothing_but_blank_lines():
    assert LineKeys().split(b"\n \n\t\r\n") == ([], [], [])
    assert LineKeys().split(b"") == ([], [], [])


def test_lines_are_as_they_were():
    data = b'\n  {"type":"x"}\r\n' + text(CLICK) + b" \r\n\n{\nlast"
    found = LineKeys().split(data)
    assert found.lines == [b'  {"type":"x"}\r', text(CLICK) + b" \r", b"{", b"last"]
    assert found.keys == [None, b"i1", None, None]


def test_names_without_end_are_forgotten(monkeypatch):
    monkeypatch.setattr(key_module, "_MAX_NAMES", 50)
    keys = LineKeys()
    for i in range(0, 200, 10):
        names = {f"name{j}": 1 for j in range(i, i + 10)}
        assert keys.split(text(IMPRESSION | {"features": names})).keys == [b"i1"]
    assert len(keys._decoder.fields) <= 60
