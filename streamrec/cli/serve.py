"""`streamrec serve`: the scoring service."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streamrec.log import tell

if TYPE_CHECKING:
    from streamrec.serving.limits import Protection
    from streamrec.serving.modes import Mode

__all__ = ["command"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _protection_options(command: _F) -> _F:
    """Who may ask, over what, and how much at once."""
    file = click.Path(path_type=Path)
    count = click.IntRange(min=1)
    for option in (
        click.option("--tls-client-ca", type=file, help="Clients need a certificate signed by one of these."),
        click.option("--tls-key", type=file, help="PEM file; without: the key is in the certificate's file."),
        click.option("--tls-cert", type=file, help="Speak HTTPS with this certificate (PEM and chain)."),
        click.option(
            "--token-file",
            type=file,
            help="Who asks needs one of these bearer tokens, one a line; STREAMREC_TOKEN holds one, too.",
        ),
        click.option(
            "--idle-timeout",
            "idle_s",
            type=count,
            help="Seconds that a connection is kept for the next request: more than your load balancer keeps "
            "it.  [default: 75]",
        ),
        click.option(
            "--receive-timeout",
            "receive_s",
            type=click.FloatRange(min=0, min_open=True),
            help="Seconds that a client may take over a request's head, and over its body.  [default: 10]",
        ),
        click.option(
            "--max-delay-ms",
            "delay_ms",
            type=count,
            help="Answer 503 while a request would wait for longer.  [default: 400]",
        ),
        click.option(
            "--max-requests", "requests", type=count, help="Requests under way at once.  [default: 128]"
        ),
    ):
        command = option(command)
    return command


def _lookup_options(command: _F) -> _F:
    """Whether the model is held as a whole."""
    for option in (
        click.option(
            "--lookup-stale-ms",
            "stale_ms",
            type=click.IntRange(min=0),
            help="With --lookup: ask the store first, where it last confirmed so long ago that nothing newer "
            "is there.  [default: 1000]",
        ),
        click.option(
            "--lookup-rows",
            "rows",
            type=click.IntRange(min=0),
            help="With --lookup: how many rows to hold.  [default: 1000000]",
        ),
        click.option(
            "--lookup", is_flag=True, help="Hold some rows only and read others when they are needed."
        ),
    ):
        command = option(command)
    return command


@click.command("serve")
@click.option(
    "--store",
    "store_url",
    required=True,
    help="Where the model is: redis://…, redis+cluster://… or embedded:DIR.",
)
@click.option("--name", default="default", show_default=True, help="Name of the model in the store.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@click.option(
    "--events", metavar="URL", help="Take events on /v1/events: kafka://host:port/topic, or a file."
)
@click.option(
    "--approximate-above",
    type=click.IntRange(min=0),
    help="Search approximately among more items, where the extra ann is installed.  [default: 300000]",
)
@_lookup_options
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="MODEL=SHARE",
    help="Another model for so many per cent of the users, or MODEL=shadow; where the store has no arms yet.",
)
@_protection_options
@click.option("--json", "as_json", is_flag=True, help="Print the service's URL as one JSON object.")
def command(
    store_url: str,
    name: str,
    host: str,
    port: int,
    events: str | None,
    approximate_above: int | None,
    lookup: bool,
    rows: int | None,
    stale_ms: int | None,
    arms: tuple[str, ...],
    as_json: bool,
    **protection: Any,
) -> None:
    """Serve live scores of a model over HTTP until stopped.

    Waits for a store or a model that is not there yet: /readyz answers 503 until then. A model of a kind
    that retrieves also answers /v1/retrieve and /v1/recommend; --events takes the impressions of the latter,
    too. With --lookup a model may be larger than this process's memory; it gives the same scores.

    Arms are changed while it serves by streamrec models arms set and streamrec models promote.
    """
    from streamrec.serving.split import Split, parse_shares

    shares = parse_shares(arms)
    Split.alone(name).with_shares(shares)  # a mistake shows before anything is opened
    from streamrec.serving.service import listen  # the HTTP stack takes half a second to import
    from streamrec.serving.service import serve as run
    from streamrec.store.registry import open_store
    from streamrec.transport.registry import open_sink

    def ready(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "model": name, "store": store_url}))
        else:
            tell(f"Serving model {name!r} on {url} (documentation: {url}/docs). Stop with Ctrl-C.")

    open_events = open_sink(events) if events else None
    protected = _protection(**protection)
    mode = _mode(approximate_above, lookup, rows=rows, stale_ms=stale_ms)
    store = open_store(store_url, late=True)
    try:
        run(store, name, listen(host, port), ready, open_events, protected, mode, shares)
    finally:
        store.close()


def _mode(approximate_above: int | None, lookup: bool, **limits: int | None) -> "Mode":
    """What the options say of it.

    Raises:
        UsageError: an option of the other mode.

    """
    from streamrec.serving.settings import LookupSettings, RetrievalSettings

    given = {name: value for name, value in limits.items() if value is not None}
    if lookup and approximate_above is not None:
        raise click.UsageError(
            "--approximate-above: with --lookup no items are found; leave one of them away"
        )
    if given and not lookup:
        raise click.UsageError(f"--lookup-{next(iter(given)).replace('_', '-')}: expected with --lookup only")
    if lookup:
        return LookupSettings(**given)
    return None if approximate_above is None else RetrievalSettings(approximate_above)


def _protection(
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    **limits: float | None,
) -> "Protection":
    """The options; a token is not one of them, because a command line can be read by others."""
    from streamrec.serving.limits import Limits, Protection
    from streamrec.serving.tls import server_context
    from streamrec.serving.token import read_tokens

    return Protection(
        Limits(**{name: value for name, value in limits.items() if value is not None}),
        read_tokens(os.environ.get("STREAMREC_TOKEN") or None, token_file),
        server_context(tls_cert, tls_key, tls_client_ca),
    )
