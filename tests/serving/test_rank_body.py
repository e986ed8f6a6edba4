"""An answer from bytes to bytes is the one that the models of the request and of the answer give."""

import json
from collections.abc import Iterator
from random import Random
from threading import current_thread
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pydantic_core import to_json
from serving_fakes import client_of

from streamrec.clock import SystemClock
from streamrec.errors import StreamrecError
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.serving import app as app_module
from streamrec.serving import rank_body as module
from streamrec.serving.api import RankRequest
from streamrec.serving.generation import Generation
from streamrec.serving.pressure import Line
from streamrec.serving.problem import faults_line
from streamrec.serving.rank import best_first, rank
from streamrec.serving.rank_body import rank_body, rank_plain
from streamrec.serving.scorer import Scorer
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_source

TIME_MS = 1_700_000_000_000
TEXTS = ["plain", "Köln", 'quo"te\\', "line\nbreak", "日本", "", "\x7f\u2028", "🙂"]


class StillClock(SystemClock):
    """Always the same time: two answers are of one age."""

    def now_ms(self) -> int:
        return TIME_MS


def features(rng: Random) -> dict[str, Any]:
    given = {
        "city": rng.choice(TEXTS),
        "tags": [f"t{rng.randrange(9)}" for _ in range(rng.randrange(4))],
        "price": rng.lognormvariate(0, 1) * 10 ** rng.randrange(-3, 4),
        "count": rng.randrange(50),
        "flag": rng.random() < 0.5,
        "title": " ".join(f"Word{rng.randrange(30)}" for _ in range(4)),
        "nothing": None,
        f"odd{rng.randrange(3)}": rng.choice(TEXTS),
    }
    names = [name for name in given if rng.random() < 0.8]
    rng.shuffle(names)
    return {name: given[name] for name in names}


def request_body(rng: Random) -> bytes:
    """As clients write it: in any order, with or without escapes and white space."""
    asked: dict[str, Any] = {
        "candidates": [
            {
                "item": rng.choice([None, f"i{rng.randrange(99)}", rng.choice(TEXTS)]),
                "features": features(rng),
            }
            for _ in range(rng.choice([0, 1, 2, 30]))
        ]
    }
    if rng.random() < 0.8:
        asked["user"] = f"ü{rng.randrange(50)}"
    if rng.random() < 0.8:
        asked["features"] = features(rng)
    if rng.random() < 0.8:
        asked["k"] = rng.choice([1, 3, 10_000, None])
    if rng.random() < 0.5:
        asked["time"] = TIME_MS - rng.randrange(10**9)
    names = list(asked)
    rng.shuffle(names)
    form: dict[str, Any] = rng.choice([{}, {"indent": 1}, {"separators": (",", ":")}])
    its = {name: asked[name] for name in names}
    return json.dumps(its, ensure_ascii=rng.random() < 0.2, **form).encode()


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    """Of the linear model of features as they are inferred."""
    rng = Random(3)
    path = tmp_path_factory.mktemp("stream") / "events.jsonl"
    with path.open("w") as lines:
        for n in range(1200):
            event = {"type": "example", "id": f"e{n}", "time": TIME_MS + n, "label": rng.randrange(2)}
            who = {"user": f"ü{rng.randrange(50)}", "item": f"i{rng.randrange(99)}"}
            lines.write(json.dumps({**event, **who, "features": features(rng)}) + "\n")
    store = MemoryStore("test-rank-body")
    plan = Plan(fresh=True, model=ModelSettings(kind="ftrl"))
    started = start(plan, open_source(str(path)), store, SystemClock())
    started.learner.run()
    started.parts.close()
    scorer = Scorer(store, "default", StillClock())
    assert scorer.load()
    yield scorer
    store.close()


def modelled(body: bytes, scorer: Scorer) -> bytes | str:
    try:
        return to_json(rank(RankRequest.model_validate_json(body), scorer, TIME_MS))
    except (ValidationError, StreamrecError) as fault:
        return told(fault)


def quick(body: bytes, scorer: Scorer) -> bytes | str:
    try:
        return rank_body(body, scorer, TIME_MS)
    except (ValidationError, StreamrecError) as fault:
        return told(fault)


def told(fault: ValidationError | StreamrecError) -> str:
    return faults_line(fault.errors()) if isinstance(fault, ValidationError) else str(fault)


def test_the_same_bytes(scorer: Scorer) -> None:
    rng = Random(5)
    for _ in range(150):
        body = request_body(rng)
        assert quick(body, scorer) == modelled(body, scorer)


FAULTY = [
    b"{",
    b'{"candidates":[{"item":7}]}',
    b'{"candidates":[{},{"features":{"city":NaN}},{"features":{"city":"a"}}]}',
    b'{"candidates":[{"features":{"price":1e400}}]}',
    b'{"candidates":[{"features":{"price":%b}}]}' % (b"1" * 400),
    b'{"candidates":[{"features":{"tags":[1]}}],"k":1}',
    b'{"candidates":[{"item":"\\ud800"}]}',
    b'{"candidates":[{"features":{"tags":%b}}]}' % json.dumps(["t"] * 5000).encode(),
    b'{"features":{"tags":%b},"candidates":[{}]}' % json.dumps(["t"] * 5000).encode(),
    b'{"candidates":[{}],"features":null}',
]


