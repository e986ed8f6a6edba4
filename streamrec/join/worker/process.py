"""A join worker as a process: it waits for its broker, signals end it in time, metrics are on a port."""

import signal
from contextlib import ExitStack

from streamrec.clock import Clock, SystemClock
from streamrec.join.worker.meters import Meters
from streamrec.join.worker.progress import Joined
from streamrec.join.worker.worker import JoinPlan, JoinWorker
from streamrec.metrics import exported
from streamrec.patience import patiently
from streamrec.signals import Stopped, StopSignals

__all__ = ["run_join"]


def run_join(
    plan: JoinPlan, metrics: tuple[str, int] | None = None, clock: Clock | None = None
) -> Joined | None:
    """Join until SIGTERM or SIGINT, which end it within five seconds, or to the end.

    Args:
        plan: see there.
        metrics: host and port to serve Prometheus metrics on; None: nowhere.
        clock: for waiting; None: the machine's.

    Returns:
        How far it came; None where a signal came before it began.

    Raises: as `JoinWorker`; where there is no end, only after waiting for what is missing.
    """
    clock = clock or SystemClock()
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals((signal.SIGTERM, signal.SIGINT)))
        meters = None
        if metrics is not None:
            meters = Meters(clock)
            stack.enter_context(exported(meters.registry, *metrics))
        try:
            patience_s = 0.0 if plan.until_end else plan.settings.patience_s
            worker = patiently(lambda: JoinWorker(plan, clock, meters), patience_s, clock)
            signals.ask(worker.stop)
        except Stopped:
            return None
        return worker.run()
