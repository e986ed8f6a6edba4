"""Events of the catalogue through the whole learner: in their place among the examples, whatever cuts the stream."""

import json
import random
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from replay_runs import learn, new_store, outcome

from streamrec.clock import SystemClock
from streamrec.events.decoder import BlockDecoder
from streamrec.hashing import hash_text
from streamrec.join import JoinSettings
from streamrec.join.reader import read
from streamrec.join.recorded import join_recorded
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport.deadletter import FileLetters
from streamrec.transport.registry import open_source

sys.path.insert(0, str(Path(__file__).parents[1] / "join"))
from test_merging_partitions import Clock, Live

N, N_ITEMS = 900, 40


def features(item: int, version: int = 0) -> dict:
    return {"topic": f"t{(item + version) % 6}", "year": 1990 + item % 9}


def events(seed: int = 4) -> list[dict]:
    """Impressions and clicks, a catalogue that changes among them, items that are only in it, deletions."""
    rng, made = random.Random(seed), []
    for n in range(N):
        time, item, kind = 1_700_000_000_000 + 700 * n, rng.randrange(N_ITEMS), rng.random()
        if kind < 0.55 or not made:
            its = {
                "type": "impression",
                "user": f"u{rng.randrange(15)}",
                "item": f"i{item}",
                "features": features(item),
            }
            made.append({"id": f"e{n}", "time": time, **its})
        elif kind < 0.8:
            shown = [event["id"] for event in made[-30:] if event["type"] == "impression"] or ["nowhere"]
            made.append({"type": "click", "id": f"c{n}", "time": time, "impression": rng.choice(shown)})
        elif kind < 0.93:
            named = f"cold{n}" if rng.random() < 0.4 else f"i{item}"
            made.append({"type": "item", "id": named, "time": time, "features": features(item, n)})
        else:
            made.append({"type": "item", "id": f"i{item}", "time": time, "deleted": True})
    return made


def lines(of: list[dict]) -> list[str]:
    return [json.dumps(event) for event in of]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalogue") / "events.jsonl"
    path.write_text("".join(line + "\n" for line in lines(events())))
    return path


def plan() -> Plan:
    model = ModelSettings.model_validate(
        {
            "kind": "two_tower",
            "ranker": {"kind": "ftrl"},
            "retrieval": {
                "micro_batch": 7,
                "refreshed": 2,
                "towers": {"width": 4, "units": 4, "query": (4,)},
            },
        }
    )
    join = JoinSettings(window_ms=20_000, memory_events=300, late_ms=0)
    return Plan(model=model, join=join, learner=LearnerSettings(commit_interval_s=0.001))


def vectors(started) -> set[int]:
    table = started.parts.pipeline.tables["item_vectors"]
    return {int(i) for ids, _ in table.pieces() for i in ids}


@pytest.fixture(scope="module")
def undisturbed(stream: Path):
    return learn(stream, plan(), new_store())


def test_stopped_and_cut_anywhere_it_ends_as_if_nothing_had_happened(stream: Path, undisturbed) -> None:
    store = new_store()
    for limit, size in ((211, 900), (212, 30_000), (600, 7_000)):
        stopped = learn(stream, plan(), store, limit, chunk_bytes=size)
        assert stopped.parts.pipeline.state_sha256() != undisturbed.parts.pipeline.state_sha256()
    assert outcome(learn(stream, plan(), store, chunk_bytes=2_000)) == outcome(undisturbed)


def test_items_are_there_as_the_catalogue_says(undisturbed) -> None:
    there, catalogue = vectors(undisturbed), undisturbed.parts.pipeline.catalogue
    known = {event["id"]: event.get("features") for event in events() if event["type"] == "item"}
    cold = [name for name in known if name.startswith("cold")]
    assert len(cold) > 30
    assert {hash_text(name) for name in cold} <= there
    assert catalogue.features(np.array([hash_text(name) for name in cold], np.uint64)) == [
        known[n] for n in cold
    ]
    last = {event["id"]: event for event in events() if event["type"] == "item"}
    shown = [event["item"] for event in events()[-N // 3 :] if event["type"] == "impression"]
    gone = [name for name, event in last.items() if event.get("deleted") and name not in shown]
    assert not {hash_text(name) for name in gone} & there
    n_examples = undisturbed.learner.report().examples
    assert n_examples < sum(event["type"] == "impression" for event in events()) * 2


def test_who_names_two_items_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When it is seen first, and how often at the end; an event is its item's whatever else it says."""
    path = tmp_path / "two.jsonl"
    named = [{"type": "item", "id": f"e{k}", "time": k, "item": "i7", "features": {}} for k in range(2500)]
    path.write_text("".join(line + "\n" for line in lines(named)))
    started = learn(path, plan(), new_store(), chunk_bytes=50_000)
    assert started.parts.pipeline.catalogue.names(np.array([hash_text("e1")], np.uint64)) == ["e1"]
    told = [text for record in caplog.records if "two items" in (text := record.getMessage())]
    assert len(told) == 2
    assert told[1].startswith("2500 event(s)")
    assert told[0].endswith("the first: id 'e0' is the item's, item the string 'i7' is not read")


def test_other_kinds_pass_over_them(stream: Path, tmp_path: Path) -> None:
    without = tmp_path / "without.jsonl"
    without.write_text("".join(line + "\n" for line in lines([e for e in events() if e["type"] != "item"])))
    # features are given, for what is inferred must not differ; memory_events counts items, so it is wide
    ranks = Plan(model=ModelSettings(kind="ftrl"), join=JoinSettings(window_ms=20_000))
    with_items, without_items = (learn(path, ranks, new_store()) for path in (stream, without))
    assert with_items.parts.pipeline.state_sha256() == without_items.parts.pipeline.state_sha256()


def test_through_the_join_workers_lines_it_is_the_same_model(
    stream: Path, tmp_path: Path, undisturbed
) -> None:
    joined, letters = tmp_path / "examples.jsonl", FileLetters(str(tmp_path / "letters.jsonl"))
    source = open_source(str(stream), chunk_bytes=5_000)
    join_recorded(read(source, BlockDecoder(), SystemClock(), 1.0), joined, letters, plan().join)
    letters.close()
    source.close()
    assert sum('"item"' in line[:20] for line in joined.read_text().splitlines()) > 150
    assert learn(joined, plan(), new_store()).parts.pipeline.state_sha256() == (
        undisturbed.parts.pipeline.state_sha256()
    )


@pytest.mark.parametrize("seed", [0])
def test_several_partitions_are_learned_as_their_recording(seed: int, tmp_path: Path) -> None:
    """Catalogue and impressions in partitions of their own: the order of time joins them; nobody loses patience."""
    parts: list[list[dict]] = [[], [], []]
    keys = random.Random(1)
    for event in events():
        parts[2 if event["type"] == "item" else keys.randrange(2)].append(event)
    live = Live([lines(part) for part in parts], seed=seed)
    started = start(plan(), live, MemoryStore(uuid.uuid4().hex), Clock(1e-4))  # type: ignore[arg-type]
    started.learner.run()
    started.parts.close()
    order = sorted((event["time"], p, i) for p, part in enumerate(parts) for i, event in enumerate(part))
    path = tmp_path / "recorded.jsonl"
    path.write_text("".join(json.dumps(parts[p][i]) + "\n" for _, p, i in order))
    assert started.parts.pipeline.state_sha256() == (
        learn(path, plan(), new_store()).parts.pipeline.state_sha256()
    )
