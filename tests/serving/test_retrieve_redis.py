"""A two-tower model over a real Redis: what the learner commits is found within a second, and gone again."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_fakes import Client, client_of

from streamrec.clock import SystemClock
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer
from streamrec.store.redis import RedisStore
from streamrec.transport.registry import open_source

pytestmark = pytest.mark.integration
TIME = 1_700_000_000_000


def ratings() -> Iterator[dict]:
    """Users of two tastes, and one film that everybody takes."""
    for n in range(240):
        user, taste = n % 12, n % 2
        item = "war hit" if n % 5 == 0 else f"{'war' if taste else 'love'} {(n // 12) % 8}"
        yield {
            "type": "rating",
            "id": f"r{n}",
            "time": TIME + n,
            "user": f"u{user}",
            "item": item,
            "rating": 5,
            "features": {"genres": [item.split()[0]]},
        }


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url)
    yield store
    store.close()


def test_the_loop(store: RedisStore, tmp_path: Path) -> None:
    path, name = tmp_path / "events.jsonl", f"towers-{time.time_ns()}"
    towers = {"width": 4, "units": 4, "query": (4,)}
    model = ModelSettings.model_validate(
        {"kind": "two_tower", "ranker": {"kind": "ftrl"}, "retrieval": {"micro_batch": 4, "towers": towers}}
    )
    plan = Plan(name=name, model=model, learner=LearnerSettings(commit_interval_s=0.05))

    def learn(*events: dict) -> float:
        """Go on with the stream; the time of its last commit."""
        with path.open("a") as out:
            out.writelines(json.dumps(event) + "\n" for event in events)
        source = open_source(str(path))
        started = start(plan, source, store, SystemClock())
        started.learner.run(finish=False)
        committed_s = time.monotonic()
        started.parts.close(flush=False)
        source.close()
        return committed_s

    learn(*ratings())
    with client_of(create_app(Scorer(store, name, SystemClock()))) as client:
        until(client, bool, time.monotonic() + 60)
        assert asked(client, "u1") != asked(client, "u2")
        popular = asked(client, "nobody yet")
        assert popular[0] == "war hit"
        seen = {item for item in popular if item.startswith("war")}
        assert not set(asked(client, "u1", exclude={"seen": True})) & seen
        item = {"type": "item", "id": "war new", "time": TIME + 999, "features": {"genres": ["war"]}}
        committed_s = learn(item)
        until(client, lambda found: "war new" in found, committed_s + 1.0)
        fresh = asked(client, "u1", exclude={"where": [{"field": "genres", "not": ["war"]}], "seen": True})
        assert fresh == ["war new"]
        chosen = client.post("/v1/recommend", json={"user": "u1", "k": 3}).json()
        assert len(chosen["items"]) == 3
        committed_s = learn({"type": "item", "id": "war new", "time": TIME + 1000, "deleted": True})
        until(client, lambda found: "war new" not in found, committed_s + 1.0)


def asked(client: Client, user: str, **more: object) -> list[str]:
    answer = client.post("/v1/retrieve", json={"user": user, "k": 100, **more})
    return [item["item"] for item in answer.json().get("items", [])]


def until(client: Client, is_so: object, end_s: float) -> None:
    """Ask until it is so; a machine under load gets its second in time of its own: asking takes some, too."""
    while not is_so(asked(client, "u1")):  # type: ignore[operator]
        assert time.monotonic() < end_s, "not visible in time"
        time.sleep(0.01)
