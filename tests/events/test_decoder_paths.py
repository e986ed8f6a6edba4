"""The compiled decoder and the pydantic path give the same columns, fields and rejections."""

import json
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.events import decoder as module
from streamrec.events.block import EventBlock, Rejection
from streamrec.events.decoder import BlockDecoder
from streamrec.events.frame import Frame

FRAME = Frame()
TEXT_FIELDS = ("title", "tags")
N_EXAMPLES = 150


def swept(n_examples: int) -> settings:
    # Generating is the slow part, and the first call compiles.
    return settings(max_examples=n_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def hand_over_all(frame: np.ndarray) -> bool:
    """A scan that takes nothing: every line goes the pydantic path."""
    return bool(frame[FRAME.at] < frame[FRAME.stop])


def decode(blocks: list[bytes], *, compiled: bool) -> tuple[list[EventBlock], list[Rejection], list[str]]:
    decoder = BlockDecoder(text_fields=TEXT_FIELDS)
    with mock.patch.object(module, "scan", module.scan if compiled else hand_over_all):
        results = [decoder.decode(block) for block in blocks]
    return [r[0] for r in results], [x for r in results for x in r[1]], decoder.fields


def handed_over(data: bytes, *, warm: bytes = b"") -> int:
    """How many lines of data the compiled path does not take, once it has seen `warm`."""
    decoder = BlockDecoder(text_fields=TEXT_FIELDS)
    decoder.decode(warm)
    with mock.patch.object(module, "decode_line", wraps=module.decode_line) as slow:
        decoder.decode(data)
    return slow.call_count


def assert_same(data: bytes) -> None:
    fast, slow = decode([data], compiled=True), decode([data], compiled=False)
    for name in EventBlock._fields:
        a, b = getattr(fast[0][0], name), getattr(slow[0][0], name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), (name, a, b)
    assert fast[1:] == slow[1:]


# Values as they are written, not as they are meant: the text of the JSON is what varies.
space = st.sampled_from(["", "", "", " ", "  ", "\t", "\r", " \t"])
plain = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=20)
texts = st.one_of(
    plain,
    st.text(max_size=20),
    st.sampled_from(
        ["", "a", "seven77", "eight888", "The  Matrix (1999)", "Léon", "ÀÉ über-x_y", "a" * 300, "\x7f", "İ"]
    ),
)
exact_numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1, 1).map(repr),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?\Z"),
)
numbers = st.one_of(
    exact_numbers,
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "1",
            "1.0",
            "1e400",
            "NaN",
            "-Infinity",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "0x1",
            "1_0",
            "--1",
        ]
    ),
)


