"""The compiled decoder and the pydantic path give the same columns, fields and rejections."""

import json
from unittest import mock

import numpy as np
import pytest
from event_lines import as_line, events, exact_numbers, lines, tame_numbers
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
@given(st.one_of(tame_numbers, exact_numbers))
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


@pytest.mark.parametrize(
    "rest",
    [
        '"weight":-0.0',
        '"features":{"a":-0.0,"b":-0,"c":-0e5,"d":0.0e-999}',
        '"features":{"a":9776974.630818676000}',
        '"features":{"a":9.7769746308186760001,"b":9776974630818676000.1}',
        '"features":{"a":-,"b":-.5}',
    ],
)
def test_same_on_found_cases(rest: str) -> None:
    assert_same(b'{"type":"example","id":"a","time":-0,"label":-0,%s}\n' % rest.encode() * 2)


def written_numbers(n: int) -> list[str]:
    """Numbers as programs write them, of many magnitudes and lengths; ties and their neighbours too."""
    rng = np.random.default_rng(7)
    doubles = rng.random(n) * 10.0 ** rng.integers(-5, 12, n)
    texts = [repr(float(x)) for x in doubles]
    texts += [f"{x:.{d}f}" for x, d in zip(doubles, rng.integers(1, 18, n), strict=True)]
    texts += [f"{x:.{d}e}" for x, d in zip(doubles, rng.integers(0, 18, n), strict=True)]
    halves = 2**53 + rng.integers(0, 2**53, n)  # every odd one lies half-way between two float64s
    texts += [f"{h}e-{k}" for h, k in zip(halves.tolist(), rng.integers(0, 23, n).tolist(), strict=True)]
    texts += [str(h) for h in halves.tolist()]
    return texts


def test_numbers_are_the_nearest_float64() -> None:
    texts = written_numbers(2000)
    line = '{"type":"example","id":"a","time":1,"label":0,"features":{"x":%s}}\n'
    decoder = BlockDecoder()
    block, rejections = decoder.decode("".join(line % text for text in texts).encode())
    assert not rejections
    assert block.entry_value.view(np.float64).tolist() == [float(text) for text in texts]
    # What repr writes, down to about 1e-6, has its own quick way.
    written = "".join(line % text for text in texts[:2000]).encode()
    assert handed_over(written, warm=line.encode() % b"1") <= 20


def test_utf8_is_checked() -> None:
    """All first bytes, with second bytes at the bounds that RFC 3629 sets, and too few or too many others."""
    line = b'{"type":"example","id":"a","time":1,"label":0,"features":{"x":"z%sz"}}'
    ends = [b"\x80" * n for n in range(4)]
    seconds = [b"", *(bytes([b]) for b in (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0))]
    texts = [bytes([first]) + second + end for first in range(128, 256) for second in seconds for end in ends]
    data = b"\n".join(line % text for text in texts) + b"\n"
    assert_same(data)
    valid = sum(text.decode("utf-8", "replace").count("\ufffd") == 0 for text in texts)
    assert valid > 100
    assert handed_over(data, warm=line % b"" + b"\n") == len(texts) - valid


