"""The columns that the decoder makes, against hand-written ones; and input that nobody should send."""

import json
import random
import threading
import time
from typing import Any

import numpy as np
import pytest

from streamrec.events.append import words
from streamrec.events.block import BOOLEAN, CLICK, EXAMPLE, IMPRESSION, ITEM, NUMBER, RATING, STRING, TOKEN
from streamrec.events.decoder import BlockDecoder
from streamrec.events.model import MAX_LINE_BYTES
from streamrec.hashing import hash_text


def line(**fields: Any) -> bytes:
    """A line as a producer in Python writes it: with a blank after colons and commas."""
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def example(i: int = 1, **features: Any) -> bytes:
    return line(type="example", id=f"e{i}", time=i, label=1, features=features)


def bits(number: float) -> int:
    return int(np.float64(number).view(np.uint64))


def entries(block: Any, i: int, fields: list[str]) -> list[tuple[str, int, int]]:
    span = slice(block.entry_offsets[i], block.entry_offsets[i + 1])
    columns = (block.entry_field[span], block.entry_kind[span], block.entry_value[span])
    return [(fields[f], int(kind), int(value)) for f, kind, value in zip(*columns, strict=True)]


def test_an_item_that_is_called_two_things_is_its_id_and_told() -> None:
    decoder = BlockDecoder()
    for item in ("x", None):
        decoder.decode(line(type="item", id="x", time=1, item=item, features={}))
    assert (decoder.n_other_items, decoder.other_item) == (0, "")
    data = line(type="item", id="e1", time=1, item="x", features={"a": 1}) + line(
        type="item", id="e2", time=2, item=7, deleted=True
    )
    for _ in range(2):
        block, rejections = decoder.decode(data)
        assert not rejections
        assert block.item.tolist() == [hash_text("e1"), hash_text("e2")]
    assert decoder.n_other_items == 4
    assert decoder.other_item == "id 'e1' is the item's, item the string 'x' is not read"


@pytest.mark.parametrize("repeats", [1, 3])  # later ones are taken by compiled code
def test_columns(repeats: int) -> None:
    data = b"".join(
        [
            line(type="impression", id="i1", time=5, user="u", item="x", propensity=0.25, features={"a": 1}),
            line(type="impression", id="i2", time=6, user="", item="y", request="r", position=2, features={}),
            line(type="click", id="c1", time=-7, impression="i1"),
            line(type="click", id="c2", time=8, impression="i2", value=2.5, user="ignored", item=7),
            line(type="rating", id="r", time=9, user="u", item="x", rating=4, features={"b": "s"}),
            line(type="item", id="x", time=10, features={"c": True}),
            line(type="item", id="x", time=11, deleted=True, user="ignored"),
            line(type="example", id="e", time=12, label=-0.0, weight=0.5, user="u"),
        ]
    )
    decoder = BlockDecoder()
    for _ in range(repeats):
        block, rejections = decoder.decode(data)
    assert not rejections
    assert decoder.fields == ["a", "b", "c"]
    kinds = [IMPRESSION, IMPRESSION, CLICK, CLICK, RATING, ITEM, ITEM, EXAMPLE]
    u, x, y = hash_text("u"), hash_text("x"), hash_text("y")
    i1, i2 = hash_text("i1"), hash_text("i2")
    assert block.type.tolist() == kinds
    assert block.time_ms.tolist() == [5, 6, -7, 8, 9, 10, 11, 12]
    assert block.key.tolist() == [hash_text(t) for t in ("i1", "i2", "c1", "c2", "r", "x", "x", "e")]
    assert block.user.tolist() == [u, hash_text(""), 0, 0, u, 0, 0, u]
    assert block.item.tolist() == [x, y, 0, 0, x, x, x, 0]
    assert block.impression.tolist() == [0, 0, i1, i2, 0, 0, 0, 0]
    assert block.value.tolist() == [0.25, 1, 1, 2.5, 4, 0, 1, 0]
    assert not np.signbit(block.value[-1])
    assert block.weight.tolist() == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert block.entry_offsets.tolist() == [0, 1, 1, 1, 1, 2, 3, 3, 3]
    lines = [data[start:end] for start, end in zip(block.start, block.end, strict=True)]
    assert lines == data.splitlines()


def test_entries_in_the_order_of_the_json() -> None:
    data = example(z="v", n=1.5, zero=-0.0, whole=3, yes=True, no=False, none=None, bag=["p", "q"], empty=[])
    decoder = BlockDecoder()
    block, _ = decoder.decode(data + data)
    expected = [
        ("z", STRING, hash_text("v")),
        ("n", NUMBER, bits(1.5)),
        ("zero", NUMBER, bits(0.0)),
        ("whole", NUMBER, bits(3.0)),
        ("yes", BOOLEAN, hash_text("true")),
        ("no", BOOLEAN, hash_text("false")),
        ("bag", STRING, hash_text("p")),
        ("bag", STRING, hash_text("q")),
    ]
    assert entries(block, 0, decoder.fields) == expected
    assert entries(block, 1, decoder.fields) == expected
    assert decoder.fields == ["z", "n", "zero", "whole", "yes", "no", "none", "bag", "empty"]


