"""Asking a broker whether it is there; its answers written by hand."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamrec.services import probe
from streamrec.services.port import HOST, free_port
from streamrec.services.probe import brokers_known, reach


def text(value: str | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def metadata(*nodes: tuple[int, str | None]) -> bytes:
    """Metadata's answer, version 1: correlation id, brokers, controller, no topics."""
    brokers = b"".join(
        struct.pack(">i", node) + text("host") + struct.pack(">i", 9092) + text(rack) for node, rack in nodes
    )
    body = struct.pack(">ii", 1, len(nodes)) + brokers + struct.pack(">ii", 1, 0)
    return struct.pack(">i", len(body)) + body


@contextmanager
def answering(*parts: bytes) -> Iterator[int]:
    """A server that takes a request and sends this, part by part."""
    asked: list[bytes] = []

    def serve() -> None:
        accepted, _ = listener.accept()
        with accepted:
            asked.append(accepted.recv(100))
            for part in parts:
                accepted.sendall(part)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
    assert asked == [bytes.fromhex("0000000e 0003 0001 00000001 ffff 00000000")]


@pytest.mark.parametrize(
    "nodes", [[], [(1, None)], [(1, None), (3, "rack a")], [(1, "r"), (2, ""), (2**31 - 1, None)]]
)
def test_it_tells_who_is_in_service(nodes: list[tuple[int, str | None]]) -> None:
    with answering(metadata(*nodes)) as port:
        assert brokers_known(HOST, port) == {node for node, _ in nodes}


def test_an_answer_in_pieces() -> None:
    whole = metadata((1, None), (2, "rack"))
    with answering(*(whole[i : i + 1] for i in range(len(whole)))) as port:
        assert brokers_known(HOST, port) == {1, 2}


@pytest.mark.parametrize("answer", [b"", b"\0", metadata((1, None))[:-12], metadata((1, None))[:9]])
def test_half_an_answer_is_none(answer: bytes) -> None:
    with answering(answer) as port:
        assert brokers_known(HOST, port) == frozenset()


def test_another_kind_of_server_is_no_broker() -> None:
    with answering(struct.pack(">i", 12) + b"-ERR unknown") as port:
        assert brokers_known(HOST, port) == frozenset()


def test_nobody_and_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_ANSWER_S", 0.1)
    port = free_port()
    assert brokers_known(HOST, port) == frozenset()
    assert reach(f"{HOST}:{port}") == (False, "does not answer")
    with socket.create_server((HOST, port)):
        assert brokers_known(HOST, port) == frozenset()
        assert reach(f"{HOST}:{port}") == (
            True,
            "listens, but does not talk to a client without TLS or password",
        )


def test_in_words() -> None:
    nobody = f"{HOST}:{free_port()}"
    with answering(metadata((1, None))) as port:
        assert reach(f"kafka://{nobody},{HOST}:{port}/") == (True, "answers (1 broker)")
    with answering(metadata((1, None), (2, None))) as port:
        assert reach(f"{HOST}:{port}") == (True, "answers (2 brokers)")


@pytest.mark.parametrize("wrong", ["", "kafka", "host:", ":9092", "host:port", "host:99999"])
def test_wrong_addresses(wrong: str) -> None:
    ok, said = reach(wrong)
    assert not ok
    assert said == f"is wrong: expected host:port, got {wrong!r}"
