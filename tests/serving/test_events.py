"""`POST /v1/events`, over a sink in memory."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from serving_fakes import Client, FakeMirror, FakeSink, FakeStore, client_of

from streamrec.clock import SystemClock
from streamrec.errors import BrokerError, Unacknowledged
from streamrec.events.codec import decode_line
from streamrec.serving import events as module
from streamrec.serving.api import MAX_EVENTS, MAX_EVENTS_BYTES
from streamrec.serving.app import create_app
from streamrec.serving.delivery import Delivery
from streamrec.serving.scorer import Scorer
from streamrec.testing.redis_server import wait_until

CLICK = {"type": "click", "id": "c1", "time": 1, "impression": "i1"}
SHOWN = {"type": "impression", "id": "i1", "time": 1, "user": "u", "item": "m", "features": {"t": "a\nb"}}
LINES = {"content-type": "application/x-ndjson; charset=utf-8"}


def app_of(delivery: Delivery | None) -> Any:
    scorer = Scorer(FakeStore(), "m", SystemClock(), build=lambda _: FakeMirror())  # type: ignore[arg-type]
    return create_app(scorer, delivery=delivery)


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def client(sink: FakeSink) -> Iterator[Client]:
    with client_of(app_of(Delivery(sink.open))) as client:
        yield client
        sink.hold.set()


def text(event: Any) -> bytes:
    return json.dumps(event).encode()


def test_one_event_a_list_of_events_and_lines(client: Client, sink: FakeSink) -> None:
    assert client.post("/v1/events", json=CLICK).json() == {"accepted": 1, "errors": []}
    assert client.post("/v1/events", json=[SHOWN, CLICK]).json() == {"accepted": 2, "errors": []}
    lines = b"\n" + text(SHOWN) + b"\r\n \n" + text(CLICK)
    answer = client.post("/v1/events", content=lines, headers=LINES)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "errors": []})
    assert [(key, json.loads(line)) for key, line in sink.written] == [
        (b"i1", event) for event in (CLICK, SHOWN, CLICK, SHOWN, CLICK)
    ]
    assert sink.acknowledged == 5


@pytest.mark.parametrize("body", [b"[]", b" [ ] \n", b"\n [\n\n]"])
def test_no_events(client: Client, sink: FakeSink, body: bytes) -> None:
    assert client.post("/v1/events", content=body).json() == {"accepted": 0, "errors": []}
    assert client.post("/v1/events", content=b"\n \n", headers=LINES).json() == {"accepted": 0, "errors": []}
    assert sink.written == []


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("many", [False, True])
def test_an_event_is_sent_as_it_was_written_on_one_line(
    client: Client, sink: FakeSink, indent: int | None, mark: bytes, many: bool
) -> None:
    """Unknown fields and the text of numbers too: whoever reads them may be newer than this service."""
    event = json.dumps(SHOWN | {"new": {"a": [1, 2.50, 10**400]}, "user": "Léon"}, indent=indent)
    written = event.replace("2.5", "2.500").replace("\n", "\r\n")
    body = mark + (f"[\t{written} , {written}\n]" if many else written).encode()
    assert client.post("/v1/events", content=body).json() == {"accepted": 1 + many, "errors": []}
    assert sink.written == [(b"i1", written.replace("\r\n", "  ").encode())] * (1 + many)


def test_every_event_is_judged_by_itself(client: Client, sink: FakeSink) -> None:
    wrong: list[Any] = [{"type": "clik"}, 7, CLICK | {"time": "x"}, [], None, SHOWN | {"features": {"a": {}}}]
    events = [wrong[0], CLICK, *wrong[1:4], SHOWN, *wrong[4:]]
    reasons = [decode_line(text(event)).reason for event in wrong]  # type: ignore[union-attr]
    expected = [{"index": i, "reason": reason} for i, reason in zip([0, 2, 3, 4, 6, 7], reasons, strict=True)]
    for body, headers in ((text(events), {}), (b"\n\n".join(map(text, events)), LINES)):
        answer = client.post("/v1/events", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (207, {"accepted": 2, "errors": expected})
        assert [json.loads(line) for _, line in sink.written] == [CLICK, SHOWN]
        sink.written.clear()


def test_where_no_event_is_valid_nothing_was_done(client: Client, sink: FakeSink) -> None:
    answer = client.post("/v1/events", json=[{"type": "clik"}, {}])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    told = answer.json()
    assert told["detail"] == "event 0: type: unknown 'clik'; did you mean 'click'? (and 1 more)"
    assert [fault["index"] for fault in told["errors"]] == [0, 1]
    assert sink.n_flushes == 0


BODIES = [
    (b"", "event 0: bad JSON: "),
    (b"{", "event 0: bad JSON: "),
    (b"\xff", "event 0: not UTF-8"),
    (b'{"type":"click","id":"a\nb","time":1,"impression":"i"}', "event 0: bad JSON: control character"),
    (b'{\n"type":"click"\n"id":1}', "event 0: bad JSON: expected `,` or `}` at byte 18"),
    (text(CLICK) + b"\n" + text(CLICK), "event 0: bad JSON: trailing characters at byte 62; send several"),
    (b'{"user":"a"}', "event 0: type: missing"),
    (b"[", "body: bad JSON: Expecting value at character 1"),
    (b"[1", "body: bad JSON: expected , or ] at character 2"),
    (b"[1,]", "body: bad JSON: Expecting value at character 3"),
    (b"[,1]", "body: bad JSON: Expecting value at character 1"),
    (b"[1 2]", "body: bad JSON: expected , or ] at character 3"),
    (b"[1] 2", "body: bad JSON: more after the list at character 4"),
    (b'["a\nb"]', "body: bad JSON: Invalid control character"),
    (b"[\xff]", "body: not UTF-8: invalid start byte at byte 1"),
    (b"[" * 100_000, "body: bad JSON: nested too deep"),
    (b"[" + b'{"a":' * 100_000, "body: bad JSON: nested too deep"),
]


@pytest.mark.parametrize(("body", "detail"), BODIES, ids=[str(i) for i in range(len(BODIES))])
def test_bodies_that_cannot_be_read(client: Client, sink: FakeSink, body: bytes, detail: str) -> None:
    answer = client.post("/v1/events", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert "\n" not in answer.json()["detail"]
    assert sink.written == []


@pytest.mark.parametrize("headers", [{}, LINES])
def test_limits(client: Client, sink: FakeSink, headers: dict[str, str]) -> None:
    def post(n: int, event: bytes = b"1") -> Any:
        body = b"\n".join([event] * n) if headers else b"[" + b",".join([event] * n) + b"]"
        return client.post("/v1/events", content=body, headers=headers)

    assert post(MAX_EVENTS).status_code == 422
    for n in (MAX_EVENTS + 1, 4 * MAX_EVENTS):
        answer = post(n)
        assert (answer.status_code, str(MAX_EVENTS) in answer.json()["detail"]) == (413, True)
    answer = post(2, b" " * (MAX_EVENTS_BYTES // 2))
    assert (answer.status_code, str(MAX_EVENTS_BYTES) in answer.json()["detail"]) == (413, True)
    assert sink.written == []


def test_an_event_that_the_sink_does_not_take(client: Client, sink: FakeSink) -> None:
    room = sink.largest_bytes - len(text({**CLICK, "x": ""})) - len(b"i1")
    too_long, fits = ({**CLICK, "x": "y" * n} for n in (room + 1, room))
    answer = client.post("/v1/events", content=text([too_long, fits]))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["index"]) == (207, 0)
    assert error["reason"].startswith("event of 1999 bytes: more than")
    assert [len(line) for _, line in sink.written] == [1998]


def test_a_compressed_body_is_refused(client: Client) -> None:
    answer = client.post("/v1/events", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert (answer.status_code, "uncompressed" in answer.json()["detail"]) == (415, True)


def test_without_a_sink_it_says_how_to_turn_it_on() -> None:
    with client_of(app_of(None)) as client:
        answer = client.post("/v1/events", json=CLICK)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["detail"] == module.OFF


def test_a_sink_that_does_not_answer(client: Client, sink: FakeSink) -> None:
    sink.fault = Unacknowledged("kafka://a:1: 1 records are not acknowledged after 5 s")
    for _ in range(3):
        answer = client.post("/v1/events", json=CLICK)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "not acknowledged" in answer.json()["detail"]
    assert len(sink.written) == 1  # the others were refused, and are not sent later
    assert client.get("/healthz").status_code == 200
    sink.fault = None
    assert wait_until(lambda: client.post("/v1/events", json=SHOWN).status_code == 200)
    assert [json.loads(line) for _, line in sink.written] == [CLICK, SHOWN]


def test_a_sink_that_refuses(client: Client, sink: FakeSink) -> None:
    sink.fault = BrokerError("kafka://a:1: not permitted")
    answer = client.post("/v1/events", json=CLICK)
    assert (answer.status_code, answer.json()["detail"]) == (503, "kafka://a:1: not permitted")


def test_a_fault_shows_no_trace(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "count_lines", None)
    answer = client.post("/v1/events", json=CLICK)
    assert (answer.status_code, "TypeError" in answer.json()["detail"]) == (500, True)
    monkeypatch.undo()
    assert client.post("/v1/events", json=CLICK).status_code == 200


def test_too_much_under_way(sink: FakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    body = text([CLICK] * 3)
    monkeypatch.setattr(module, "EVENTS_IN_FLIGHT_BYTES", 2 * len(body))
    with client_of(app_of(Delivery(sink.open))) as client:
        sink.hold.clear()
        waiting = [
            threading.Thread(target=client.post, args=("/v1/events",), kwargs={"content": body})
            for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        assert wait_until(lambda: client.post("/v1/events", json=CLICK).status_code == 503)
        answer = client.post("/v1/events", json=CLICK)
        assert (answer.headers["retry-after"], answer.json()["detail"][:24]) == (
            "1",
            "too many events under wa",
        )
        assert client.get("/healthz").status_code == 200
        sink.hold.set()
        for thread in waiting:
            thread.join(10)
        assert client.post("/v1/events", content=body).status_code == 200  # the room is free again


def test_many_small_requests_share_acknowledgements_and_keep_their_order(
    client: Client, sink: FakeSink
) -> None:
    n_clients, n_each = 20, 10
    client.post("/v1/events", json=CLICK)
    sink.n_flushes = 0

    def work(k: int) -> None:
        for i in range(n_each):
            shown = {**SHOWN, "id": f"k{k}", "time": i}
            assert (
                client.post("/v1/events", json=[shown, {**CLICK, "impression": f"k{k}"}]).status_code == 200
            )

    threads = [threading.Thread(target=work, args=(k,)) for k in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(sink.written) == 1 + 2 * n_clients * n_each
    assert sink.n_flushes < n_clients * n_each
    for k in range(n_clients):
        mine = [json.loads(line) for key, line in sink.written if key == b"k%d" % k]
        assert [event["time"] for event in mine] == [t for i in range(n_each) for t in (i, 1)]


def test_the_document_tells_what_it_takes(client: Client, sink: FakeSink) -> None:
    document = client.get("/openapi.json").json()
    operation, schemas = document["paths"]["/v1/events"]["post"], document["components"]["schemas"]
    answers = {"200", "207", "401", "404", "408", "413", "415", "422", "500", "503"}
    assert operation["responses"].keys() == answers
    content = operation["requestBody"]["content"]
    assert content.keys() == {"application/json", "application/x-ndjson"}
    example = schemas["Events"]["examples"][0]
    assert client.post("/v1/events", json=example).json() == {"accepted": len(example), "errors": []}
    names = [ref["$ref"].rpartition("/")[2] for ref in schemas["Event"]["oneOf"]]
    assert names == ["Impression", "Click", "Rating", "Item", "Example"]
    docs = client.get("/docs").text
    for name in (*names, "Event", "Events", "EventsAnswer", "EventsProblem", "EventFault"):
        assert f'id="{name}"' in docs
    assert 'data-path="/v1/events"' in docs


def test_kafka_is_not_imported_unless_asked_for() -> None:
    program = (
        "import sys, workers.serve, streamrec.cli.serve, streamrec.serving.service\n"
        "from streamrec.transport.registry import open_sink\n"
        "open_sink('kafka://a:1/t')\n"
        "print([name for name in ('kafka', 'confluent_kafka') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
