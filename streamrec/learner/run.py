"""A learner from its source's URL to its result, as commands and workers run it."""

import dataclasses
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, NamedTuple, TypeVar

from streamrec.clock import SystemClock
from streamrec.errors import CutOff, StoreUnavailable, StreamrecError
from streamrec.learner.exporter import STARTING, STOPPING, LearnerCollector
from streamrec.learner.loop import CUT_OFF
from streamrec.learner.report import Report
from streamrec.learner.start import Plan, Started, start
from streamrec.learner.status import telling_status
from streamrec.learner.stored import blobs_of
from streamrec.metrics import exported
from streamrec.patience import patiently
from streamrec.signals import Stopped, StopSignals, close_soon
from streamrec.store.base import Head
from streamrec.store.registry import open_store
from streamrec.transport.base import LiveSource
from streamrec.transport.registry import open_source

__all__ = ["Ended", "Job", "run"]

_log = logging.getLogger("streamrec")

_Given = TypeVar("_Given")
#: How often the store is asked whether a model that is cut off was released.
_LOOK_S = 1.0
_NOTHING_YET = "nothing was committed: see the stream, then start again"
_WHAT_NOW = (
    "what was committed before is served; see the stream, then: streamrec models rollback, "
    "or streamrec models release to learn it all the same"
)


class Job(NamedTuple):
    """What to learn from, and how the process behaves meanwhile.

    Attributes:
        source: URL of the stream.
        store: URL of the store.
        live: go on when the stream's present end is reached.
        limit: records of the stream after which to stop; None: no limit.
        worker: it runs by itself: servers that are away are waited for, its state is told in the log and to
            lag tools, and a signal ends it within 5 s.
        metrics: address and port for Prometheus; None: none.

    """

    source: str
    store: str
    live: bool = False
    limit: int | None = None
    worker: bool = False
    metrics: tuple[str, int] | None = None


class Ended(NamedTuple):
    """How a run ended."""

    started: Started
    report: Report
    stopped: bool  # by a signal

    def result(self) -> dict[str, Any]:
        """What `replay` tells (DESIGN 7); goes over the whole model."""
        return self.started.result(self.report)

    def summary(self) -> dict[str, Any]:
        """What is known of a run that was stopped, at once."""
        report, measures = self.report, self.started.parts.measures
        return {
            "stopped": True,
            "seq": report.stored.seq,
            "events": report.events,
            "examples": report.examples,
            "rejected": report.rejected,
            **measures.result(),
        }


def run(plan: Plan, job: Job, watch: Callable[[Report], None] = lambda _: None) -> Ended | None:
    """Learn until the end, the limit or a signal; everything is closed and stored when this returns.

    watch: called after every chunk. None: a signal came before learning began.

    Raises:
        CutOff: the guards stopped learning; a live run waits to be released instead.
        StreamrecError: what was committed before stays.

    """
    clock = SystemClock()
    signals = (
        StopSignals((signal.SIGTERM, signal.SIGINT)) if job.worker else StopSignals((signal.SIGTERM,), None)
    )
    collector = LearnerCollector(plan.name, clock)
    try:
        with signals, ExitStack() as stack:
            if job.metrics is not None:
                _log.info(
                    "metrics: %s", stack.enter_context(exported(collector, *job.metrics, collector.unready))
                )
            while True:
                try:
                    return _run(plan, job, watch, signals, collector)
                except CutOff as stop:
                    what_now = _WHAT_NOW if stop.is_stored else _NOTHING_YET
                    reason = CutOff(f"model {plan.name!r}: learning is stopped: {stop}; {what_now}")
                    if not (job.live and stop.is_stored):
                        raise reason from None
                _log.error("%s", reason)
                collector.cut_off = str(reason)
                if not _released(plan, job, signals, collector):
                    return None
                plan = dataclasses.replace(plan, fresh=False)
    except Stopped:
        _log.warning("stopped before learning began")
        return None


def _released(plan: Plan, job: Job, signals: StopSignals, collector: LearnerCollector) -> bool:
    """Wait until somebody has changed the model, which is cut off; False: a signal."""
    stop = threading.Event()
    signals.ask(stop.set)
    while not stop.is_set():
        try:
            with closing(open_store(job.store)) as store:
                seen: Head | None = None
                while not stop.wait(_LOOK_S):
                    head = store.head(plan.name)
                    if head != seen and CUT_OFF not in blobs_of(store, plan.name):
                        collector.cut_off = ""
                        return True
                    seen = head
        except StoreUnavailable:
            stop.wait(_LOOK_S)
    return False


def _run(
    plan: Plan,
    job: Job,
    watch: Callable[[Report], None],
    signals: StopSignals,
    collector: LearnerCollector,
) -> Ended:
    clock = SystemClock()
    with ExitStack() as stack:
        collector.stage = STARTING
        started = _open(plan, job, stack, collector)
        stack.callback(lambda: started.parts.close(flush=not signals.received))
        learner = started.learner
        signals.ask(learner.stop)
        stack.callback(lambda: collector.watch(None))
        collector.watch(learner.report)
        collector.stage = STOPPING  # once it is watched no more
        if job.worker:
            stack.enter_context(telling_status(learner.report, plan.learner.log_interval_s, clock))
        ended = Ended(started, learner.run(limit=job.limit, watch=watch), signals.received)
        if job.worker and signals.received:
            close_soon(stack.pop_all())
        return ended


def _open(plan: Plan, job: Job, stack: ExitStack, collector: LearnerCollector) -> Started:
    """The learner over its source and store, which the stack closes; what it waits for is the collector's."""
    clock = SystemClock()

    def insist(attempt: Callable[[], _Given]) -> _Given:
        def told() -> _Given:
            try:
                given = attempt()
            except StreamrecError as error:
                collector.stage = f"starting: {error}"
                raise
            collector.stage = STARTING
            return given

        return patiently(told, plan.learner.patience_s, clock) if job.worker else attempt()

    def begin() -> Started:
        if isinstance(source, LiveSource):
            source.seek({})  # an attempt before may have read from it
        return start(plan, source, store, clock)

    group = f"streamrec-{plan.name}" if job.worker else None
    source = insist(lambda: open_source(job.source, live=job.live, group=group))
    stack.callback(source.close)
    store = insist(lambda: open_store(job.store))
    stack.callback(store.close)
    return insist(begin)