def quoted(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from([json.dumps(text, ensure_ascii=False), json.dumps(text)])


strings = texts.flatmap(quoted)
scalars = st.one_of(strings, numbers, st.sampled_from(["true", "false", "null", "tru", "nul", "True"]))


@st.composite
def lists(draw: st.DrawFn) -> str:
    elements = draw(st.lists(st.one_of(strings, strings, strings, scalars), max_size=4))
    return "[" + draw(space) + (draw(space) + "," + draw(space)).join(elements) + draw(space) + "]"


@st.composite
def objects(draw: st.DrawFn, names: st.SearchStrategy[str], values: Any) -> str:
    pairs = draw(st.lists(st.tuples(names, st.one_of(values)), max_size=6))
    body = [f"{name}{draw(space)}:{draw(space)}{value}" for name, value in pairs]
    return "{" + draw(space) + (draw(space) + "," + draw(space)).join(body) + draw(space) + "}"


names = st.one_of(
    st.sampled_from(["a", "b", "c", "title", "tags", "a_long_name", "exactly8", "seven_7", "é"]), texts
).flatmap(quoted)
features = objects(names, [strings, strings, exact_numbers, lists(), scalars, st.just("{}")])
times = st.one_of(
    st.integers(0, 2 * 10**12).map(str),
    st.sampled_from(
        ["-62104060800000", "-62104060800001", "32503679999999", "32503680000000", "1e3", "1.0", "-0", "true"]
    ),
)
known = {
    "user": strings,
    "item": strings,
    "impression": strings,
    "request": strings,
    "position": st.sampled_from(["0", "3", "-1", "2147483647", "2147483648", "1.5"]),
    "propensity": st.one_of(st.sampled_from(["0.5", "1", "0", "1.0000001", "-1"]), exact_numbers),
    "label": st.one_of(st.sampled_from(["0", "1", "-0.0", "3.5e38", "3.4028234663852886e38"]), exact_numbers),
    "rating": exact_numbers,
    "value": exact_numbers,
    "weight": st.one_of(st.sampled_from(["0", "-0.0", "2.5", "-1"]), exact_numbers),
    "deleted": st.sampled_from(["true", "false", "1"]),
    "features": features,
}
unknown = st.sampled_from(["source", "ts", "labels", "Type", "x" * 12, "é", "imprezzion", "propensitx", "i"])
required = {
    "impression": ["user", "item", "features"],
    "click": ["impression"],
    "rating": ["user", "item", "rating", "features"],
    "item": ["features"],
    "example": ["label"],
}


@st.composite
def events(draw: st.DrawFn) -> str:
    """One line that is mostly a good event."""
    kind = draw(st.sampled_from([*required, *required, "clicks", "Item", ""]))
    fields = [("type", json.dumps(kind)), ("id", draw(strings)), ("time", draw(times))]
    fields += [(name, draw(known[name])) for name in required.get(kind, [])]
    for name in draw(st.lists(st.sampled_from(sorted(known)), max_size=4)):
        fields.append((name, draw(st.one_of(known[name], known[name], scalars))))
    for name in draw(st.lists(unknown, max_size=2)):
        fields.append((name, draw(st.one_of(scalars, scalars, features, lists()))))
    fields = draw(st.one_of(st.just(fields), st.permutations(fields)))
    if draw(st.integers(0, 9)) == 0:
        fields.pop(draw(st.integers(0, len(fields) - 1)))
    body = [f"{draw(quoted(name))}{draw(space)}:{draw(space)}{value}" for name, value in fields]
    return (
        draw(space)
        + "{"
        + draw(space)
        + (draw(space) + "," + draw(space)).join(body)
        + draw(space)
        + "}"
        + draw(space)
    )


def as_line(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").replace(b"\n", b"") + b"\n"


lines = st.one_of(events().map(as_line), events().map(as_line), st.sampled_from([b"\n", b" \t\r\n"]))


@swept(N_EXAMPLES)
@given(st.lists(lines, max_size=5))
def test_same_on_events(block: list[bytes]) -> None:
    assert_same(b"".join(block) + b"".join(block))  # the second time with every name known


@swept(N_EXAMPLES)
@given(events().map(as_line), st.data())
def test_same_on_damaged_events(line: bytes, data: st.DataObject) -> None:
    """A byte changed, removed or doubled, or the line cut, anywhere."""
    at = data.draw(st.integers(0, len(line) - 2))
    new = data.draw(
        st.sampled_from(
            [
                b"",
                b"\xff",
                b"\x00",
                b'"',
                b"\\",
                b",",
                b"}",
                b"{",
                b"0",
                b"\xc3",
                b"\xed\xa0\x80",
                line[at : at + 1] * 2,
            ]
        )
    )
    damaged = line[:at] + new + line[at + 1 :]
    assert_same(line + damaged + line[:at] + b"\n" + line)


@swept(N_EXAMPLES)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_same_on_garbage(garbage: list[bytes]) -> None:
    assert_same(b"\n".join(garbage) + b"\n")


@swept(2 * N_EXAMPLES)
@given(exact_numbers)
def test_same_on_numbers(number: str) -> None:
    line = b'{"type":"example","id":"a","time":1,"label":0,"features":{"x":%s}}\n' % number.encode()
    assert_same(line + line)


@swept(N_EXAMPLES // 2)
@given(st.lists(lines, max_size=8), st.data())
def test_cuts_change_nothing(block: list[bytes], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(block)), max_size=4)))
    parts = [b"".join(block[a:b]) for a, b in zip([0, *cuts], [*cuts, len(block)], strict=True)]
    whole, whole_rejections, whole_fields = decode([b"".join(block)], compiled=True)
    pieces, rejections, fields = decode(parts, compiled=True)
    assert fields == whole_fields
    assert [(r.reason, r.raw) for r in rejections] == [(r.reason, r.raw) for r in whole_rejections]
    for name in set(EventBlock._fields) - {"start", "end", "entry_offsets"}:
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        assert joined.tobytes() == getattr(whole[0], name).tobytes(), name
    counts = np.concatenate([np.diff(piece.entry_offsets) for piece in pieces])
    assert counts.tolist() == np.diff(whole[0].entry_offsets).tolist()


@pytest.mark.parametrize(
    "rest",
    [
        '"type":"example","label":1,"weight":2.5,"user":"u","item":"i","features":{"a":"x"}',
        '"type": "example", "label": 1, "features": {"a": "x", "b": [ "p", "q" ]}',
        '"features":{"a":"é","b":0.30000000000000004,"c":-1e-7},"label":1,"type":"example"',
        '"type":"impression","user":"u","item":"i","request":"r","position":3,"propensity":0.25,"features":{}',
        '"type":"click","impression":"i","value":3',
        '"type":"rating","user":"u","item":"i","rating":3.5,"features":{"title":"The Matrix (1999)"}',
        '"type":"item","deleted":true',
        '"type":"item","features":{"tags":["Sci-Fi","x"],"b":true,"c":null,"a":[]},"source":"web","v":2',
        '"type":"example","label":0,"user":null,"weight":null,"features":null',
    ],
)
def test_compiled_code_takes_the_usual_shapes(rest: str) -> None:
    """Speed is lost silently if these go the other way, so count."""
    data = ('{ "id":"日本","time":1700000000000,' + rest + "} \r\n").encode()
    assert handed_over(data * 3, warm=data) == 0
    assert_same(data * 3)
