"""`/v1/retrieve` beside brute force, while the index follows the commits, and what it refuses."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit
from small_retriever import Shelf, mirror

from streamrec.clock import SystemClock
from streamrec.hashing import hash_text
from streamrec.serving.app import create_app
from streamrec.serving.retrieval_api import RetrieveRequest
from streamrec.serving.retrieve import retrieve
from streamrec.serving.scorer import Scorer
from streamrec.serving.settings import RetrievalSettings
from streamrec.store.memory import MemoryStore
from streamrec.testing.redis_server import wait_until

NAMES = [f"item {n}" for n in range(12)]
GENRES = ["war", "drama", "crime"]


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore(f"retrieve-{np.random.default_rng().integers(2**62)}")
    yield store
    store.close()


@pytest.fixture
def shelf(store: MemoryStore) -> Shelf:
    return Shelf(store.acquire("m"))


@pytest.fixture
def scorer(store: MemoryStore, shelf: Shelf) -> Scorer:
    return Scorer(store, "m", SystemClock(), build=mirror(shelf))


def loaded(scorer: Scorer, shelf: Shelf) -> Scorer:
    shelf.commit()
    assert scorer.load()
    return scorer


def asked(client: Client, **body: Any) -> list[tuple[str, float]]:
    answer = client.post("/v1/retrieve", json=body)
    assert answer.status_code == 200, answer.text
    return [(item["item"], item["score"]) for item in answer.json()["items"]]


def brute_force(
    vectors: Mapping[str, Sequence[float]], query: Sequence[float], boosts: Mapping[str, float], k: int
) -> list[tuple[str, float]]:
    scores = {name: float(np.dot(v, query)) + boosts.get(name, 0.0) for name, v in vectors.items()}
    return sorted(scores.items(), key=lambda pair: (-pair[1], hash_text(pair[0])))[:k]


VECTOR = st.lists(st.integers(-2, 2).map(float), min_size=3, max_size=3)
SOME = st.sets(st.sampled_from([*NAMES, "nobody"]))
WHERE = st.lists(
    st.tuples(st.sampled_from(["is", "not"]), st.lists(st.sampled_from(GENRES), min_size=1, max_size=2)),
    max_size=2,
)


@settings(max_examples=40, deadline=None, phases=[Phase.generate])  # shrinking would hold many models
@given(
    st.dictionaries(st.sampled_from(NAMES), st.tuples(VECTOR, st.sets(st.sampled_from(GENRES))), max_size=12),
    VECTOR,
    st.dictionaries(st.sampled_from([*NAMES, "nobody"]), st.integers(0, 5).map(float)),
    st.integers(1, 14),
    st.tuples(SOME, SOME, st.booleans(), WHERE, st.sampled_from([0.0, 0.0, -3.0])),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_best_of_what_is_allowed(
    items: dict[str, tuple[list[float], set[str]]],
    query: list[float],
    boosts: dict[str, float],
    k: int,
    exclusion: tuple[set[str], set[str], bool, list[tuple[str, list[str]]], float],
    few: float,
) -> None:
    """Nothing that is excluded, boosted or not; and nothing is missing while something is left."""
    named, seen, hides_seen, where, repeat = exclusion
    store = MemoryStore("property")
    shelf = Shelf(store.acquire("m", fresh=True))
    shelf.put({"sample": [0, 0, 0]}, '{"genres":["none"]}')  # the field is known
    shelf.drop("sample")
    for name, (vector, genres) in items.items():
        shelf.put({name: vector}, json.dumps({"genres": sorted(genres)}))
    shelf.retriever.know("u", query, boosts, sorted(seen))
    shelf.retriever.repeat = repeat
    scorer = loaded(Scorer(store, "m", SystemClock(), build=mirror(shelf)), shelf)
    allowed = {
        name: vector
        for name, (vector, genres) in items.items()
        if name not in named
        and not (hides_seen and name in seen)
        and not any(bool(genres & set(values)) == (word == "is") for word, values in where)
    }
    conditions = [{"field": "genres", word: values} for word, values in where]
    exclude = {"items": sorted(named), "seen": hides_seen, "where": conditions}
    request = RetrieveRequest.model_validate({"user": "u", "k": k, "exclude": exclude})
    with patch("streamrec.serving.items._FEW", few):  # however few are allowed, the answer is the same
        found = [(item["item"], item["score"]) for item in retrieve(request, scorer, 0)["items"]]
    added = {name: boosts.get(name, 0.0) + repeat * (name in seen) for name in items}
    assert found == brute_force(allowed, query, added, k)


def test_equal_scores_by_id_and_what_was_seen_takes_no_places(scorer: Scorer, shelf: Shelf) -> None:
    shelf.put({name: [0, 0, 1] for name in NAMES})
    shelf.retriever.know("equal", [0, 0, 1], dict.fromkeys(NAMES[::2], 0.0))
    shelf.put({"best": [0, 9, 0], "next": [0, 8, 0], "worse": [0, 1, 0]})
    shelf.retriever.know("u", [0, 1, 0], seen=["best", "next"])
    shelf.retriever.repeat = -20.0
    loaded(scorer, shelf)
    with client_of(create_app(scorer)) as client:
        by_id = sorted(NAMES, key=hash_text)
        assert [name for name, _ in asked(client, user="equal", k=12)] == by_id
        assert asked(client, user="u", k=2)[:1] == [("worse", 1.0)]
        assert asked(client, user="u", k=1) == [("worse", 1.0)]
        assert asked(client, user="u", k=20)[-2:] == [("best", -11.0), ("next", -12.0)]


def test_items_come_change_and_go_with_the_commits(scorer: Scorer, shelf: Shelf) -> None:
    shelf.put({"a": [0, 0, 1], "b": [0, 0, 2]})
    loaded(scorer, shelf)
    with client_of(create_app(scorer)) as client:
        scorer.stop()  # commits are applied when the test says so
        assert asked(client) == [("b", 2.0), ("a", 1.0)]
        shelf.put({"a": [0, 0, 3], "cold": [0, 0, 5]})
        shelf.drop("b")
        assert asked(client) == [("b", 2.0), ("a", 1.0)]
        assert shelf.commit() == 2
        scorer.step()
        assert asked(client) == [("cold", 5.0), ("a", 3.0)]
        shelf.drop("cold")
        shelf.put({"cold": [0, 0, 1]})  # made anew within one commit
        shelf.commit()
        scorer.step()
        answer = client.post("/v1/retrieve", json={"user": "x", "k": 1}).json()
        assert answer["items"] == [{"item": "a", "score": 3.0}]
        assert (answer["model"], answer["seq"], answer["epoch"]) == ("m", 3, 1)
        assert scorer.n_loads == 1


def test_vectors_are_held_by_the_index_only(scorer: Scorer, shelf: Shelf) -> None:
    shelf.put({"a": [0, 0, 1], "b": [0, 0, 2]})
    loaded(scorer, shelf)
    with client_of(create_app(scorer)) as client:
        scorer.stop()
        shelf.put({"c": [0, 0, 3]})
        shelf.drop("a")
        shelf.commit()
        scorer.step()
        assert asked(client) == [("c", 3.0), ("b", 2.0)]
        told = client.get("/v1/model").json()
        assert (told["tables"]["item_vectors"], told["retrieves"]) == (2, True)
    assert scorer.generation is not None
    with scorer.generation.reading() as (held, _):
        assert len(held.tables["item_vectors"]) == 0


def test_an_answer_is_of_one_commit_while_others_come(scorer: Scorer, shelf: Shelf) -> None:
    """Every commit sets every vector to its number; answers have as many of them as there are, of the number said."""
    names = [f"i{n}" for n in range(2000)]
    shelf.put({name: [0, 0, 1] for name in names})
    loaded(scorer, shelf)
    stop, torn = threading.Event(), list[Any]()
    with client_of(create_app(scorer)) as client:

        def learn() -> None:
            for seq in range(2, 25):
                there = names if seq % 2 else names[:1000]
                shelf.drop(*names[len(there) :])
                shelf.put({name: [0, 0, seq] for name in there})
                shelf.commit()
            stop.set()

        learner, seen = threading.Thread(target=learn), set[int]()
        learner.start()
        while not stop.is_set() or max(seen) < 24:
            answer = client.post("/v1/retrieve", json={"k": 1000}).json()
            scores = {item["score"] for item in answer["items"]}
            if scores != {float(answer["seq"])} or len(answer["items"]) != 1000:
                torn.append((answer["seq"], scores, len(answer["items"])))
            seen.add(answer["seq"])
        learner.join()
    assert not torn
    assert len(seen) > 3
    assert scorer.n_loads == 1


def test_a_new_lineage_is_built_beside_the_old_one(store: MemoryStore, scorer: Scorer, shelf: Shelf) -> None:
    shelf.put({"old": [0, 0, 1]})
    loaded(scorer, shelf)
    before = scorer.generation
    other = Shelf(store.acquire("m", fresh=True))
    other.put({"new": [0, 0, 7]})
    other.commit()
    with client_of(create_app(scorer)) as client:
        for _ in range(500):
            answer = client.post("/v1/retrieve", json={}).json()
            found = [(item["item"], item["score"]) for item in answer["items"]]
            assert found == ([("old", 1.0)] if answer["epoch"] == 1 else [("new", 7.0)])
            if answer["epoch"] == 2:
                break
        assert answer["epoch"] == 2
    assert scorer.generation is not before


def test_vectors_that_are_no_numbers_hide_their_items_only(scorer: Scorer, shelf: Shelf) -> None:
    shelf.put({"a": [0, 0, 1], "b": [0, np.nan, 2]})
    loaded(scorer, shelf)
    with client_of(create_app(scorer)) as client:
        scorer.stop()
        assert asked(client) == [("a", 1.0)]
        shelf.put({"a": [0, 0, np.inf], "b": [0, 0, 2]})
        shelf.commit()
        scorer.step()
        assert asked(client) == [("b", 2.0)]
        shelf.retriever.know("broken", [np.nan, 0, 0])
        answer = client.post("/v1/retrieve", json={"user": "broken"})
        assert (answer.status_code, answer.json()["title"]) == (503, "Service Unavailable")


def test_nothing_is_there_yet(scorer: Scorer, shelf: Shelf) -> None:
    with client_of(create_app(scorer)) as client:
        assert client.post("/v1/retrieve", json={}).status_code == 503
        shelf.commit()
        assert wait_until(lambda: scorer.generation is not None, 20)
        assert asked(client, k=1000, exclude={"items": ["a"], "seen": True}) == []
        assert client.post("/v1/recommend", json={"user": "u"}).json()["items"] == []


def test_a_model_that_only_ranks_says_so() -> None:
    store = FakeStore()
    store.add(commit(1))
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    scorer.step()
    with client_of(create_app(scorer)) as client:
        for path, body in (("/v1/retrieve", {}), ("/v1/recommend", {"user": "u"})):
            answer = client.post(path, json=body)
            assert answer.status_code == 409
            assert (
                answer.json()["detail"]
                == "model 'm' ranks, but does not retrieve: learn one with --model two_tower"
            )


FAULTS = [
    ({"k": 0}, "k: Input should be greater than or equal to 1, got 0"),
    ({"k": 1001}, "k: Input should be less than or equal to 1000, got 1001"),
    ({"usr": "u"}, "usr: Extra inputs are not permitted, got 'u'"),
    ({"features": {"a": {"b": 1}}}, "features.a: expected a finite number, string"),
    ({"exclude": {"where": [{"field": "genres"}]}}, "exclude.where.0: expected one of is and not"),
    ({"exclude": {"where": [{"field": "genres", "is": ["a"], "not": ["b"]}]}}, "expected one of is and not"),
    ({"exclude": {"items": ["x"] * 10_001}}, "exclude.items: "),
    ({"exclude": {"where": [{"field": "genres", "is": []}]}}, "exclude.where.0.is: "),
]


@pytest.fixture(scope="module")
def faulty() -> Iterator[Client]:
    store = MemoryStore("faulty")
    shelf = Shelf(store.acquire("m"))
    shelf.put({"a": [0, 0, 1]}, '{"genres":["war"]}')
    with client_of(
        create_app(loaded(Scorer(store, "m", SystemClock(), build=mirror(shelf)), shelf))
    ) as client:
        yield client


@pytest.mark.parametrize(("body", "text"), FAULTS)
def test_what_is_wrong_is_said_in_one_line(faulty: Client, body: Any, text: str) -> None:
    answer = faulty.post("/v1/retrieve", json=body)
    assert answer.status_code == 422
    assert text in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(("word", "found", "said"), [("is", ["b", "a"], "none"), ("not", [], "all")])
def test_a_feature_that_no_item_has_yet_excludes_none_or_all_and_is_noted(
    scorer: Scorer, shelf: Shelf, word: str, found: list[str], said: str
) -> None:
    shelf.put({"a": [0, 0, 1], "b": [0, 0, 2]}, '{"genres":["war"]}')
    with client_of(create_app(loaded(scorer, shelf))) as client:
        scorer.stop()
        request = {"user": "u", "exclude": {"where": [{"field": "genre", word: ["war"]}]}}
        for path in ("/v1/retrieve", "/v1/recommend"):
            answer = client.post(path, json=request).json()
            assert sorted(item["item"] for item in answer["items"]) == sorted(found)
            (note,) = answer["notes"]
            assert f"no item has a feature 'genre' yet, so {said} are excluded" in note
            assert note.endswith("did you mean 'genres'?")
        shelf.put({"a": [0, 0, 1]}, '{"genre":["war"]}')  # from now on one has
        shelf.commit()
        scorer.step()
        answer = client.post("/v1/retrieve", json=request).json()
        assert [item["item"] for item in answer["items"]] == (["b"] if word == "is" else ["a"])
        assert answer["notes"] == []


def test_many_items_are_searched_approximately_and_recall_is_told(store: MemoryStore, shelf: Shelf) -> None:
    pytest.importorskip("faiss", reason="the extra ann is not installed")
    rng, n = np.random.default_rng(1), 33_500  # a base is made of full chunks
    ids = rng.integers(1, 2**63, n).astype(np.uint64)
    shelf.retriever.vectors.upsert(ids, rng.normal(size=(n, 3)).astype(np.float32))
    retrieval = RetrievalSettings(approximate_above=1000, threads=1, checked_every=2)
    scorer = loaded(Scorer(store, "m", SystemClock(), build=mirror(shelf), retrieval=retrieval), shelf)
    assert scorer.generation is not None
    items: Any = scorer.generation.items
    items.index.settle()
    with client_of(create_app(scorer)) as client:
        assert "streamrec_scorer_index_recall{" not in client.get("/metrics").text
        shelf.put({"near": [0, 0, 100]})
        shelf.commit()
        for _ in range(200):
            found = client.post("/v1/retrieve", json={"k": 10}).json()
            told = client.get("/metrics").text
            if found["seq"] == 2 and "streamrec_scorer_index_recall{" in told:
                break
        assert found["items"][0] == {"item": "near", "score": 100.0}
    recall = next(line for line in told.splitlines() if line.startswith("streamrec_scorer_index_recall{"))
    assert 0.5 < float(recall.split()[1]) <= 1.0
    values = {
        line.split("{")[0]: float(line.split()[-1])
        for line in told.splitlines()
        if line.startswith("streamrec_scorer_index_")
    }
    assert values["streamrec_scorer_index_items"] == n + 1
    assert values["streamrec_scorer_index_slots"] == n + 1  # nothing has changed twice
    assert values["streamrec_scorer_index_changes_total"] >= 2
    assert values["streamrec_scorer_index_recall_checks_total"] >= 1
