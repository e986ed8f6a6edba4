"""Options and outputs that several commands share."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from streamrec.store.base import Store

__all__ = [
    "json_option",
    "learning_options",
    "name_option",
    "opened",
    "print_result",
    "store_option",
    "stored_option",
]

_F = TypeVar("_F", bound=Callable[..., Any])
#: Written out, as help must not load what knows the kinds.
_KIND = (
    "Kind: ftrl, wide, fm, dcn, dcn_v1, dlrm, wide_deep, blend or two_tower; default: the recommended one."
)


def json_option(command: _F) -> _F:
    """`--json`: exactly one JSON object on stdout, everything else on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout.")(
        command
    )


def learning_options(command: _F) -> _F:
    """What every command has that learns: the model, its settings and outputs."""
    rejects = (
        "Write records that cannot be used to this file (JSON lines) or kafka://host:port/topic; or none."
    )
    file = click.Path(path_type=Path)
    for option in (
        click.option("--predictions", type=file, help="Write every prediction here (JSON lines)."),
        click.option("--rejects", metavar="PLACE", help=rejects),
        click.option("--fresh", is_flag=True, help="Start over: forget what the store has under this name."),
        name_option,
        click.option("--model", "kind", help=_KIND),
        click.option("--config", type=file, help="Settings file (TOML)."),
    ):
        command = option(command)
    return command


def name_option(command: _F) -> _F:
    """`--name`: which model of the store."""
    return click.option(
        "--name", default="default", show_default=True, help="Name of the model in the store."
    )(command)


def store_option(command: _F) -> _F:
    """`--store`: where models are kept."""
    text = (
        "Where the model is kept: memory, embedded[:DIR], redis://host:port/db or redis+cluster://host:port,…"
    )
    return click.option("--store", "store_url", default="memory", show_default=True, help=text)(command)


def stored_option(command: _F) -> _F:
    """`--store` of what is there already: needed."""
    text = "Where the models are: redis://…, redis+cluster://… or embedded:DIR."
    return click.option("--store", "store_url", required=True, help=text)(command)


@contextmanager
def opened(url: str) -> "Iterator[Store]":
    """The store of a URL, closed at the end."""
    from streamrec.store.registry import open_store

    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def print_result(result: dict[str, Any], as_json: bool, *, err: bool = False) -> None:
    """A mapping as one JSON object, or as aligned lines for a person; `err`: on standard error."""
    if as_json:
        json.dump(result, sys.stdout, allow_nan=False)
        sys.stdout.write("\n")
        return
    width = max(map(len, result), default=0)
    for key, value in result.items():
        click.echo(f"{key:<{width}}  {_readable(value)}", err=err)


def _readable(value: Any) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, float):
        return f"{value:,.5f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
