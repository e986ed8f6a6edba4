"""Running a join worker as a process: signals end it, in time; metrics are on a port."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Timer

from streamrec.clock import Clock, SystemClock
from streamrec.join.worker.meters import Meters
from streamrec.join.worker.progress import Joined
from streamrec.join.worker.worker import JoinPlan, JoinWorker
from streamrec.metrics import exported

__all__ = ["run_join"]

_log = logging.getLogger("streamrec")

#: Where a call into a library does not come back (brokers away), the process ends without it; whatever is not
#: committed is joined again. Orchestrators kill later than this.
_LIMIT_S = 4.5


def run_join(plan: JoinPlan, metrics: tuple[str, int] | None = None, clock: Clock | None = None) -> Joined:
    """Join until SIGTERM or SIGINT, or to the end.

    Args:
        plan: see there.
        metrics: host and port to serve Prometheus metrics on; None: nowhere.
        clock: for waiting; None: the machine's.

    Raises: as `JoinWorker`.
    """
    _log.setLevel(logging.INFO)
    clock = clock or SystemClock()
    with ExitStack() as stack:
        meters = None
        if metrics is not None:
            meters = Meters(clock)
            stack.enter_context(exported(meters.registry, *metrics))
        worker = JoinWorker(plan, clock, meters)
        stack.enter_context(_ended_by_signals(worker.stop))
        return worker.run()


@contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop`; the process ends within five seconds after the first of them."""

    timer = Timer(_LIMIT_S, _leave)
    timer.daemon = True

    def end(*_: object) -> None:
        stop()
        if timer.ident is None:
            timer.start()

    with ExitStack() as stack:
        stack.callback(timer.cancel)
        for name in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, name, signal.signal(name, end))
        yield


def _leave() -> None:
    _log.warning("brokers do not answer: left without a last transaction; the next start goes on")
    sys.stderr.flush()
    os._exit(0)
