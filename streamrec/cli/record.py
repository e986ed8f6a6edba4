"""`streamrec record`: a Kafka topic becomes a recorded stream."""

from contextlib import ExitStack
from typing import Any

import click

from streamrec.cli.options import json_option, name_option, print_result

__all__ = ["command"]


@click.command("record")
@click.argument("source")
@click.option(
    "-o",
    "--output",
    default="-",
    show_default=True,
    help="File (.jsonl, .gz, .zst), or - for standard output.",
)
@click.option("--store", "store_url", help="Take the order in which the model --name of this store learned.")
@name_option
@click.option(
    "--partition-wait", default=0.2, show_default=True, type=click.FloatRange(min=0), metavar="SECONDS",
    help="How long a partition is waited for, as partition_wait_s of a learner.",
)  # fmt: skip
@json_option
def command(
    source: str, output: str, store_url: str | None, name: str, partition_wait: float, as_json: bool
) -> None:
    """Write the records of SOURCE, kafka://host:port/topic[,topic…], as a recorded stream.

    They come in the order in which a new learner would learn them, up to the ends found at the start. With
    --store, they come in the order in which the model learned them, up to where it is: a replay of the file
    gives the model's own state_sha256.
    """
    if as_json and output == "-":
        raise click.UsageError("--json needs -o FILE: the records themselves go to standard output")
    print_result(_record(source, output, store_url, name, partition_wait), as_json, err=output == "-")


def _record(source_url: str, output: str, store_url: str | None, name: str, wait_s: float) -> dict[str, Any]:
    from streamrec.clock import SystemClock
    from streamrec.errors import UsageError
    from streamrec.learner.recording import learned_by, recorded_lines
    from streamrec.store.registry import open_store
    from streamrec.transport.base import LiveSource
    from streamrec.transport.opening import Limits
    from streamrec.transport.registry import open_source
    from streamrec.transport.writer import write_stream

    with ExitStack() as stack:
        source = open_source(source_url)
        stack.callback(source.close)
        if not isinstance(source, LiveSource):
            raise UsageError(f"{source_url}: expected kafka://host:port/topic: a file is recorded already")
        learned = None
        if store_url is not None:
            store = open_store(store_url)
            stack.callback(store.close)
            learned = learned_by(store, name, source.stream)
        n_records = n_bytes = 0
        with write_stream(output) as file:
            for lines in recorded_lines(source, SystemClock(), wait_s, Limits().max_line_bytes, learned):
                file.write(lines)
                n_records, n_bytes = n_records + lines.count(b"\n"), n_bytes + len(lines)
    return {"records": n_records, "bytes": n_bytes, "output": output}
