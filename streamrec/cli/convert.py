"""`streamrec convert`: public data set → recorded stream."""

import sys
from pathlib import Path

import click

from streamrec.cli.options import json_option, print_result

__all__ = ["command"]


@click.command("convert")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    default="-",
    show_default=True,
    help="File: .jsonl, .jsonl.gz or .jsonl.zst by its name; - is stdout.",
)
@json_option
def command(name: str, path: Path, output: str, as_json: bool) -> None:
    """Convert the data set NAME at PATH (its folder or main file) into events in time order.

    NAME is avazu, criteo, mind, movielens, open-bandit, talkingdata or taobao. Files may be plain or gzip.
    """
    from streamrec.datasets.registry import convert
    from streamrec.datasets.rows import BadRow
    from streamrec.errors import UsageError
    from streamrec.transport.writer import write_stream

    if as_json and output == "-":
        raise UsageError("--json and events on standard output exclude each other: name a file with -o")
    n_events = n_bad = 0

    def on_bad_row(row: BadRow) -> None:
        nonlocal n_bad
        n_bad += 1
        if n_bad <= 10:  # enough to see what is wrong
            click.echo(f"{row}: skipped", err=True)

    with write_stream(output) as stream:
        for line in convert(name, path, on_bad_row):
            stream.write(line)
            n_events += 1
    if output != "-":
        print_result({"data_set": name, "output": output, "events": n_events, "skipped_rows": n_bad}, as_json)
    elif n_bad:
        print(f"{n_events} events, {n_bad} rows skipped", file=sys.stderr)
