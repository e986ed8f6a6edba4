"""Lines through the joiner: an impression's line becomes that of an example that means the same."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.events.block import CLICK, EXAMPLE, IMPRESSION, ITEM, EventBlock, Examples
from streamrec.events.decoder import BlockDecoder
from streamrec.join.gather import Given, unchanged
from streamrec.join.lines import Outcome, carrying_lines, example_line, example_lines, lines_of
from streamrec.join.select import selected

sys.path.insert(0, str(Path(__file__).parents[1] / "events"))
from event_lines import lines as any_lines


def carried(data):
    """Decoded events that carry their lines, as examples labelled 0, 1, .5, 0, 1, …; the block itself."""
    block, _ = BlockDecoder().decode(data)
    block = selected(block, np.flatnonzero((block.type != CLICK) & (block.type != ITEM)))
    labels = np.resize(np.array([0, 1, 0.5], np.float32), len(block))
    given = Given(-1 - np.arange(len(block)), labels, block.role, None)
    return block, unchanged(carrying_lines(block, data), given)


def columns(block: EventBlock, i, fields):
    at = slice(block.entry_offsets[i], block.entry_offsets[i + 1])
    entries = zip(
        [fields[f] for f in block.entry_field[at].tolist()],
        block.entry_kind[at].tolist(),
        block.entry_value[at].tolist(),
        strict=True,
    )
    return block.time_ms[i], block.key[i], block.user[i], block.item[i], tuple(entries)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_lines, max_size=8))
def test_an_example_means_what_its_impression_did(lines):
    data = b"".join(lines)
    block, examples = carried(data)
    before, after = BlockDecoder(), BlockDecoder()
    before.decode(data)
    out = example_lines(examples)
    assert len(out) == len(block)
    for i in range(len(block)):
        if block.type[i] != IMPRESSION:
            continue
        made, rejections = after.decode(out[i] + b"\n")
        assert rejections == [], out[i]
        assert columns(made, 0, after.fields) == columns(block, i, before.fields)
        assert made.type[0] == EXAMPLE
        assert (np.float32(made.value[0]), made.weight[0]) == (examples.labels[i], 1)


LINES = {
    "plain": b'{"type":"impression","id":"i","time":1,"user":"u","item":"m","features":{"a":["x","y"]}}',
    "type last": b'{"id":"i","time":1,"user":"u","item":"m","features":{},"type":"impression"}',
    "blanks": b' { "id" : "i","time":1,"user":"u","item":"m","features":{}, "type" :\t"impression" } \r',
    "byte-order mark": b'\xef\xbb\xbf{"type":"impression","id":"i","time":1,"user":"u","item":"m","features":{}}',
    "escapes": b'{"type":"impression","id":"\\u0069","time":1,"user":"\\"u","item":"m","features":{"\\\\":1}}',
    "escaped name": b'{"\\u0074ype":"impression","id":"i","time":1,"user":"u","item":"m","features":{}}',
    "escaped weight": b'{"type":"impression","id":"i","time":1,"user":"u","item":"m","features":{},"\\u0077eight":7}',
    "own label": b'{"type":"impression","label":"?","id":"i","time":1,"user":"u","item":"m","features":{}}',
    "own weight": b'{"type":"impression","id":"i","weight":5,"time":1,"user":"u","item":"m","features":{}}',
    "own feedback": b'{"type":"impression","id":"i","feedback":5,"time":1,"user":"u","item":"m","features":{}}',
    "own impression": b'{"type":"impression","impression":[],"id":"i","time":1,"user":"u","item":"m","features":{}}',
    "inner names": b'{"type":"impression","id":"i","time":1,"user":"u","item":"m","features":{"label":"l","weight":3,"type":"click"}}',
    "other types inside": b'{"features":{"type":"impression"},"type":"impression","id":"i","time":1,"user":"u","item":"m"}',
    "brackets in strings": b'{"type":"impression","id":"}{][,:","time":1,"user":"u","item":"m","features":{"a":"}"}}',
    "features first": b'{"features":{"a":"}"},"type":"impression","id":"i","time":1,"user":"u","item":"m"}',
    "features within": b'{"id":"i" , "features" : {"a":[","]} ,"type":"impression","time":1,"user":"u","item":"m"}',
    "two types": b'{"type":"click","type":"impression","id":"i","time":1,"user":"u","item":"m","features":{}}',
}
BY_BYTES = {"plain", "type last", "inner names", "other types inside", "brackets in strings"}


@pytest.mark.parametrize("name", LINES)
def test_shapes_of_impressions(name):
    data = LINES[name] + b"\n"
    block, examples = carried(data)
    assert block.type.tolist() == [IMPRESSION]
    outcome = {"labels": np.ones(1, np.float32), "weights": np.full(1, 2.5, np.float32)}
    examples = Examples(**{**examples._asdict(), **outcome})
    (line,) = example_lines(examples)
    parsed, before = json.loads(line), json.loads(LINES[name].removeprefix(b"\xef\xbb\xbf"))
    kept = {k: v for k, v in before.items() if k not in ("type", "label", "weight", "feedback", "impression")}
    assert parsed == {**kept, "type": "example", "label": 1, "weight": 2.5}
    made, _ = BlockDecoder().decode(line + b"\n")
    assert (made.type[0], made.value[0], made.weight[0]) == (EXAMPLE, 1, 2.5)
    assert json.loads(example_line(LINES[name], Outcome(1.0, 2.5))) == parsed
    if name in BY_BYTES:
        assert line.startswith(LINES[name][:6]) or name == "type last"
        assert line.endswith(b',"label":1,"weight":2.5}')


def test_ratings_and_examples_stay_as_they_are():
    lines = [
        b'{"type":"rating","id":"r","time":1,"user":"u","item":"m","rating":4,"features":{"label":1}}',
        b'{"id":"e","type":"example","time":1,"label":0.25,"weight":3,"features":{}}',
        b'{"type":"\\u0065xample","id":"f","time":1,"label":0.25}',
    ]
    _, examples = carried(b"".join(line + b"\n" for line in lines))
    assert example_lines(examples) == lines == lines_of(examples)


def test_clicks_and_items_carry_nothing():
    data = b'{"type":"click","id":"c","time":1,"impression":"i"}\n{"type":"item","id":"m","time":1,"features":{}}\n'
    block, _ = BlockDecoder().decode(data)
    assert carrying_lines(block, data).entry_offsets.tolist() == [0, 0, 0]


def test_no_examples():
    _, examples = carried(b"")
    assert example_lines(examples) == []


@pytest.mark.parametrize("role", range(5))
@pytest.mark.parametrize("name", LINES)
def test_many_at_a_time_are_what_one_by_one_is(name, role):
    _, examples = carried(LINES[name] + b"\n")
    columns = {
        **examples._asdict(),
        "role": np.full(1, role, np.uint8),
        "weights": np.full(1, 0.5, np.float32),
    }
    (line,) = example_lines(Examples(**columns))
    one = example_line(LINES[name], Outcome(float(examples.labels[0]), 0.5, role))
    assert json.loads(line) == json.loads(one)
