import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit

from streamrec.clock import SystemClock
from streamrec.events.example_reader import ExampleReader
from streamrec.serving.api import MAX_BODY_BYTES, MAX_CANDIDATES
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer

ODD = 'ünï\u2028 "q" \\ \n\t\x7f \U0001f600'


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def scorer(store: FakeStore) -> Scorer:
    return Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())


@pytest.fixture
def client(store: FakeStore, scorer: Scorer) -> Iterator[Client]:
    """A client of a service that mirrors commit 1."""
    store.add(commit(1))
    scorer.step()
    with client_of(create_app(scorer)) as client:
        yield client


def candidates(*xs: float) -> list[dict[str, Any]]:
    return [{"item": f"i{n}", "features": {"x": x}} for n, x in enumerate(xs)]


def test_best_first_and_equal_ones_in_the_order_of_the_request(client: Client) -> None:
    body = {"user": "u", "features": {"d": "phone"}, "candidates": candidates(3, 1, 2, 1)}
    answer = client.post("/v1/rank", json=body).json()
    assert [item["item"] for item in answer["items"]] == ["i1", "i3", "i2", "i0"]
    assert answer["items"][0] == {"item": "i1", "probability": float(np.float32(1 / 3)), "confidence": 1.0}
    assert (answer["model"], answer["seq"], answer["epoch"]) == ("m", 1, 1)
    assert answer["staleness_ms"] > 0


@pytest.mark.parametrize("k", [1, 3, 4, 9])
def test_k(client: Client, k: int) -> None:
    answer = client.post("/v1/rank", json={"candidates": candidates(3, 1, 2, 1), "k": k}).json()
    assert len(answer["items"]) == min(k, 4)


def test_floats_are_printed_as_exactly_the_float32(client: Client) -> None:
    xs = np.random.default_rng(0).exponential(size=500)
    answer = client.post("/v1/rank", json={"candidates": candidates(*xs.tolist())}).json()
    by_item = {item["item"]: item["probability"] for item in answer["items"]}
    expected = (1.0 / (2.0 + xs)).astype(np.float32)
    assert [by_item[f"i{n}"] for n in range(500)] == expected.tolist()


@pytest.mark.parametrize("shared", [{}, {"x": 5.0}, {"y": 5.0}])
@pytest.mark.parametrize("own", [{}, {"x": 2.0}, {"z": 1}])
def test_the_candidate_wins_over_the_request(
    client: Client, shared: dict[str, Any], own: dict[str, Any]
) -> None:
    answer = client.post("/v1/rank", json={"features": shared, "candidates": [{"features": own}]}).json()
    (item,) = answer["items"]
    assert item["item"] is None
    assert item["probability"] == float(np.float32(1 / (2 + (shared | own).get("x", 0))))


def test_no_candidates(client: Client) -> None:
    assert client.post("/v1/rank", json={"candidates": [], "k": 3, "explain": True}).json()["items"] == []


def test_odd_names_and_values(client: Client) -> None:
    features = {ODD: ODD, "": [ODD, ""], "n": None, "b": True, "i": 2**60, "f": -0.0}
    body = {"user": ODD, "candidates": [{"item": ODD, "features": features}], "explain": True}
    answer = client.post("/v1/rank", json=body)
    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    assert item["item"] == ODD
    assert {c["feature"] for c in item["contributions"]} == {"user", "item"} | {
        f"features.{f}" for f in features
    }


def test_explain_takes_one_feature_away_at_a_time(client: Client) -> None:
    body = {"features": {"y": "a"}, "candidates": candidates(1.0, 0.5), "k": 1, "explain": True}
    (item,) = client.post("/v1/rank", json=body).json()["items"]
    x, rest = item["contributions"][0], item["contributions"][1:]
    # p = 1/(2 + x): log-odds −log(1 + x)
    assert x["feature"] == "features.x"
    assert item["method"] == "occlusion"
    assert x["contribution"] == pytest.approx(-np.log(1.5), abs=1e-6)
    assert rest == [
        {"feature": "item", "contribution": 0.0},
        {"feature": "features.y", "contribution": 0.0},
    ]


