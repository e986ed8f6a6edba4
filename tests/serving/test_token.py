"""Bearer tokens: who may ask, and that nobody sees one."""

import hmac
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit

from streamrec.clock import SystemClock
from streamrec.errors import UsageError
from streamrec.serving.app import create_app
from streamrec.serving.limits import Protection
from streamrec.serving.scorer import Scorer
from streamrec.serving.token import Tokens, read_tokens

OLD, NEW = "old-token-0123456789", "new_token.~+/0123456789=="
OPEN = ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics")
CLOSED = (("POST", "/v1/rank"), ("POST", "/v1/events"), ("GET", "/v1/model"), ("GET", "/nothing"))


@pytest.fixture
def client() -> Iterator[Client]:
    store = FakeStore()
    store.add(commit(1))
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    scorer.step()
    with client_of(create_app(scorer, protection=Protection(tokens=Tokens([OLD, NEW])))) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", f"Basic {OLD}", f"Bearer {OLD}x", OLD])
def test_nobody_else_passes(client: Client, method: str, path: str, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    expected = "Bearer" if given is None else 'Bearer error="invalid_token"'
    assert answer.headers["www-authenticate"] == expected
    assert OLD not in answer.text
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("token", [OLD, NEW])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_each_token_passes(client: Client, token: str, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {token}"}
    assert client.post("/v1/rank", json={"candidates": []}, headers=headers).status_code == 200
    assert client.request("GET", "/v1/model", headers=headers).status_code == 200


def test_two_headers_are_none(client: Client) -> None:
    headers = [("authorization", f"Bearer {OLD}"), ("authorization", f"Bearer {NEW}")]
    assert client.request("GET", "/v1/model", headers=headers).status_code == 401


@pytest.mark.parametrize("path", OPEN)
def test_health_metrics_and_documentation_are_open(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_refusals_are_counted_and_nothing_is_written_down(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.request("GET", "/v1/model", headers={"authorization": f"Bearer {OLD}"})
        client.request("GET", "/v1/model", headers={"authorization": "Bearer wrong-token-0123456789"})
        metrics = client.get("/metrics").text
    assert 'streamrec_scorer_refused_total{reason="token"} 1.0' in metrics
    for token in (OLD, "wrong-token-0123456789"):
        assert token not in caplog.text + metrics


def test_the_document_says_who_needs_one(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    secured = {
        path for path, operations in document["paths"].items() for o in operations.values() if "security" in o
    }
    assert secured == {"/v1/rank", "/v1/retrieve", "/v1/recommend", "/v1/events", "/v1/model"}
    assert 'id="token"' in client.get("/docs").text


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one, by digests of one length, also after the right one was found."""
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    tokens = Tokens([OLD, NEW])
    for given in (OLD, NEW, "x"):
        tokens.accept(f"Bearer {given}".encode())
    assert compared == [(32, 32)] * 6


@pytest.mark.parametrize(
    "token", ["short", "", "with a space in it....", "with\nline-break-0123456789", "ünïcödé-0123456789"]
)
def test_a_token_that_cannot_be_used_is_told_without_it(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        Tokens([OLD, token])
    text = "".join(traceback.format_exception_only(caught.value))
    assert "token 2: expected 16 or more" in text
    assert not token or token not in text


def test_a_token_is_not_in_its_owner_s_words() -> None:
    assert repr(Protection(tokens=Tokens([OLD]))).count(OLD) == 0


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# since May\n{OLD}\n\n  {NEW}  \n")
    tokens = read_tokens(None, path)
    assert tokens is not None
    assert all(tokens.accept(f"Bearer {token}".encode()) for token in (OLD, NEW))
    assert read_tokens(None, None) is None
    both = read_tokens("another-0123456789", path)
    assert both is not None
    assert both.accept(b"Bearer another-0123456789")


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff\xfe"])
def test_a_file_without_tokens_protects_nothing_and_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="token"):
        read_tokens(None, path)
