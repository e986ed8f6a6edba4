"""Whether a Kafka broker answers, asked in Kafka's own protocol.

Two requests of a few bytes, written by hand: a client library would take longer to import than the broker to
answer, and logs every refusal of a broker that is just starting.
"""

import socket
import struct

__all__ = ["brokers_known", "split_address"]

#: A broker on loopback answers in 2 ms; one that is just starting accepts and is silent.
_ANSWER_S = 2.0
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


def split_address(address: str) -> tuple[str, int]:
    """`host:port` as a pair.

    Raises:
        ValueError: it is none.

    >>> split_address("127.0.0.1:9092")
    ('127.0.0.1', 9092)

    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


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
