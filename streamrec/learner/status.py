"""One line of log a few seconds apart: how a learner is doing, whatever it waits for."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamrec.clock import Clock
from streamrec.compiling import Compiling
from streamrec.learner.report import Report

__all__ = ["status_line", "telling_status"]

_COMPILES = "; compiling for this machine, which an installation does once"
_log = logging.getLogger("streamrec")


@contextmanager
def telling_status(report: Callable[[], Report], interval_s: float, clock: Clock) -> Iterator[None]:
    """As long as the block lasts, a line every so many seconds; none where the interval is 0.

    report: called from a thread of its own, so that a learner that waits for its store is told of, too.
    """
    over, compiling = threading.Event(), Compiling()

    def work() -> None:
        before, then_s = report(), clock.monotonic_s()
        while not over.wait(interval_s):
            now, now_s = report(), clock.monotonic_s()
            rate = (now.examples - before.examples) / max(now_s - then_s, 1e-9)
            line = status_line(now, rate, clock.now_ms()) + (_COMPILES if compiling.depth else "")
            _log.info("%s", line, extra=_numbers(now, rate))
            before, then_s = now, now_s

    thread = threading.Thread(target=work, name="streamrec-status", daemon=True)
    if interval_s > 0:
        thread.start()
    try:
        yield
    finally:
        over.set()
        compiling.close()
        if thread.is_alive():
            thread.join()


def _numbers(report: Report, examples_per_s: float) -> dict[str, float]:
    """The same for a machine, which need not read the line."""
    return {
        "examples": report.examples,
        "examples_per_s": round(examples_per_s, 1),
        "lag": sum(report.lag.values()),
        "commit": report.stored.seq,
        "dead_letters": report.rejected,
        "waiting": report.waiting,
    }


def status_line(report: Report, examples_per_s: float, now_ms: int) -> str:
    """What a person wants to know of a running learner."""
    recent = report.metrics.get("recent", {})
    name, value = (
        ("NE", recent.get("ne")) if recent.get("log_loss") is not None else ("RMSE", recent.get("rmse"))
    )
    quality = "" if value is None else f", recent {name} {value:.4f}"
    stored = report.stored
    commit = "none yet"
    if stored.seq:
        commit = f"{stored.seq:,} of {max(0, now_ms - stored.time_ms) / 1000:.1f} s ago"
    return (
        f"{report.examples:,} examples, {examples_per_s:,.0f}/s, lag {sum(report.lag.values()):,}{quality}, "
        f"commit {commit}, {report.rejected:,} dead letters, {report.waiting:,} waiting"
    )
