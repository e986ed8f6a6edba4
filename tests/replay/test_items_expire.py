"""Items that expire, through the whole learner: a function of the stream, whatever stops or cuts it."""

import json
import random
from pathlib import Path

import pytest
from replay_runs import learn, new_store, outcome

from streamrec.clock import SystemClock
from streamrec.events.decoder import BlockDecoder
from streamrec.join import JoinSettings
from streamrec.join.reader import read
from streamrec.join.recorded import join_recorded
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.settings import ModelSettings
from streamrec.transport.deadletter import FileLetters
from streamrec.transport.registry import open_source

MINUTE = 60_000
SMALL = {"micro_batch": 4, "refreshed": 4, "towers": {"width": 4, "units": 4, "query": []}}
PLAN = Plan(
    model=ModelSettings.model_validate(
        {"kind": "two_tower", "ranker": {"kind": "ftrl"}, "retrieval": SMALL, "expire_after_s": 8 * 3600.0}
    ),
    join=JoinSettings(window_ms=20 * MINUTE, late_ms=0),
    learner=LearnerSettings(commit_interval_s=0.001),
)


def lines(n: int = 350) -> list[str]:
    """An event every five minutes of items and users that change; a catalogue that tells of some in time."""
    rng, made, shown = random.Random(1), [], "nothing"
    for k in range(n):
        event = {"id": f"e{k}", "time": 1_700_000_000_000 + 5 * MINUTE * k}
        item, features = f"i{k // 30 + rng.randrange(8)}", {"topic": f"t{rng.randrange(3)}"}
        if k % 25 == 9:
            event |= {"type": "item", "id": f"cold{k}" if k % 50 == 9 else "kept", "features": features}
        elif k % 3 == 0:
            event |= {"type": "impression", "item": item, "user": f"u{k // 60}", "features": features}
            shown = event["id"]
        elif k % 3 == 1:
            event |= {"type": "click", "impression": shown}
        else:
            rated = {"user": f"u{rng.randrange(9)}", "rating": 5, "features": features}
            event |= {"type": "rating", "item": item, **rated}
        made.append(json.dumps(event) + "\n")
    return made


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("expire") / "events.jsonl"
    path.write_text("".join(lines()))
    return path


@pytest.fixture(scope="module")
def undisturbed(stream: Path):
    return learn(stream, PLAN, new_store())


def test_stopped_and_cut_anywhere_the_same_expire(stream: Path, undisturbed) -> None:
    store = new_store()
    for limit, size in ((130, 900), (281, 4_000)):
        learn(stream, PLAN, store, limit, chunk_bytes=size)
    assert outcome(learn(stream, PLAN, store, chunk_bytes=1_300)) == outcome(undisturbed)
    tables = undisturbed.parts.pipeline.tables
    assert len(tables["item_met"]) < 20
    assert len(tables["item_named"]) < 40


def test_through_the_join_workers_lines_the_same_expire(stream: Path, tmp_path: Path, undisturbed) -> None:
    joined, letters = tmp_path / "examples.jsonl", FileLetters(str(tmp_path / "letters.jsonl"))
    source = open_source(str(stream), chunk_bytes=5_000)
    join_recorded(read(source, BlockDecoder(), SystemClock(), 1.0), joined, letters, PLAN.join)
    letters.close()
    source.close()
    assert learn(joined, PLAN, new_store()).parts.pipeline.state_sha256() == (
        undisturbed.parts.pipeline.state_sha256()
    )
