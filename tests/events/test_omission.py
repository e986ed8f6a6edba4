"""An example without a field has the columns of the line without it."""

import json
from typing import Any

import numpy as np
import pytest

from streamrec.events import omission
from streamrec.events.block import Examples
from streamrec.events.decoder import BlockDecoder
from streamrec.events.example_reader import labelled
from streamrec.events.omission import omissions, variants

EVENTS: list[dict[str, Any]] = [
    {"user": "u1", "item": "i1", "features": {"title": "Big big Fish", "x": 1.5, "tags": ["a", "b", "a"]}},
    {"features": {"tags": [], "none": None, "user": "a feature of this name", "on": True}},
    {"item": "i2", "features": {}},
    {"user": "u2", "features": {"x": -0.0, "": "no name", "title": "x"}},
]
LEFT_OUT = [
    [name for name in ("user", "item") if name in event] + [f"features.{name}" for name in event["features"]]
    for event in EVENTS
]


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    features = {key: value for key, value in event["features"].items() if f"features.{key}" != name}
    return {key: value for key, value in event.items() if key != name} | {"features": features}


def decoded(decoder: BlockDecoder, events: list[dict[str, Any]]) -> Examples:
    start = {"type": "example", "id": "rank", "time": 1_700_000_000_000, "label": 0}
    block, rejections = decoder.decode("".join(json.dumps(start | its) + "\n" for its in events).encode())
    assert not rejections
    return Examples(*(column.copy() for column in labelled(block)))


@pytest.mark.parametrize("most", [1, 200, 1 << 18])
def test_variants_are_the_lines_without_a_field(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(omission, "_MOST", most)
    decoder = BlockDecoder(text_fields=("title",))
    examples = decoded(decoder, EVENTS)
    asked = [("", *its) for its in LEFT_OUT]
    expected = decoded(
        decoder, [without(event, name) for event, its in zip(EVENTS, asked, strict=True) for name in its]
    )
    parts = list(variants(examples, omissions(LEFT_OUT, decoder.fields)))
    n_variants = sum(map(len, asked))
    assert len(parts) == {1: n_variants, 200: pytest.approx(6, abs=2), 1 << 18: 1}[most]
    starts = np.cumsum([0, *(len(part.entry_field) for part in parts)])
    for name in set(Examples._fields) - {"entry_offsets"}:
        column = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(column, getattr(expected, name), err_msg=name, strict=True)
    offsets = [part.entry_offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    np.testing.assert_array_equal(np.append(np.concatenate(offsets), starts[-1]), expected.entry_offsets)


def test_what_the_decoder_has_never_met_changes_nothing() -> None:
    decoder = BlockDecoder()
    examples = decoded(decoder, EVENTS[:1])
    (part,) = variants(examples, omissions([["features.never", "features.x"]], decoder.fields))
    assert np.diff(part.entry_offsets).tolist() == [5, 5, 4]
    assert part.user.tolist() == [examples.user[0]] * 3
