"""A progress bar on standard error, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamrec.learner.report import Report

__all__ = ["counting_bar", "progress_bar"]


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[["Report"], None]]:
    """A bar of learning: gives the function to call with every report."""
    with counting_bar(f"replay {what}", "examples") as show:
        yield lambda report: show(report.share, report.examples, report.examples_per_s or 0.0)


@contextmanager
def counting_bar(title: str, unit: str) -> Iterator[Callable[[float | None, int, float], None]]:
    """Gives the function to call with the share done (None: not known), how many, and how many a second."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.fields[n]:,}} {unit}"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, n=0, rate=0.0)

        def show(share: float | None, n: int, rate: float) -> None:
            bar.update(task, completed=share, n=n, rate=rate)  # None leaves it as it is

        yield show
