"""Names and features of items, beside their definition by a dictionary, however the stream is cut."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from streamrec.events.decoder import BlockDecoder
from streamrec.hashing import hash_text
from streamrec.models.catalogue import Catalogue
from streamrec.state.expiry import EventClock

sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))
from replay_streams import mixed_lines

OF_ITEM = ("topic", "tags")


def lines() -> list[str]:
    """A mixed stream with more of a catalogue in it: upserts, deletions, items that come back."""
    rng, made = np.random.default_rng(3), []
    for i, line in enumerate(mixed_lines(400, seed=5)):
        made.append(line)
        if rng.random() < 0.3:
            item: dict = {"type": "item", "id": f"i{rng.integers(60)}é", "time": i}
            deleted = rng.random() < 0.4
            made.append(
                json.dumps(item | ({"deleted": True} if deleted else {"features": {"n": i, "none": None}}))
            )
    return made


def defined(events: list[str]) -> dict[str, dict]:
    """What the docstring says."""
    known: dict[str, dict] = {}
    for line in events:
        event = json.loads(line)
        if event["type"] == "item" and not event.get("deleted"):
            known[event["id"]] = {k: v for k, v in event["features"].items() if v is not None}
        elif event["type"] != "item" and event.get("item") and event["item"] not in known:
            known[event["item"]] = {k: event["features"][k] for k in event["features"] if k in OF_ITEM}
    return known


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_as_defined_however_the_stream_is_cut(size: int) -> None:
    decoder, catalogue, taken = BlockDecoder(), Catalogue(OF_ITEM), []
    all_lines = lines()
    for at in range(0, len(all_lines), size):
        data = "".join(line + "\n" for line in all_lines[at : at + size]).encode()
        block, _ = decoder.decode(data)
        taken += [data[s:e].decode() for s, e in zip(block.start, block.end, strict=True)]
        catalogue.see(block, data)
    expected = defined(taken)
    assert len(expected) > 150
    ids = np.array([hash_text(name) for name in expected], np.uint64)
    assert catalogue.names(ids) == list(expected)
    assert catalogue.features(ids) == list(expected.values())
    assert catalogue.names(np.array([hash_text("nobody")], np.uint64)) == [None]


HOUR, TTL_H = 3_600_000, 16  # texts live twice as long; a sweep is due every second hour


def passing(n: int = 300) -> list[str]:
    """Half an hour from one event to the next; names come again after they were gone, with other features."""
    rng, made = np.random.default_rng(4), []
    for k in range(n):
        event = {"id": f"i{k // 10 % 9 * rng.integers(2)}.{rng.integers(3)}", "time": k * HOUR // 2}
        if rng.random() < 0.3:
            event |= {"type": "item", "features": {"topic": f"told{k}"}}
        else:
            shown = {"item": event["id"], "id": f"e{k}", "user": "u", "features": {"topic": f"shown{k}"}}
            event |= {"type": "impression", **shown}
        made.append(json.dumps(event))
    return made


def defined_of_late(events: list[str]) -> dict[str, dict]:
    """`defined`, where at every second hour those go that nobody named for so long."""
    known: dict[str, dict] = {}
    named: dict[str, int] = {}
    for line in events:
        event = json.loads(line)
        name = event.get("item", event["id"])
        if event["time"] % (2 * TTL_H * HOUR // 16) == 0:
            old = [one for one, time in named.items() if time < event["time"] - 2 * TTL_H * HOUR]
            known = {one: its for one, its in known.items() if one not in old}
        named[name] = event["time"]
        if event["type"] == "item" or name not in known:
            known[name] = event["features"]
    return known


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_texts_of_whom_nobody_names_any_more_go(size: int) -> None:
    decoder, catalogue, all_lines = BlockDecoder(), Catalogue(OF_ITEM, TTL_H * 3600), passing()
    for at in range(0, len(all_lines), size):
        data = "".join(line + "\n" for line in all_lines[at : at + size]).encode()
        catalogue.see(decoder.decode(data)[0], data)
        state, catalogue._clock = catalogue.blobs(), EventClock(2 * TTL_H * HOUR // 16)
        catalogue.restore(state)
    expected = defined_of_late(all_lines)
    names = {json.loads(line).get("item", json.loads(line)["id"]) for line in all_lines}
    assert 3 < len(expected) < len(names) - 3
    ids = np.array([hash_text(name) for name in sorted(names)], np.uint64)
    found = dict(zip(sorted(names), catalogue.features(ids), strict=True))
    assert {name: its for name, its in found.items() if its} == expected
    assert len(catalogue.tables["item_named"]) == len(expected)
