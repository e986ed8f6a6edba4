"""Running a join worker as a process: it waits for its brokers, signals end it in time, metrics are on a port."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from threading import Timer

from streamrec.clock import Clock, SystemClock
from streamrec.errors import BrokerUnavailable, TopicMissing
from streamrec.join.worker.meters import Meters
from streamrec.join.worker.progress import Joined
from streamrec.join.worker.worker import JoinPlan, JoinWorker
from streamrec.metrics import exported

__all__ = ["run_join"]

_log = logging.getLogger("streamrec")

#: Where a call into a library does not come back (brokers away), the process ends without it; whatever is not
#: committed is joined again. Orchestrators kill later than this.
_LIMIT_S = 4.5
#: How long a worker without an end waits for its broker and topics when it starts.
_PATIENCE_S = 60.0


class _Signals:
    """SIGTERM and SIGINT: whoever runs is asked to stop, and the process ends within five seconds."""

    def __init__(self) -> None:
        self.came = False
        self._ended = False
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> "_Signals":
        self._before = {name: signal.signal(name, self._hear) for name in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def then(self, stop: Callable[[], None]) -> None:
        """What to call when one comes."""
        self._stop = stop

    def _hear(self, *_: object) -> None:
        if not self.came:
            self.came = True
            timer = Timer(_LIMIT_S, self._leave)
            timer.daemon = True
            timer.start()
        self._stop()

    def _leave(self) -> None:
        """A library may hold the process up even after everything is closed."""
        if not self._ended:
            _log.warning("brokers do not answer: left without a last transaction; the next start goes on")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def run_join(
    plan: JoinPlan, metrics: tuple[str, int] | None = None, clock: Clock | None = None
) -> Joined | None:
    """Join until SIGTERM or SIGINT, or to the end.

    Args:
        plan: see there.
        metrics: host and port to serve Prometheus metrics on; None: nowhere.
        clock: for waiting; None: the machine's.

    Returns:
        How far it came; None where a signal came before it began.

    Raises: as `JoinWorker`; where there is no end, only after waiting for a minute for what is missing.
    """
    clock = clock or SystemClock()
    with ExitStack() as stack:
        signals = stack.enter_context(_Signals())
        meters = None
        if metrics is not None:
            meters = Meters(clock)
            stack.enter_context(exported(meters.registry, *metrics))
        worker = _opened(plan, clock, meters, signals)
        if worker is None:
            return None
        signals.then(worker.stop)
        if signals.came:
            worker.stop()
        return worker.run()


def _opened(plan: JoinPlan, clock: Clock, meters: Meters | None, signals: _Signals) -> JoinWorker | None:
    """The worker, once its brokers answer and its topics are there; None: told to stop before."""
    began_s = clock.monotonic_s()
    while not signals.came:
        try:
            return JoinWorker(plan, clock, meters)
        except (BrokerUnavailable, TopicMissing) as error:
            waited_s = clock.monotonic_s() - began_s
            if plan.until_end or waited_s > _PATIENCE_S:
                raise
            _log.warning("%s; it is tried again", error)
            clock.sleep(plan.settings.retry_s)
    return None
