"""Running a worker as a process: signals end it, in time."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Timer

__all__ = ["ended_by_signals"]

_log = logging.getLogger("streamrec")

#: Where a call into a library does not come back (brokers away), the process ends without it; whatever is not
#: committed is joined again. Orchestrators kill later than this.
_LIMIT_S = 4.8


@contextmanager
def ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
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
