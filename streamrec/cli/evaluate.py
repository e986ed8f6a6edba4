"""`streamrec evaluate`: how good a model of a recorded stream is on what was kept back of it."""

from typing import Any

import click

from streamrec.cli.options import json_option, print_result

__all__ = ["command"]


@click.command("evaluate")
@click.argument("stream")
@click.option(
    "--task", type=click.Choice(["retrieval"]), required=True, help="What is measured: items that are found."
)
@click.option(
    "--holdout",
    default="random:0.2",
    show_default=True,
    metavar="random:SHARE",
    help="Which interactions are kept back.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what is kept back."
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How often the rest is learned.",
)
@click.option(
    "--ask-every",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="One in so many of what is learned is asked for just before: progressive_top_1 …; 0: none.",
)
@click.option("--model", "kind", default="two_tower", show_default=True, help="Kind; one that finds items.")
@click.option("--config", type=click.Path(dir_okay=False), help="Settings file (TOML).")
@json_option
def command(stream: str, as_json: bool, **options: Any) -> None:
    """Learn STREAM but for some interactions; tell how often the item of these is among the first k found.

    Every click and every rating is one interaction. Over all items: top_1 … top_100; without those that the
    user took in what was learned: unseen_top_1 … The same of some that are learned, asked for when all before
    them were: progressive_top_1 …, progressive_unseen_top_1 … The stream is kept in memory.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner.configuration import plan_from_options  # compiled code: not for --help
    from streamrec.learner.holdout import Holdout, evaluate, holdout_share, recorded
    from streamrec.transport.registry import open_source

    share = holdout_share(options["holdout"])
    holdout = Holdout(share, options["seed"], options["epochs"], options["ask_every"])
    plan = plan_from_options({**options, "name": "evaluate", "fresh": True})
    source = open_source(stream)
    try:
        recording = recorded(plan, source, SystemClock())
    finally:
        source.close()
    print_result(evaluate(recording, holdout), as_json)
