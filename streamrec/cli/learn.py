"""`streamrec learn`: learn continuously, as a worker does."""

import logging
from typing import Any

import click

from streamrec.cli.options import json_option, learning_options, print_result

__all__ = ["command"]


@click.command("learn")
@click.argument("source")
@click.option(
    "--store", "store_url", required=True, help="Where the model is kept: redis://… or embedded:DIR."
)
@learning_options
@click.option(
    "--until-end", is_flag=True, help="Stop at the ends found at the start, and print what replay prints."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Serve Prometheus metrics, /healthz and /readyz here; 0 takes a free port.",
)
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True, help="Address for metrics; 0.0.0.0 for all."
)
@json_option
def command(**options: Any) -> None:
    """Learn SOURCE as its events come, until SIGTERM or Ctrl-C; a later start goes on where this one stops.

    SOURCE is kafka://host:port/topic[,topic…] with examples, or with impressions and clicks, which are then
    joined here. Records that cannot be used go to the topic TOPIC.rejects unless --rejects says otherwise. A
    SOURCE that is a file ends where it ends.
    """
    from streamrec.cli.progress import progress_bar
    from streamrec.learner.configuration import learning_from_options  # compiled code: not for --help
    from streamrec.learner.run import run

    logging.getLogger("streamrec").setLevel(logging.INFO)
    plan, job = learning_from_options(options)
    with progress_bar(options["source"]) as watch:
        ended = run(plan, job, watch)
    if ended is not None and not ended.stopped:
        print_result(ended.result(), options["as_json"])
    elif ended is not None:
        print_result(ended.summary(), options["as_json"])