FULL = [
    '{"type":"impression","id":"i","time":1,"user":"u","item":"x","request":"r","position":3,"propensity":0.5,'
    '"features":{"a":"v"}}',
    '{"type":"click","id":"c","time":1,"impression":"i","value":2}',
    '{"type":"rating","id":"r","time":1,"user":"u","item":"x","rating":4,"features":{"a":"v"}}',
    '{"type":"item","id":"x","time":1,"deleted":false,"features":{"a":"v"}}',
    '{"type":"item","id":"x","time":1,"deleted":true}',
    '{"type":"example","id":"e","time":1,"label":1,"weight":2,"user":"u","item":"x","features":{"a":"v"}}',
    '{"type":"example","id":"e#click","time":1,"label":1,"feedback":"correction","impression":"e","features":{}}',
]
VALUES = [
    *('"early"', '"correction"', '"confirmed"', '"arrival"', '"earlx"', '"correctiox"', '"confirmex"', '"early1"'),
    *('"s"', '""', '"é"', '"\\n"', '"example"', '"item"', '"click"', "true", "false", "null", "tru"),
    *("{}", "[]", '["a"]'),
    *("0", "-0", "-0.0", "1", "-1", "1.0", "1e0", "0.999", "1.0000001", "2147483647", "2147483648"),
    *("1e400", "NaN", "01"),
    *("-62104060800000", "-62104060800001", "32503679999999", "32503680000000", "123456789012345678901"),
    *("3.4028234663852886e38", "3.4028234663852887e38", "-3.5e38", "1e-400", "[1]"),
    *('{"a":"v","a":"w"}', '{"a":null}'),
    *('{"a":["v",1]}', '{"a":[],"b":["v"]}', '{"a":{}}', '{"a":"v",}', '{,"a":"v"}', '{"a":["v",]}'),
    *('{"a" "v"}', '{"a":"v"', '"a'),
]  # fmt: skip


def test_same_on_every_field_and_value() -> None:
    """Each field of each type left out, written twice, and with each of the values above."""
    lines = []
    for full in FULL:
        record = json.loads(full)
        for name in record:
            rest = [f'"{k}":{json.dumps(v)}' for k, v in record.items() if k != name]
            lines.append("{" + ",".join(rest) + "}")
            lines += ["{" + ",".join([*rest, f'"{name}":{value}']) + "}" for value in VALUES]
            lines += [
                "{" + ",".join([*rest, f'"{name}":{value},"{name}":{value}']) + "}" for value in VALUES[:2]
            ]
            lines += ["{" + ",".join([*rest, f'"{name}x":{value}']) + "}" for value in VALUES]
        for name in (
            "label",
            "rating",
            "value",
            "weight",
            "deleted",
            "features",
            "user",
            "position",
            "feedback",
        ):
            lines += [f'{full[:-1]},"{name}":{value}}}' for value in VALUES if name not in record]
    assert_same("".join(line + "\n" for line in FULL + lines).encode())


@pytest.mark.parametrize("full", [FULL[0], FULL[5], FULL[6]])
def test_same_with_every_byte_anywhere(full: str) -> None:
    line = full.encode()
    other = [bytes([b]) for b in range(256) if b != 0x0A]
    changed = [line[:at] + byte + line[at + 1 :] for at in range(len(line)) for byte in other]
    cut = [line[:at] for at in range(len(line))]
    without = [line[:at] + line[at + 1 :] for at in range(len(line))]
    assert_same(b"\n".join([line, *changed, *cut, *without, b""]))


@pytest.mark.parametrize("stem", ["", "n" * 6, "n" * 7, "n" * 8, "n" * 15, "n" * 16, "n" * 30])
def test_names_that_differ_at_their_end(stem: str) -> None:
    line = b'{"type":"example","id":"a","time":1,"label":0,"features":{"%s":1}}\n'
    names = [stem + end for end in ("a", "b", "a", "b", "ab", "a", "ab", "")]
    decoder = BlockDecoder()
    for name in names:
        block, _ = decoder.decode(line % name.encode())
        assert decoder.fields[block.entry_field[0]] == name


def test_too_many_features_with_known_names() -> None:
    line = '{"type":"example","id":"a","time":1,"label":0,"features":{%s}}\n'
    pairs = [
        f'"f{i}":{value}' for i, value in zip(range(4097), ["1", "null", '"x"', "true"] * 1025, strict=False)
    ]
    halves = line % ",".join(pairs[:3000]) + line % ",".join(pairs[3000:])
    full, over = (line % ",".join(pairs[:n]) for n in (4096, 4097))
    assert handed_over((full + over).encode(), warm=halves.encode()) == 1
    assert_same((halves + full + over).encode())
