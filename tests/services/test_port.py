"""Which ports are free."""

import socket

import pytest

from streamrec.errors import ServiceError
from streamrec.services import port
from streamrec.services.port import HOST, free_port, is_free, require_free


@pytest.fixture
def taken():
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_not_free(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(ServiceError, match=rf"^Redis: port {taken} of 127.0.0.1 is taken by another program"):
        require_free(taken, "Redis")


def test_a_port_whose_server_has_died_with_open_connections_is_free() -> None:
    with socket.create_server((HOST, 0)) as listener:
        number = listener.getsockname()[1]
        client = socket.create_connection((HOST, number))
        accepted, _ = listener.accept()
        accepted.close()  # the server closes first: its side stays in TIME_WAIT
        client.close()
    assert is_free(number)


def test_the_preferred_one_is_taken_where_it_is_free(taken: int) -> None:
    free = free_port()
    assert free_port(taken, free) == free
    assert free_port(taken) not in (taken, free_port(taken))
    assert free_port(free, taken=[free]) != free


def test_ports_are_below_those_of_outgoing_connections() -> None:
    assert all(20_000 <= free_port() < 32_000 for _ in range(20))


def test_none_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "is_free", lambda number: False)
    with pytest.raises(ServiceError, match=r"no free port found on 127\.0\.0\.1 from 20000 to 31999"):
        free_port()
