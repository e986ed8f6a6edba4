"""`streamrec demo`: the whole loop on this machine, with a simulated audience that judges it."""

import json

import click

from streamrec.cli.options import json_option

__all__ = ["command"]


@click.command("demo")
@click.option(
    "--seconds", default=50.0, show_default=True, type=click.FloatRange(15, 3600), help="How long it plays."
)
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Of the endpoint; default: a free one."
)
@click.option("--seed", default=1, show_default=True, help="Of the audience.")
@click.option("--record", type=click.Path(dir_okay=False), help="Keep the recorded stream here.")
@click.option(
    "--transport",
    type=click.Choice(["best", "kafka", "file"]),
    default="best",
    help="Where events go; default: Kafka where Java and Maven are found, else a file.",
)
@json_option
def command(seconds: float, port: int, seed: int, record: str | None, transport: str, as_json: bool) -> int:
    """Watch a model learn while it is served: events, learning, Redis, live scores.

    A simulated audience asks the live endpoint what to read and clicks as it likes. Its clicks are learned
    and committed to a Redis that this command starts; the endpoint follows. Half-way everybody's tastes
    change. Ends with a summary; exit code 1 if the model did not learn what it should have.
    """
    from rich.console import Console

    from streamrec.cli.demo.run import Settings, run
    from streamrec.cli.demo.screen import print_summary
    from streamrec.cli.demo.summary import promises

    console = Console(stderr=as_json)
    summary = run(Settings(seconds, port, seed, record, transport), console)
    failed = promises(summary)
    print_summary(console, summary, failed)
    if record:
        console.print(f"The recorded stream: streamrec replay {record}", highlight=False)
    if as_json:
        click.echo(json.dumps(summary.as_json(), allow_nan=False))
    return 1 if failed else 0
