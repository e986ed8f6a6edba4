"""`streamrec replay`: learn a recorded stream once, in order."""

from pathlib import Path
from typing import Any

import click

from streamrec.cli.options import json_option, learning_options, print_result, store_option

__all__ = ["command"]


@click.command("replay")
@click.argument("stream")
@learning_options
@store_option
@click.option("--limit", type=click.IntRange(min=0), help="Stop after this many records of the stream.")
@click.option("--slice", "slices", metavar="FIELD", help="Also a table of metrics per value of this field.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw the learning curves here (.png or .html)."
)
@json_option
def command(**options: Any) -> None:
    """Learn STREAM once, in order, and tell how good every prediction was before its event was learned.

    STREAM is a file (.jsonl, .gz, .zst), a directory of files, or - for standard input. Where the store
    already holds the model, learning goes on from its last commit.
    """
    from streamrec.cli.progress import progress_bar
    from streamrec.evaluation.curves import check_plot
    from streamrec.learner.configuration import plan_from_options  # compiled code: not for --help
    from streamrec.learner.run import Job, run

    if options["plot"]:
        check_plot(options["plot"])
    plan = plan_from_options(options)
    with progress_bar(options["stream"]) as watch:
        ended = run(plan, Job(options["stream"], options["store_url"], limit=options["limit"]), watch)
    if ended is None:
        return
    result, started = ended.result(), ended.started
    measures = started.parts.measures
    if measures.slices is not None:
        result["slices"] = [row._asdict() for row in measures.slices.top()]
    if measures.slices is not None and not options["as_json"]:
        result.pop("slices")
        click.echo(measures.slices.to_text())
    print_result(result, options["as_json"])
    if options["plot"]:
        measures.plot(options["plot"], f"{options['stream']}: {started.parts.pipeline.settings.kind}")
        click.echo(f"curves: {options['plot']}", err=True)