def test_text_fields_give_words() -> None:
    data = example(t="The Matrix-2 (1999)", tags=["Sci Fi", "", "ÄRA!"], other="Not Split")
    decoder = BlockDecoder(text_fields=["t", "tags"])
    block, _ = decoder.decode(data + data)
    expected = [("t", w) for w in ("the", "matrix", "2", "1999")] + [
        ("tags", w) for w in ("sci", "fi", "ära")
    ]
    for i in (0, 1):
        assert entries(block, i, decoder.fields) == [
            *((name, TOKEN, hash_text(word)) for name, word in expected),
            ("other", STRING, hash_text("Not Split")),
        ]


def test_words() -> None:
    assert words("") == []
    assert words("a_b--C3 ") == ["a", "b", "c3"]
    assert words("ПРИВЕТ, Мир") == ["привет", "мир"]


@pytest.mark.parametrize("n_fields", [70, 3000])
def test_field_table_grows(n_fields: int) -> None:
    """Names of all lengths, some differing only behind the eighth byte, in changing order."""
    order = random.Random(1)
    names = [f"{'n' * (i % 23)}{i}" for i in range(n_fields)]
    decoder, seen = BlockDecoder(), list[str]()
    for i in range(60):
        chosen = order.sample(names, 60)
        seen += [name for name in chosen if name not in seen]
        block, rejections = decoder.decode(example(i, **dict.fromkeys(chosen, "v")))
        assert not rejections
        assert [decoder.fields[f] for f in block.entry_field] == chosen
    assert decoder.fields == seen


def test_limits_hold_in_both_paths() -> None:
    decoder = BlockDecoder()
    full = example(1, a=1, b=["x"] * 4095)
    over = example(2, a=1, b=["x"] * 4096)
    padded = full[:-1] + b" " * (MAX_LINE_BYTES - len(full) + 1) + b"\n"
    for _ in range(2):
        block, rejections = decoder.decode(full + over + padded + padded[:-1] + b" \n" + full)
        assert len(block) == 3
        assert [r.reason for r in rejections] == [
            "features: 4097 entries, at most 4096",
            f"line of {MAX_LINE_BYTES + 1} bytes, at most {MAX_LINE_BYTES}",
        ]


def test_no_good_event_is_lost_among_bad_lines() -> None:
    good = [example(i, a="x", n=i) for i in range(50)]
    bad = [
        b"\n",
        b"\x00\x01\xfe\xff" * 9 + b"\n",
        b"{" * 5000 + b"\n",
        b'{"type":"example","id":"e","time":1,"label":1e400}\n',
        b'{"type":"example","id":"e","time":1,"label":NaN}\n',
        line(type="example", id="e", time=-62135596800000, label=1),
        line(type="example", id="e", time=32503680000000, label=1),
        example(1, **{f"f{i}": 1 for i in range(10_000)}),
        example(1)[:-20] + b"\n",
        b" \r\n",
        b"x" * 3_000_000 + b"\n",
        '{"type":"example","id":"é"'.encode("latin-1") + b"\n",
    ]
    data = b"".join(good[i] + bad[i % len(bad)] for i in range(50))
    decoder = BlockDecoder()
    block, rejections = decoder.decode(data)
    assert block.key.tolist() == [hash_text(f"e{i}") for i in range(50)]
    assert len(rejections) == sum(len(bad[i % len(bad)].strip()) > 0 for i in range(50))
    for rejection in rejections:
        assert rejection.raw == data[rejection.start : rejection.end]
        assert rejection.reason
        assert "\n" not in rejection.reason
    assert decoder.fields == ["a", "n"]  # a rejected event leaves no names


def test_empty_and_unended_data() -> None:
    decoder = BlockDecoder()
    block, rejections = decoder.decode(b"")
    assert len(block) == 0
    assert block.entry_offsets.tolist() == [0]
    assert not rejections
    block, rejections = decoder.decode(example(1)[:-1])
    assert (len(block), len(rejections), block.end.tolist()) == (1, 0, [len(example(1)) - 1])


def test_a_block_outlives_the_next_one() -> None:
    decoder = BlockDecoder()
    first, _ = decoder.decode(example(1, a="x") * 10)
    before = [column.copy() for column in first]
    decoder.decode(example(2, b="y") * 10)
    assert all(np.array_equal(a, b) for a, b in zip(first, before, strict=True))


def test_other_threads_run_meanwhile() -> None:
    """The scan holds no lock of the interpreter: a counting thread goes on while one big block is decoded."""
    decoder = BlockDecoder()
    decoder.decode(example(1, a="x"))
    data = example(1, a="x") * 200_000
    ticks, done = [time.perf_counter()], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    block, _ = decoder.decode(data)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert len(block) == 200_000
    assert sum(start < t < end for t in ticks) >= 3
