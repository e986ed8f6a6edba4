"""The whole loop through a file: recommended, written as impressions, clicked, learned, recommended otherwise."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_fakes import Client, client_of

from streamrec.clock import SystemClock
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.serving.app import create_app
from streamrec.serving.delivery import Delivery
from streamrec.serving.scorer import Scorer
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_sink, open_source

TIME = 1_700_000_000_000
USERS, ITEMS, TIMES = 8, 10, 6


def shown() -> Iterator[dict[str, Any]]:
    """Everybody is shown everything, on some device, and clicks a third of it, whatever it is."""
    for n in range(USERS * ITEMS):
        user, item = f"u{n % USERS}", f"i{n // USERS}"
        features = {"kind": f"k{n // USERS % 2}", "device": ("laptop", "desktop")[n % 3 % 2]}
        event = {"id": f"s{n}", "time": TIME + 10 * n, "user": user, "item": item, "features": features}
        yield {"type": "impression", **event}
        if (n // USERS + n % USERS) % 3 == 0:
            yield {"type": "click", "id": f"c{n}", "time": TIME + 10 * n + 1, "impression": f"s{n}"}


def learn(path: Path, store: MemoryStore) -> None:
    """Go on with a stream."""
    towers = {"width": 4, "units": 4, "query": (4,)}
    model = {
        "kind": "two_tower",
        "ranker": {"kind": "ftrl"},
        "retrieval": {"micro_batch": 4, "towers": towers},
    }
    source = open_source(str(path))
    started = start(Plan(name="m", model=ModelSettings.model_validate(model)), source, store, SystemClock())
    started.learner.run(finish=False)
    started.parts.close()
    source.close()


def recommended(client: Client, time_ms: int, **more: Any) -> list[dict[str, Any]]:
    body = {"user": "u1", "k": 2, "time": time_ms, "features": {"device": "phone"}, **more}
    answer = client.post("/v1/recommend", json=body).json()
    assert answer["written"]
    items: list[dict[str, Any]] = answer["items"]
    return items


def probability(client: Client, item: str, kind: str, device: str) -> float:
    features = {"kind": kind, "device": device}
    body = {"user": "u1", "candidates": [{"item": item, "features": features}], "time": TIME + 10**6}
    return float(client.post("/v1/rank", json=body).json()["items"][0]["probability"])


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in shown()))
    return path


def test_what_is_shown_and_clicked_is_learned_by_the_features_that_were_used(stream: Path) -> None:
    store = MemoryStore("loop")
    learn(stream, store)
    scorer = Scorer(store, "m", SystemClock())
    assert scorer.load()
    with client_of(create_app(scorer, delivery=Delivery(open_sink(str(stream))))) as client:
        first, second = recommended(client, TIME + 10**5, exclude={"seen": True})
        kinds = {it["item"]: f"k{int(it['item'][1:]) % 2}" for it in (first, second)}
        asked = [(it["item"], kinds[it["item"]], d) for it in (first, second) for d in ("phone", "tablet")]
        before = {each: probability(client, *each) for each in asked}
        for n in range(TIMES):
            one, other = recommended(client, TIME + 10**5 + 10 * (n + 1), exclude={"seen": True})
            assert {one["item"], other["item"]} == {first["item"], second["item"]}
            (its,) = (it for it in (one, other) if it["item"] == first["item"])
            click = {"type": "click", "id": f"d{n}", "time": TIME + 10**5 + 10 * n + 15}
            sent = client.post("/v1/events", json=click | {"impression": its["impression"]})
            assert sent.json()["accepted"] == 1
        learn(stream, store)
        head = store.head("m")
        assert head is not None
        while scorer.generation is None or scorer.generation.version != tuple(head):
            scorer.step()
        after = {each: probability(client, *each) for each in asked}
        unseen = recommended(client, TIME + 2 * 10**5, k=ITEMS, exclude={"seen": True})
    clicked, passed = ([each for each in asked if each[0] == it["item"]] for it in (first, second))
    assert all(after[each] > before[each] + 0.05 for each in clicked)
    of_device = lambda told: {device: told[item, kind, device] for item, kind, device in clicked}  # noqa: E731
    assert len(set(of_device(before).values())) == 1
    assert len(set(of_device(after).values())) == 2  # what was asked with is what was learned by
    assert all(after[each] < after[(clicked[0][0], clicked[0][1], each[2])] for each in passed)
    assert first["item"] not in [it["item"] for it in unseen]
