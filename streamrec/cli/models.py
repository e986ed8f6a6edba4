"""`streamrec models`: which models a store has; naming generations of them, and going back to one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamrec.cli.options import json_option, print_result

if TYPE_CHECKING:
    from streamrec.learner.generations import Copy
    from streamrec.store.base import Store

__all__ = ["command"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _store_option(wrapped: _F) -> _F:
    text = "Where the models are: redis://…, redis+cluster://… or embedded:DIR."
    return click.option("--store", "store_url", required=True, help=text)(wrapped)


@contextmanager
def _opened(url: str) -> "Iterator[Store]":
    from streamrec.store.registry import open_store

    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


@click.group("models")
def command() -> None:
    """Which models a store has. A generation can be named, and its model set back to it."""


@command.command("list")
@_store_option
@json_option
def list_models(store_url: str, as_json: bool) -> None:
    """List models and their named generations."""
    from streamrec.learner.generations import copies

    with _opened(store_url) as store:
        names = [name for name in store.models() if "@" not in name]
        rows = [
            {
                "model": name,
                **store.head(name)._asdict(),
                "generations": [_shown(copy) for copy in copies(store, name)],
            }
            for name in names
        ]
    if as_json:
        print_result({"models": rows}, as_json)
    for row in [] if as_json else rows:
        click.echo(f"{row['model']}  commit {row['seq']:,} of {_time(row['time_ms'])}, epoch {row['epoch']}")
        for copy in row["generations"]:
            click.echo(f"  {copy['name']}  commit {copy['seq']:,} of {_time(copy['time_ms'])}")


@command.command("show")
@click.argument("model")
@click.argument("name", required=False)
@_store_option
@json_option
def show(model: str, name: str | None, store_url: str, as_json: bool) -> None:
    """Show the newest generation of MODEL, or the one called NAME: place, metrics, guards."""
    from streamrec.learner.generations import described

    with _opened(store_url) as store:
        print_result(described(store, model, name), as_json)


@command.command("tag")
@click.argument("model")
@click.argument("name")
@_store_option
@json_option
def tag(model: str, name: str, store_url: str, as_json: bool) -> None:
    """Give the newest generation of MODEL a NAME, by a full copy; learning and serving go on.

    `streamrec serve --name MODEL@NAME` serves it.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner import generations

    with _opened(store_url) as store:
        print_result({"model": model, **_shown(generations.tag(store, model, name, SystemClock()))}, as_json)


@command.command("rollback")
@click.argument("model")
@click.argument("name")
@_store_option
@click.option(
    "--keep-position",
    is_flag=True,
    help="Do not learn again what was learned since; without it the position goes back, too.",
)
@json_option
def rollback(model: str, name: str, store_url: str, keep_position: bool, as_json: bool) -> None:
    """Make the generation NAME the newest one of MODEL.

    A learner that runs is stopped; start it again, it goes on from there. Scorers follow by themselves.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner import generations

    with _opened(store_url) as store:
        head = generations.rollback(store, model, name, SystemClock(), keep_position=keep_position)
    print_result({"model": model, "name": name, **head._asdict(), "kept_position": keep_position}, as_json)


@command.command("delete")
@click.argument("model")
@click.argument("name")
@_store_option
@json_option
def delete(model: str, name: str, store_url: str, as_json: bool) -> None:
    """Delete the copy that is the generation NAME of MODEL."""
    from streamrec.learner import generations

    with _opened(store_url) as store:
        generations.delete(store, model, name)
    print_result({"model": model, "deleted": name}, as_json)


@command.command("release")
@click.argument("model")
@_store_option
@json_option
def release(model: str, store_url: str, as_json: bool) -> None:
    """Let MODEL be learned again after its guards stopped it, from its last commit, whatever comes.

    A learner that waits goes on by itself.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner import generations

    with _opened(store_url) as store:
        reason = generations.release(store, model, SystemClock())
    print_result({"model": model, "released": reason}, as_json)


def _shown(copy: "Copy") -> dict[str, Any]:
    its = copy._asdict()
    metrics = its.pop("metrics")
    return its | {key: metrics.get(key) for key in ("examples", "log_loss", "ne")}


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