FAULTS = [
    (b"", "body: Invalid JSON"),
    (b"{", "body: Invalid JSON"),
    (b"\xff\xfe\x00", "body: Invalid JSON"),
    (b"[1]", "body: "),
    (b"{}", "candidates: Field required"),
    (b'{"candidates": [], "k": 0}', "k: Input should be greater than or equal to 1, got 0"),
    (b'{"candidates": [], "user": 7}', "user: Input should be a valid string, got 7"),
    (b'{"candidates": [], "time": 1e300}', "time: "),
    (b'{"candidates": [], "time": 99999999999999}', "time: "),
    (b'{"candidates": [{"features": {"a": NaN}}]}', "candidates.0.features.a: expected a finite number"),
    (b'{"candidates": [{"features": {"a": 1e400}}]}', "candidates.0.features.a: expected a finite number"),
    (b'{"candidates": [{"features": {"a": {"b": 1}}}]}', "candidates.0.features.a: expected a finite number"),
    (b'{"candidates": [], "features": {"str": [1]}}', "features.str: expected a finite number"),
    (b'{"candidates": [{"item": "\\ud800"}]}', "body: Invalid JSON"),
    (b'{"candidates": [' + b"{}," * MAX_CANDIDATES + b"{}]}", "candidates: "),
    (b'{"explain": true, "candidates": [' + b"{}," * 100 + b"{}]}", "explain: expected at most 100"),
    (b"[" * 5000, "body: Invalid JSON"),
]


@pytest.mark.parametrize(("body", "detail"), FAULTS, ids=[d + str(i) for i, (_, d) in enumerate(FAULTS)])
def test_faults_are_told_in_one_line(client: Client, body: bytes, detail: str) -> None:
    answer = client.post("/v1/rank", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["detail"].startswith(detail)
    assert "\n" not in told["detail"]
    assert len(told["detail"]) < 600
    assert (told["status"], told["type"]) == (422, "about:blank")


def test_many_faults_are_counted(client: Client) -> None:
    answer = client.post("/v1/rank", json={"candidates": [{"item": n} for n in range(40)]})
    assert answer.json()["detail"].endswith("; and 35 more")


def test_a_compressed_body_is_told_apart_from_bad_json(client: Client) -> None:
    answer = client.post("/v1/rank", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert (answer.status_code, "got 'gzip'; send the body uncompressed" in answer.json()["detail"]) == (
        415,
        True,
    )
    body = b'{"candidates": []}'
    assert client.post("/v1/rank", content=body, headers={"content-encoding": "identity"}).status_code == 200


def test_too_large(client: Client) -> None:
    answer = client.post("/v1/rank", content=b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert str(MAX_BODY_BYTES) in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/v1/rank", 405, "method: '/v1/rank' expects POST, got 'GET'"),
        (
            "POST",
            "/v1/rank/",
            404,
            "path: expected one of this service's, got '/v1/rank/'; /docs has them all",
        ),
        ("POST", "/", 405, "method: '/' expects GET, got 'POST'"),
        ("GET", "/v1/rnk", 404, "path: expected one of this service's, got '/v1/rnk'; /docs has them all"),
        ("GET", "/assets/none.js", 404, "path: expected one of this service's, got '/assets/none.js'; /docs"),
    ],
)
def test_wrong_paths_are_problems(client: Client, method: str, path: str, status: int, detail: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.json()["detail"].startswith(detail)


def test_lines_that_the_decoder_refuses_are_a_fault_of_the_request(client: Client, scorer: Scorer) -> None:
    assert scorer.generation is not None
    with scorer.generation.reading() as (mirror, _):
        mirror.score_lines = lambda data: np.zeros((2, 0), np.float32)  # type: ignore[method-assign]
    answer = client.post("/v1/rank", json={"candidates": candidates(1)})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "candidates: 1 of 1 cannot be decoded as events",
    )


def test_which_candidate_the_decoder_refuses_is_told(client: Client, scorer: Scorer) -> None:
    def refuse(data: bytes) -> np.ndarray:
        return np.zeros((2, len(ExampleReader(()).examples(data)[0].time_ms)), np.float32)

    assert scorer.generation is not None
    with scorer.generation.reading() as (mirror, _):
        mirror.score_lines = refuse  # type: ignore[method-assign]
    many = {"tags": ["a"] * 5000}
    body = {"candidates": [*candidates(1, 2), {"features": many}, {"features": many}]}
    answer = client.post("/v1/rank", json=body)
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "candidates.2: features: 5000 entries, at most 4096",
    )


