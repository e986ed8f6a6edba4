"""`streamrec services`: a Kafka and a Redis on this machine for development and tests, without Docker."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from streamrec.cli.options import json_option, print_result
from streamrec.errors import ServiceError

__all__ = ["command"]

_F = TypeVar("_F", bound=Callable[..., Any])

_NAMES = ("kafka", "redis")
#: Where clients look for them by habit; taken in a new directory where they are free.
_KAFKA_PORTS = (9092, 9093, 9094)
_REDIS_PORTS = (6379,)


def _which(command: _F) -> _F:
    """`[kafka] [redis]`, `--dir` and `--json`."""
    name = click.argument("names", metavar="[kafka] [redis]", nargs=-1, type=click.Choice(_NAMES))
    directory = click.option(
        "--dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where their data and logs are kept.  [default: one per user]",
    )
    return name(directory(json_option(command)))


@click.group("services")
def command() -> None:
    """Start, stop and look at a local Kafka broker and a local Redis.

    They listen on loopback only, live until `down`, and keep their data.
    """


@command.command("up")
@_which
@click.option("--kafka-port", type=click.IntRange(1, 65533), help="The first broker's; others follow it.")
@click.option("--redis-port", type=click.IntRange(1, 65535), help="Redis's.  [default: 6379 or a free one]")
@click.option("--brokers", type=click.Choice(["1", "3"]), help="Number of Kafka brokers.  [default: 1]")
def _up(names: tuple[str, ...], directory: Path | None, as_json: bool, **options: Any) -> None:
    """Start what does not run yet and print the URLs once all are ready."""
    services = _services(names, directory, **options)
    result: dict[str, Any] = {}
    started, failures = [], []
    for name, service in services.items():
        try:
            started += [name] if service.start() else []
            result[name] = service.url
        except ServiceError as error:
            failures.append(error)
    if not as_json or failures:
        for name, url in result.items():
            click.echo(f"{name:<6} {url}  {'started' if name in started else 'was up already'}", err=as_json)
    if failures:
        raise ServiceError("; ".join(map(str, failures)))
    if as_json:
        print_result(result | {"started": started, "directory": str(_directory(directory))}, True)


@command.command("down")
@_which
@click.option("--purge", is_flag=True, help="Remove all data and logs too.")
def _down(names: tuple[str, ...], directory: Path | None, as_json: bool, purge: bool) -> None:
    """Stop what runs. Data are kept for the next `up`, unless --purge."""
    result: dict[str, Any] = {}
    for name, service in _services(names, directory).items():
        stopped = service.stop()
        removed = purge and service.purge()
        result[name] = {"stopped": stopped, "purged": removed}
        if not as_json:
            said = "stopped" if stopped else "was not running"
            click.echo(f"{name:<6} {said}{'; data removed' if removed else ''}")
    if as_json:
        print_result(result, True)


@command.command("status")
@_which
def _status(names: tuple[str, ...], directory: Path | None, as_json: bool) -> int:
    """Say what runs. Exit code 1 if something asked for is not up."""
    result: dict[str, Any] = {}
    for name, service in _services(names, directory).items():
        pids, up = service.pids(), service.is_up()
        url = service.url if pids else None
        result[name] = {"up": up, "url": url, "pids": pids, "directory": str(service.directory)}
        if not as_json:
            click.echo(f"{name:<6} {_told(up, pids)}{f'  {url}' if url else ''}  {service.directory}")
    if as_json:
        print_result(result, True)
    return 0 if all(each["up"] for each in result.values()) else 1


def _told(up: bool, pids: list[int | None]) -> str:
    running = [str(pid) for pid in pids if pid is not None]
    if up:
        return f"up (process {', '.join(running)})"
    return f"not ready ({len(running)} of {len(pids)} processes run)" if running else "down"


def _services(
    names: tuple[str, ...],
    directory: Path | None,
    *,
    kafka_port: int | None = None,
    redis_port: int | None = None,
    brokers: str | None = None,
) -> dict[str, Any]:
    """Those that are asked for, all where none is named, in the order in which they start."""
    from streamrec.services.kafka import KafkaCluster
    from streamrec.services.redis import RedisService

    place = _directory(directory)
    services: dict[str, Any] = {}
    if "redis" in (names or _NAMES):
        services["redis"] = RedisService(place / "redis", port=redis_port, preferred=_REDIS_PORTS)
    if "kafka" in (names or _NAMES):
        services["kafka"] = KafkaCluster(
            place / "kafka",
            n_brokers=int(brokers) if brokers else None,
            port=kafka_port,
            preferred=_KAFKA_PORTS,
            tell=lambda line: click.echo(line, err=True),
        )
    return services


def _directory(given: Path | None) -> Path:
    """One per user, so that every project of theirs finds the same servers."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return (given or Path(data, "streamrec", "services")).absolute()
