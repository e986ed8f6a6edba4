"""`streamrec replay`: learn a recorded stream once, in order."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from streamrec.cli.options import json_option, name_option, print_result, store_option

__all__ = ["command"]


@click.command("replay")
@click.argument("stream")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--model", "kind", help="Kind of model: ftrl or wide; default: the recommended one.")
@store_option
@name_option
@click.option("--fresh", is_flag=True, help="Start over: forget what the store has under this name.")
@click.option("--limit", type=click.IntRange(min=0), help="Stop after this many records of the stream.")
@click.option(
    "--rejects", type=click.Path(path_type=Path), help="Write records that cannot be used here (JSON lines)."
)
@click.option(
    "--predictions", type=click.Path(path_type=Path), help="Write every prediction here (JSON lines)."
)
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
    from streamrec.clock import SystemClock
    from streamrec.evaluation.curves import check_plot
    from streamrec.learner.configuration import plan_from_options  # compiled code: not for --help
    from streamrec.learner.start import start
    from streamrec.store.registry import open_store
    from streamrec.transport.registry import open_source

    if options["plot"]:
        check_plot(options["plot"])
    plan = plan_from_options(options)
    with ExitStack() as stack:
        source = open_source(options["stream"])
        stack.callback(source.close)
        store = open_store(options["store_url"])
        stack.callback(store.close)
        started = start(plan, source, store, SystemClock())
        stack.callback(started.parts.close)
        stop = signal.signal(signal.SIGTERM, lambda *_: started.learner.stop())
        stack.callback(signal.signal, signal.SIGTERM, stop)
        with progress_bar(options["stream"]) as watch:
            report = started.learner.run(limit=options["limit"], watch=watch)
        result = started.result(report)
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
