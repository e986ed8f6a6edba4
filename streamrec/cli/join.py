"""`streamrec join`: raw events → labelled examples, exactly once."""

import logging
from pathlib import Path
from typing import Any

import click

from streamrec.cli.options import json_option, print_result

__all__ = ["command"]


@click.command("join")
@click.argument("source")
@click.argument("target")
@click.option("--window", metavar="TIME", help="How long an impression waits for its click: 10m, 30s, 2h.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file (TOML): [join], [join_worker]."
)
@click.option("--group", help="Consumer group that shares the partitions; default: join-TARGET.")
@click.option(
    "--rejects",
    metavar="TOPIC",
    help="Topic (or file) of the dead letters; default: SOURCE.rejects, or none.",
)
@click.option("--until-end", is_flag=True, help="Stop at the ends found at the start; what waits is closed.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Serve Prometheus metrics here; 0 takes a free port.",
)
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True, help="Address for metrics; 0.0.0.0 for all."
)
@json_option
def command(as_json: bool, metrics_host: str, metrics_port: int | None, **options: Any) -> None:
    """Join the impressions and clicks of SOURCE into labelled examples in TARGET, exactly once.

    SOURCE is kafka://host:port/topic[,topic…], TARGET a topic of the same cluster. Impressions and clicks
    must be keyed by the impression's id. Several workers of one group share the partitions; start as many as
    you like.

    SOURCE may also be a recorded stream; TARGET and --rejects are files then, TARGET (.jsonl, .gz, .zst) is
    there once it is whole.
    """
    from streamrec.join.worker.process import run_join
    from streamrec.learner.configuration import join_plan_from_options

    logging.getLogger("streamrec").setLevel(logging.INFO)
    if not options["source"].startswith("kafka://"):
        print_result(_join_recorded(options), as_json)
        return
    metrics = None if metrics_port is None else (metrics_host, metrics_port)
    joined = run_join(join_plan_from_options(options), metrics)
    if joined is None:
        return
    print_result(
        {
            "events": joined.events,
            "examples": joined.examples,
            "rejected": joined.rejected,
            "waiting": joined.waiting,
            "transactions": joined.transactions,
        },
        as_json,
    )


def _join_recorded(options: dict[str, Any]) -> dict[str, Any]:
    from streamrec.clock import SystemClock
    from streamrec.errors import UsageError
    from streamrec.events.decoder import BlockDecoder
    from streamrec.join.reader import read
    from streamrec.join.recorded import join_recorded
    from streamrec.learner.configuration import join_settings_from_options
    from streamrec.transport.deadletter import FileLetters, NoLetters
    from streamrec.transport.registry import open_source

    if "://" in options["target"]:
        raise UsageError(f"{options['target']}: expected a file, as {options['source']} is one")
    settings, _ = join_settings_from_options(options)
    source = open_source(options["source"])
    letters = FileLetters(options["rejects"]) if options["rejects"] else NoLetters()
    try:
        stream = read(source, BlockDecoder(), SystemClock(), 0.0)
        joined = join_recorded(stream, Path(options["target"]), letters, settings)
    finally:
        letters.close()
        source.close()
    return joined._asdict()