def test_a_fault_of_the_service_shows_no_trace(client: Client, scorer: Scorer) -> None:
    def fail(data: bytes) -> np.ndarray:
        raise RuntimeError("secret")

    assert scorer.generation is not None
    with scorer.generation.reading() as (mirror, _):
        mirror.score_lines = fail  # type: ignore[method-assign]
    answer = client.post("/v1/rank", json={"candidates": candidates(1)})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_readiness_follows_the_store(store: FakeStore, scorer: Scorer) -> None:
    with client_of(create_app(scorer)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        for path in ("/readyz", "/v1/model"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["detail"] == "waiting for the first commit of model 'm'"
        assert client.get("/readyz?memory=true").status_code == 503
        assert client.post("/v1/rank", json={"candidates": []}).status_code == 503
        store.add(commit(1))
        _until(client, 200)
        store.down = True
        _until(client, 503)
        assert client.get("/readyz?memory=true").status_code == 200
        answer = client.get("/readyz?memory=perhaps")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.json()["detail"].startswith("query.memory: ")
        assert client.post("/v1/rank", json={"candidates": candidates(1)}).status_code == 200
        store.down = False
        _until(client, 200)


def _until(client: Client, status: int) -> None:
    for _ in range(500):
        if client.get("/readyz").status_code == status:
            return
    raise AssertionError(client.get("/readyz").text)


def test_model_state(client: Client) -> None:
    state = client.get("/v1/model").json()
    assert state.pop("staleness_ms") > 0
    assert state == {
        "name": "m",
        "kind": "fake",
        "retrieves": False,
        "seq": 1,
        "epoch": 1,
        "time_ms": 1000,
        "weights": 2,
        "tables": {"a": 1, "b": 1},
        "position": None,
        "metrics": {"ne": 0.9},
        "spec": {"kind": "fake"},
        "stopped": None,
    }


def test_pages_need_nothing_from_the_network(client: Client) -> None:
    index, docs = client.get("/"), client.get("/docs")
    assert 'href="/docs"' in index.text
    for page in (index, docs):
        assert page.headers["content-type"].startswith("text/html")
        asked = re.findall(r'(?:src|<link[^>]* href)="([^"]*)"', page.text)
        assert {address.partition("/")[0] for address in asked} <= {"", "data:,"}  # paths of this service
        for address in asked:
            assert address.startswith("data:") or client.get(address).status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
        )
        assert "unsafe" not in policy
    for path in ("/v1/rank", "/v1/events", "/v1/model", "/healthz", "/readyz"):
        assert f"<code>{path}</code>" in docs.text
    for schema in ("RankRequest", "Candidate", "RankResponse", "RankedItem", "ModelState", "Problem"):
        assert f'id="{schema}"' in docs.text


def test_openapi_is_complete(client: Client) -> None:
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    for name in [part.split('"')[0] for part in text.split("#/components/schemas/")[1:]]:
        assert name in document["components"]["schemas"]
    body = document["paths"]["/v1/rank"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/RankRequest"}
    example = document["components"]["schemas"]["RankRequest"]["examples"][0]
    assert client.post("/v1/rank", json=example).status_code == 200
