"""`streamrec serve`: the scoring service."""

import json

import click

__all__ = ["command"]


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
@click.option("--json", "as_json", is_flag=True, help="Print the service's URL as one JSON object.")
def command(store_url: str, name: str, host: str, port: int, events: str | None, as_json: bool) -> None:
    """Serve live scores of a model over HTTP until stopped.

    Waits for a model that is not there yet: /readyz answers 503 until then.
    """
    from streamrec.serving.service import listen  # the HTTP stack takes half a second to import
    from streamrec.serving.service import serve as run
    from streamrec.store.registry import open_store
    from streamrec.transport.registry import open_sink

    def tell(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "model": name, "store": store_url}))
        else:
            click.echo(
                f"Serving model {name!r} on {url} (documentation: {url}/docs). Stop with Ctrl-C.", err=True
            )

    open_events = open_sink(events) if events else None
    store = open_store(store_url)
    try:
        run(store, name, listen(host, port), tell, open_events)
    finally:
        store.close()
