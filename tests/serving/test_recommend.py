"""`/v1/recommend`: retrieved, ranked by the ranker, and written back as the impressions that it served."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from serving_fakes import Client, FakeMirror, FakeSink, client_of, commit
from small_retriever import Shelf, mirror

from streamrec.clock import SystemClock
from streamrec.errors import BrokerUnavailable, Unacknowledged
from streamrec.events.codec import decode_line
from streamrec.events.decoder import BlockDecoder
from streamrec.events.key import key_of
from streamrec.events.model import Impression
from streamrec.join import Joiner, JoinSettings
from streamrec.join.places import places_in
from streamrec.serving.app import create_app
from streamrec.serving.arms import Arms, State
from streamrec.serving.delivery import Delivery
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.retrieval import NO_SINK
from streamrec.serving.scorer import Scorer
from streamrec.serving.split import Split
from streamrec.store.memory import MemoryStore

N = 40


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    """Items that are retrieved in one order and ranked in another: the ranker has learned the genre."""
    store = MemoryStore("recommend")
    shelf = Shelf(store.acquire("m"))
    for n in range(N):
        shelf.put({f"i{n}": [0, 0, n]}, json.dumps({"genres": [f"g{n % 4}"], "year": 1990 + n}))
    lines = [
        json.dumps(
            {
                "type": "example",
                "id": f"e{n}",
                "time": n,
                "label": int(n % 4 == 1),
                "features": {"genres": [f"g{n % 4}"], "phone": True},
            }
        )
        for n in range(200)
    ]
    data = "\n".join([*lines, ""]).encode()
    decoder = BlockDecoder()
    block, _ = decoder.decode(data)
    examples = Joiner(JoinSettings()).push(block, data, places_in("p", block.start, len(data))).examples
    shelf.pipeline.learn(examples, decoder.fields)
    shelf.retriever.know("u", [0, 0, 1], {"i2": 100.0}, ["i39", "i38"])
    shelf.commit()
    scorer = Scorer(store, "m", SystemClock(), build=mirror(shelf))
    assert scorer.load()
    yield scorer
    store.close()


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def client(scorer: Scorer, sink: FakeSink) -> Iterator[Client]:
    with client_of(create_app(scorer, delivery=Delivery(sink.open))) as client:
        yield client


BODY = {
    "user": "u",
    "k": 5,
    "candidates": 10,
    "features": {"phone": True, "year": 7},
    "exclude": {"seen": True},
}


def test_the_best_candidates_by_the_ranker(client: Client, sink: FakeSink) -> None:
    answer = client.post("/v1/recommend", json=BODY | {"time": 1_700_000_000_000}).json()
    retrieved = client.post("/v1/retrieve", json={"user": "u", "k": 10, "exclude": {"seen": True}}).json()
    names = [item["item"] for item in retrieved["items"]]
    assert names == ["i2", *(f"i{n}" for n in range(37, 28, -1))]
    candidates = [
        {"item": name, "features": {"genres": [f"g{int(name[1:]) % 4}"], "year": 1990 + int(name[1:])}}
        for name in names
    ]
    rank = {
        "user": "u",
        "features": BODY["features"],
        "candidates": candidates,
        "k": 5,
        "time": 1_700_000_000_000,
    }
    ranked = client.post("/v1/rank", json=rank).json()
    wanted = [(item["item"], item["probability"], item["confidence"]) for item in ranked["items"]]
    got = [(item["item"], item["probability"], item["confidence"]) for item in answer["items"]]
    assert got == wanted
    assert got[0][0] in ("i37", "i33", "i29")  # of genre g1
    scores = {item["item"]: item["score"] for item in retrieved["items"]}
    assert all(item["score"] == scores[item["item"]] for item in answer["items"])
    assert (answer["written"], answer["note"], answer["seq"]) == (True, None, 1)


def test_impressions_say_what_was_shown_and_by_which_features(client: Client, sink: FakeSink) -> None:
    answer = client.post("/v1/recommend", json=BODY).json()
    assert len(sink.written) == sink.acknowledged == 5
    for place, ((key, line), item) in enumerate(zip(sink.written, answer["items"], strict=True)):
        event = decode_line(line)
        assert isinstance(event, Impression)
        assert key == key_of(event) == item["impression"].encode()
        n = int(item["item"][1:])
        assert (event.user, event.item, event.position, event.request) == (
            "u",
            item["item"],
            place,
            answer["request"],
        )
        assert event.features == {
            "phone": True,
            "genres": [f"g{n % 4}"],
            "year": 1990 + n,
        }  # the item's year wins
        assert abs(event.time - time.time() * 1000) < 60_000
        assert b"\n" not in line
    again = client.post("/v1/recommend", json=BODY).json()
    assert len({item["impression"] for item in answer["items"] + again["items"]}) == 10


def test_impressions_say_the_arm_where_users_were_drawn(scorer: Scorer, sink: FakeSink) -> None:
    arms = Arms(scorer)
    arms.state = arms.state._replace(split=Split(3, "m", "salt", {}, 0))
    with client_of(create_app(arms, delivery=Delivery(sink.open))) as client:
        answer = client.post("/v1/recommend", json=BODY).json()
        assert (answer["arm"], answer["assigned"]["by"]) == ("m", "user")
        assert client.post("/v1/recommend", json=BODY | {"arm": "m"}).json()["assigned"]["by"] == "forced"
        assert client.post("/v1/retrieve", json={"request": "r"}).json()["assigned"]["request"] == "r"
    events = [decode_line(line) for _, line in sink.written]
    assert [event.arm for event in events] == ["m"] * 5 + [None] * 5


def test_an_arm_that_finds_no_items_leaves_that_to_the_champion(scorer: Scorer) -> None:
    store = MemoryStore("ranks only")
    store.acquire("ranks").commit(commit(1))
    ranks = Scorer(store, "ranks", SystemClock(), build=lambda _: FakeMirror())
    assert ranks.load()
    arms = Arms(scorer)
    split = Split.alone("m").with_shares({"ranks": 100})._replace(version=1)
    arms.state = State(split, {"m": scorer, "ranks": ranks}, scorer)
    with client_of(create_app(arms)) as client:
        for path in ("/v1/retrieve", "/v1/recommend"):
            answer = client.post(path, json={"user": "u", "k": 2}).json()
            assert (answer["arm"], answer["assigned"]["by"], len(answer["items"])) == ("m", "fallback", 2)
        body = {"user": "u", "candidates": [{"item": "i1"}]}
        assert client.post("/v1/rank", json=body).json()["arm"] == "ranks"
        assert client.post("/v1/retrieve", json={"user": "u", "arm": "ranks"}).status_code == 409
    ranks.stop()


def test_without_a_sink_it_says_that_nothing_is_learned(scorer: Scorer) -> None:
    with client_of(create_app(scorer)) as client:
        answer = client.post("/v1/recommend", json=BODY).json()
        assert [item["impression"] for item in answer["items"]] == [None] * 5
        assert (answer["written"], answer["note"]) == (False, NO_SINK)
        assert 'impressions_total{outcome="no_sink"} 5.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(BrokerUnavailable("no broker answers"), "refused"), (Unacknowledged("not in time"), "unacknowledged")],
)
def test_items_are_answered_while_the_transport_is_away(
    client: Client, sink: FakeSink, fault: Exception, outcome: str
) -> None:
    """Ids of impressions stay where these may arrive all the same: clicks on them are worth sending."""
    sink.fault = fault
    answer = client.post("/v1/recommend", json=BODY).json()
    assert len(answer["items"]) == 5
    assert (answer["written"], answer["note"]) == (False, str(fault))
    assert all((item["impression"] is None) == (outcome == "refused") for item in answer["items"])
    assert f'impressions_total{{outcome="{outcome}"}} 5.0' in client.get("/metrics").text


def test_impressions_that_the_transport_cannot_take_are_not_half_written(
    client: Client, sink: FakeSink
) -> None:
    answer = client.post("/v1/recommend", json=BODY | {"features": {"long": "x" * 3000}}).json()
    assert not answer["written"]
    assert "more than the transport takes" in answer["note"]
    assert sink.written == []


def test_who_waits_for_the_transport_keeps_nobody_from_scoring(scorer: Scorer, sink: FakeSink) -> None:
    protection = Protection(Limits(requests=3))
    with client_of(create_app(scorer, delivery=Delivery(sink.open), protection=protection)) as client:
        sink.hold.clear()
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(client.post, "/v1/recommend", json=BODY) for _ in range(3)]
            metric = (
                'streamrec_scorer_under_way{model="m"} 4.0'  # three, and the one that asks for it is none
            )
            end = time.monotonic() + 20
            while sink.n_flushes == 0 or metric.replace("4.0", "3.0") not in client.get("/metrics").text:
                assert time.monotonic() < end
            statuses = [client.post("/v1/retrieve", json={"user": "u"}).status_code for _ in range(5)]
            full = client.post("/v1/recommend", json=BODY).json()
            sink.hold.set()
            assert statuses == [200] * 5
            assert full["note"] == "too many answers wait for the transport"
            assert all(each.result().json()["written"] for each in waiting)


def test_k_and_candidates(client: Client) -> None:
    for k, candidates, n in ((1, 1, 1), (7, 3, 7), (1000, 200, N), (3, 1000, 3)):
        body: dict[str, Any] = {"user": "nobody", "k": k, "candidates": candidates}
        assert len(client.post("/v1/recommend", json=body).json()["items"]) == n
    named = [f"i{n}" for n in range(N) if n != 7]
    only = client.post("/v1/recommend", json={"user": "u", "exclude": {"items": named}}).json()
    assert [item["item"] for item in only["items"]] == ["i7"]
    assert client.post("/v1/recommend", json={"k": 3}).json()["detail"] == "user: Field required"
    assert np.isfinite([item["probability"] for item in only["items"]]).all()
