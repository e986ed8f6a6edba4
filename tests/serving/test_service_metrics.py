"""What `/metrics` says, read with Prometheus's own parser."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit

from streamrec.clock import SystemClock
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer


class Ticking(SystemClock):
    """Every question for the time takes a quarter of a second."""

    seconds = 0.0

    def now_ms(self) -> int:
        return 9_500

    def monotonic_s(self) -> float:
        self.seconds += 0.25
        return self.seconds


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def scorer(store: FakeStore) -> Scorer:
    return Scorer(store, "m", Ticking(), build=lambda _: FakeMirror())


@pytest.fixture
def client(scorer: Scorer) -> Iterator[Client]:
    with client_of(create_app(scorer, Ticking())) as client:
        scorer.stop()  # the test steps
        yield client


def samples(client: Client) -> dict[tuple[str, ...], float]:
    """(name, label values…) → value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_requests_are_counted_by_path_and_status(client: Client, store: FakeStore, scorer: Scorer) -> None:
    client.post("/v1/rank", json={"candidates": []})
    store.add(commit(1))
    scorer.step()
    for body in ({"candidates": []}, {"candidates": [{}]}, {"candidates": 7}):
        client.post("/v1/rank", json=body)
    client.get("/healthz")
    found = samples(client)
    for status, n in (("503", 1), ("200", 2), ("422", 1)):
        assert found["streamrec_scorer_requests_total", "/v1/rank", status] == n
    assert found["streamrec_scorer_requests_total", "/healthz", "200"] == 1
    assert samples(client)["streamrec_scorer_requests_total", "/metrics", "200"] == 1


def test_paths_that_are_not_there_are_one_path(client: Client) -> None:
    for n in range(20):
        assert client.get(f"/v1/{n}").status_code == 404
    found = samples(client)
    assert found["streamrec_scorer_requests_total", "other", "404"] == 20
    assert len([key for key in found if key[0] == "streamrec_scorer_requests_total"]) == 1


def test_a_fault_is_counted_as_what_is_answered(client: Client, store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    scorer.reading = None  # type: ignore[method-assign, assignment]
    assert client.post("/v1/rank", json={"candidates": []}).status_code == 500
    assert samples(client)["streamrec_scorer_requests_total", "/v1/rank", "500"] == 1


def test_latency_is_that_of_rank_alone(client: Client, store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    client.get("/healthz")
    client.post("/v1/rank", json={"candidates": []})
    found = samples(client)
    assert found["streamrec_scorer_rank_seconds_count",] == 1
    assert (
        found["streamrec_scorer_rank_seconds_sum",] == 1.0
    )  # asked at both ends, at arrival, at its turn, at departure
    assert found["streamrec_scorer_rank_seconds_bucket", "0.5"] == 0
    assert found["streamrec_scorer_rank_seconds_bucket", "1.0"] == 1


def test_a_model_that_is_not_there_has_no_age(client: Client) -> None:
    found = samples(client)
    assert found["streamrec_scorer_ready", "m"] == 0
    assert found["streamrec_scorer_generations_total", "m"] == 0
    assert ("streamrec_scorer_model_seq", "m") not in found
    assert ("streamrec_scorer_staleness_seconds", "m") not in found


def test_state_of_the_model(client: Client, store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1), commit(2))
    scorer.step()
    found = samples(client)
    assert found["streamrec_scorer_ready", "m"] == 1
    assert found["streamrec_scorer_model_seq", "m"] == 2
    assert found["streamrec_scorer_model_epoch", "m"] == 1
    assert found["streamrec_scorer_staleness_seconds", "m"] == 7.5  # made at 2,000 ms, read at 9,500 ms
    assert found["streamrec_scorer_generations_total", "m"] == 1
    assert found["process_resident_memory_bytes",] > 1 << 20


def test_a_generation_built_anew_is_counted(client: Client, store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    store.restart(fresh=False)
    store.add(commit(2))
    for _ in range(3):
        scorer.step()
    assert samples(client)["streamrec_scorer_generations_total", "m"] == 2


def test_it_stands_outside_the_openapi_document_and_on_the_first_page(client: Client) -> None:
    assert "/metrics" not in client.get("/openapi.json").json()["paths"]
    assert 'href="/metrics"' in client.get("/").text


def test_two_services_of_one_process_count_apart(client: Client) -> None:
    other = Scorer(FakeStore(), "n", Ticking(), build=lambda _: FakeMirror())
    with client_of(create_app(other, Ticking())) as second:
        client.get("/healthz")
        assert ("streamrec_scorer_requests_total", "/healthz", "200") not in samples(second)
        assert ("streamrec_scorer_ready", "n") in samples(second)