@pytest.mark.parametrize("body", FAULTY, ids=[str(n) for n in range(len(FAULTY))])
def test_faults_are_told_alike(scorer: Scorer, body: bytes) -> None:
    assert isinstance(modelled(body, scorer), str)
    assert quick(body, scorer) == modelled(body, scorer)


@pytest.mark.parametrize("asked", [{"explain": True}, {"explore": {"policy": "thompson", "seed": 3}}])
def test_what_only_the_models_know(scorer: Scorer, asked: dict[str, Any]) -> None:
    body = json.dumps({"candidates": [{"item": f"i{n}"} for n in range(9)], "k": 2, **asked}).encode()
    assert quick(body, scorer) == modelled(body, scorer)


def test_a_plain_request_needs_no_models(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(7)
    plain = {"city": "Köln", "price": 1.5, "tags": ["t1"]}
    items = [{"item": f"ü{n}", "features": {**plain, "count": rng.randrange(50)}} for n in range(40)]
    body = json.dumps({"user": "ü1", "features": {"flag": True}, "candidates": items}).encode()
    body, expected = json.dumps(json.loads(body), ensure_ascii=False).encode(), modelled(body, scorer)
    rank_body(body, scorer, TIME_MS)  # now nobody wants a sample
    monkeypatch.setattr(module, "RankRequest", None)
    assert rank_body(body, scorer, TIME_MS) == expected


def test_the_event_loop_ranks_only_what_is_soon_done(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain and small requests, one at a time, while no commit goes in; and only if they were quick so far."""
    threads: list[str] = []

    def noted(body: bytes, scorer: Scorer, now_ms: int) -> bytes | None:
        threads.append(current_thread().name)
        return rank_plain(body, scorer, now_ms)

    monkeypatch.setattr(app_module, "rank_plain", noted)
    monkeypatch.setattr(module, "rank_plain", noted)
    plain = {"candidates": [{"item": "i1"}]}
    with client_of(app_module.create_app(scorer)) as client:

        def places(asked: dict[str, Any], padding: int = 0) -> list[bool]:
            """For each time that a request was looked at, whether that was on the event loop."""
            threads.clear()
            answer = client.post("/v1/rank", content=json.dumps(asked).encode() + b" " * padding)
            assert answer.status_code == 200
            return [not name.startswith("streamrec-rank") for name in threads]

        assert places(plain) == [False]  # nothing is measured yet
        monkeypatch.setattr(Line, "is_quick", lambda line, within_s: line.under_way == 1 and within_s < 0.1)
        assert places(plain) == [True]
        assert places({**plain, "explain": True}) == [True, False]
        assert places(plain, 256 * 1024) == [False]
        monkeypatch.setattr(Generation, "is_free", lambda _: False)
        assert places(plain) == [False]


def test_a_line_is_quick_with_one_under_way_that_takes_no_longer() -> None:
    now_s = [0.0]
    line = Line(9, 1.0, lambda: now_s[0])
    line.under_way = 1
    assert not line.is_quick(0.004)
    arrived_s, now_s[0] = line.arrive(), 0.003
    line.depart(arrived_s)
    assert line.is_quick(0.004)
    assert not line.is_quick(0.002)
    line.under_way = 2
    assert not line.is_quick(0.004)


def test_a_sample_of_what_was_ranked_is_offered(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer.seen, "is_due", lambda: True)
    offered: list[bytes] = []
    monkeypatch.setattr(scorer.seen, "offer", offered.append)
    for n, kept in ((0, 0), (1, 1), (8, 8), (17, 6)):
        items = [{"item": f"i{i}", "features": {"city": "é"}} for i in range(n)]
        body = json.dumps({"user": "u", "features": {"flag": True}, "candidates": items}).encode()
        rank_body(body.replace(b"\\u00e9", "é".encode()), scorer, TIME_MS)
        lines = [json.loads(line) for line in offered.pop().splitlines()]
        assert len(lines) == kept
        assert all(its["features"] == {"flag": True, "city": "é"} and its["user"] == "u" for its in lines)


@pytest.mark.parametrize("n", [0, 1, 5, 3000])
def test_the_best_of_many_are_those_of_a_sort(n: int) -> None:
    rng = np.random.default_rng(n)
    for levels in (3, 10**6):
        key = rng.integers(0, levels, n).astype(np.float32)
        key[rng.random(n) < 0.01] = np.nan
        for k in {0, 1, 7, n // 5, n - 1, n} & set(range(n + 1)):
            assert best_first(key, k).tolist() == np.argsort(-key, kind="stable")[:k].tolist()
    assert best_first(np.full(n, np.nan), n // 5).tolist() == list(range(n // 5))
