"""Whether a Kafka broker answers, asked in Kafka's own protocol.

Two requests of a few bytes, written by hand: a client library would take longer to import than the broker to
answer, and logs every refusal of a broker that is just starting.
"""

import socket
import struct

__all__ = ["brokers_known", "reach"]

#: A broker on loopback answers in 2 ms; one that is just starting accepts and is silent.
_ANSWER_S = 2.0
_LAST_PORT = 65535
_METADATA = 3
#: The last version of fixed-length fields that tells the controller and takes "no topics".
_METADATA_VERSION = 1
_NO_TOPICS = struct.pack(">i", 0)


def brokers_known(host: str, port: int) -> frozenset[int]:
    """Ids of the brokers that this one knows to be in service; empty where it does not answer yet."""
    request = struct.pack(">hhih", _METADATA, _METADATA_VERSION, 1, -1) + _NO_TOPICS
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (length,) = struct.unpack(">i", _read(connection, 4))
            return _ids(_read(connection, length))
    except (OSError, struct.error, ValueError):
        return frozenset()


def reach(bootstrap: str) -> tuple[bool, str]:
    """Whether one of `host:port[,host:port…]` is there, and what the first of those is, in words."""
    answers = [_reach(address) for address in bootstrap.removeprefix("kafka://").rstrip("/").split(",")]
    return next((answer for answer in answers if answer[0]), answers[0])


def _reach(address: str) -> tuple[bool, str]:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        return False, f"is wrong: expected host:port, got {address!r}"
    host = host.strip("[]")
    if known := brokers_known(host, int(port)):
        return True, f"answers ({len(known)} broker{'s' if len(known) > 1 else ''})"
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError:
        return False, "does not answer"
    return True, "listens, but does not talk to a client without TLS or password"


def _ids(answer: bytes) -> frozenset[int]:
    """Node ids from an answer: correlation, then (id, host, port, rack) of each broker."""
    _, count = struct.unpack_from(">ii", answer)
    at, ids = 8, []
    for _ in range(count):
        node, host_bytes = struct.unpack_from(">ih", answer, at)
        at += 6 + host_bytes + 4
        (rack_bytes,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(rack_bytes, 0)
        ids.append(node)
    return frozenset(ids)


def _read(connection: socket.socket, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        more = connection.recv(n_bytes - len(data))
        if not more:
            raise ValueError("the connection was closed")
        data += more
    return data
