"""`streamrec join`: raw events → labelled examples, exactly once."""

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
@click.option("--metrics-port", type=int, help="Serve Prometheus metrics on this port of 127.0.0.1.")
@json_option
def command(as_json: bool, metrics_port: int | None, **options: Any) -> None:
    """Join the impressions and clicks of SOURCE into labelled examples in TARGET, exactly once.

    SOURCE is kafka://host:port/topic[,topic…], TARGET a topic of the same cluster. Impressions and clicks
    must be keyed by the impression's id. Several workers of one group share the partitions; start as many as
    you like.
    """
    import logging

    from streamrec.clock import SystemClock
    from streamrec.join.worker.process import ended_by_signals, meters_on
    from streamrec.join.worker.worker import JoinWorker
    from streamrec.learner.configuration import join_plan_from_options

    logging.getLogger("streamrec").setLevel(logging.INFO)
    clock = SystemClock()
    worker = JoinWorker(join_plan_from_options(options), clock, meters_on(metrics_port, clock))
    with ended_by_signals(worker.stop):
        joined = worker.run()
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
