"""A recorded stream, disturbed as networks and clocks do, against an offline join of it."""

import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from streamrec.datasets.registry import convert
from streamrec.events.block import RATING, EventBlock
from streamrec.events.decoder import BlockDecoder
from streamrec.events.feedback import EARLY
from streamrec.hashing import hash_text
from streamrec.join import Joined, Joiner, JoinSettings
from streamrec.join.places import Places, places_in

DATA = Path(os.environ.get("STREAMREC_DATA") or Path(__file__).parents[3] / "shared" / "data")
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def recorded() -> list[dict]:
    if not DATA.is_dir():
        pytest.skip(f"no recorded data in {DATA}: set STREAMREC_DATA")
    return [json.loads(line) for line in islice(convert("mind", DATA / "mind-small-5k"), 20_000)]


def disturbed(events: list[dict], seed: int) -> tuple[list[bytes], dict[int, float], int]:
    """Lines with clicks lost, clocks wrong by minutes, a fifth late by up to two hours, a tenth sent twice.

    Returns the lines, the label of every impression by an offline join, and the number of duplicates.
    """
    rng = np.random.default_rng(seed)
    kept = [e for e in events if e["type"] == "impression" or rng.random() > 0.1]
    clicked = {e["impression"] for e in kept if e["type"] == "click"}
    labels = {hash_text(e["id"]): float(e["id"] in clicked) for e in kept if e["type"] == "impression"}
    again = [e for e in kept if rng.random() < 0.1]
    arrivals = []
    for e in [*kept, *again]:
        late_ms = rng.integers(0, 2 * HOUR_MS) if rng.random() < 0.2 else 0
        arrivals.append((e["time"] + late_ms, rng.random(), e))
    skewed = {e["id"]: int(rng.integers(-300_000, 300_000)) for e in kept if e["type"] == "click"}
    in_order = [e for _, _, e in sorted(arrivals, key=lambda arrival: arrival[:2])]
    lines = [json.dumps(e | {"time": e["time"] + skewed.get(e["id"], 0)}).encode() + b"\n" for e in in_order]
    return lines, labels, len(again)


def blocks(lines: list[bytes], size: int, offset: int = 0) -> list[tuple[EventBlock, bytes, Places]]:
    decoder, out = BlockDecoder(), []
    for at in range(0, len(lines), size):
        data = b"".join(lines[at : at + size])
        block = decoder.decode(data)[0]
        out.append((block, data, places_in("p", block.start + offset, offset + len(data))))
        offset += len(data)
    return out


def columns(joined: Joined) -> list:
    return [column.tolist() for column in joined.examples] + [joined.refused]


@pytest.mark.parametrize("choice", [{"feedback": "wait", "late_ms": 0}, {"feedback": "wait"}, {}])
def test_labels_equal_those_of_an_offline_join(recorded, choice):
    lines, labels, n_again = disturbed(recorded, seed=1)
    joiner = Joiner(JoinSettings(window_ms=3 * HOUR_MS, **choice))
    steps = [joiner.push(*block) for block in blocks(lines, 1000)]
    steps.append(joiner.finish())
    last = np.concatenate([step.examples.role for step in steps]) != EARLY
    keys = np.concatenate([step.examples.key for step in steps])[last].tolist()
    given = np.concatenate([step.examples.labels for step in steps])[last].tolist()
    assert len(keys) == len(labels)
    assert dict(zip(keys, given, strict=True)) == labels
    assert sum(given) > 300
    assert [refused.reason.split(":")[0] for step in steps for refused in step.refused] == [
        "duplicate id"
    ] * n_again
    assert all(refused.raw + b"\n" in set(lines) for refused in steps[5].refused)


def test_a_crash_anywhere_changes_nothing(recorded):
    lines, _, _ = disturbed(recorded[:6000], seed=2)
    choice = JoinSettings(window_ms=3 * HOUR_MS, memory_events=500)
    parts, joiner = blocks(lines, 300), Joiner(choice)
    steps, checkpoints = [], []
    for part in parts:
        steps.append(columns(joiner.push(*part)))
        checkpoints.append(joiner.checkpoint())
    steps.append(columns(joiner.finish()))
    starts = np.cumsum([0, *(len(line) for line in lines)]).tolist()
    for crashed_after in range(0, len(parts), 4):
        checkpoint = json.loads(json.dumps(checkpoints[crashed_after]))
        again, first = Joiner(choice, checkpoint), starts.index(checkpoint["position"]["p"])
        replayed = lines[first : (crashed_after + 1) * 300]
        assert all(not len(again.push(*block).examples) for block in blocks(replayed, 170, starts[first]))
        resumed = [columns(again.push(*part)) for part in parts[crashed_after + 1 :]]
        assert [*resumed, columns(again.finish())] == steps[crashed_after + 1 :]


def ids(numbers: np.ndarray) -> np.ndarray:
    return (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


def test_long_streams_turn_generations_at_the_default_settings():
    size, n_blocks, joiner = 100_000, 23, Joiner()
    u64, ones, none = np.zeros(size, np.uint64), np.ones(size), np.zeros(0, np.int64)
    start, offsets = np.arange(size, dtype=np.int64) * 10, np.zeros(size + 1, np.int64)
    types, entries = (
        np.full(size, RATING, np.uint8),
        [none.astype(t) for t in (np.int32, np.uint8, np.uint64)],
    )
    refused = 0
    for b in range(n_blocks):
        numbers = np.arange(size) + b * size
        if b == n_blocks - 1:
            numbers[::2] = np.arange(size // 2)  # came before 2²⁰: forgotten by now
            numbers[1] = 2**20  # remembered
        times, weight = start + b, ones.astype(np.float32)
        roles = np.zeros(size, np.uint8)
        columns = (
            types,
            times,
            ids(numbers),
            u64,
            u64,
            u64,
            5 * ones,
            weight,
            roles,
            start,
            start + 9,
            offsets,
        )
        block = EventBlock(*columns, *entries)
        places = places_in("p", start + b * size * 10, (b + 1) * size * 10)
        refused += len(joiner.push(block, b"#########\n" * size, places).refused)
    assert refused == 1
    assert joiner.checkpoint()["position"]["p"] == 2**20 * 10
