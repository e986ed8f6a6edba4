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
@click.option("--rejects", metavar="TOPIC", help="Topic of the dead letters; default: SOURCE.rejects.")
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
    """
    from streamrec.join.worker.process import run_join
    from streamrec.learner.configuration import join_plan_from_options

    logging.getLogger("streamrec").setLevel(logging.INFO)
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
