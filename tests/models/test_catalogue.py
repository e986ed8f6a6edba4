"""Names and features of items, beside their definition by a dictionary, however the stream is cut."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from streamrec.events.decoder import BlockDecoder
from streamrec.hashing import hash_text
from streamrec.models.catalogue import Catalogue

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
