"""A progress bar on standard error, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamrec.learner.loop import Report

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[["Report"], None]]:
    """Gives the function to call with every report."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[examples]:,} examples"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"replay {what}", total=1.0, examples=0, rate=0.0)

        def watch(report: "Report") -> None:
            share = {} if report.share is None else {"completed": report.share}
            bar.update(task, examples=report.examples, rate=report.examples_per_s or 0.0, **share)  # type: ignore[arg-type]

        yield watch
