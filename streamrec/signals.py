"""SIGTERM and Ctrl-C: the first asks to stop, and whatever happens the process is gone soon after."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopSignals", "Stopped", "close_soon"]

_log = logging.getLogger("streamrec")

#: From the signal to the end: shorter than the 5 s that is promised, and than the 10 s of container engines.
_LEAVE_S = 4.5
#: How much of that is for closing: brokers and stores that are there take a tenth of it.
_CLOSE_S = 1.0


class Stopped(BaseException):
    """Asked to stop before there was anything that could be asked."""


class StopSignals:
    """Obeys signals as long as the block lasts; for the main thread.

    The first signal calls what `ask` was given, or raises `Stopped` where there is nothing yet; a second one
    raises KeyboardInterrupt. What is then still closing `leave_s` later (a server that is away, a store that
    saves) is left, which is safe: it is what a crash would leave.

    Args:
        signals: which.
        leave_s: None: the process may take its time.

    """

    def __init__(self, signals: Sequence[signal.Signals], leave_s: float | None = _LEAVE_S) -> None:
        self._signals, self._leave_s = signals, leave_s
        self._stop: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}
        self.received = False
        self._raised = False

    def ask(self, stop: Callable[[], None]) -> None:
        """From now on a signal calls this; at once where it came already."""
        self._stop = stop
        if self.received:
            stop()

    def __enter__(self) -> Self:
        for each in self._signals:
            self._before[each] = signal.signal(each, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # the guard stays: a library may wait at the process's very end
        if self._raised and isinstance(error, Exception):
            raise Stopped from None  # on its way through a library it became another error: of an import, say

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (signal's interface)
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        if self._leave_s is not None:
            guard = threading.Timer(self._leave_s, _leave)
            guard.daemon = True
            guard.start()
        if self._stop is None:
            self._raised = True
            raise Stopped
        self._stop()


def close_soon(stack: ExitStack) -> None:
    """Close what is open in a second thread; what takes longer than a second is left, as a crash would."""
    thread = threading.Thread(target=stack.close, name="streamrec-close", daemon=True)
    thread.start()
    thread.join(_CLOSE_S)


def _leave() -> None:
    _log.warning("stopped; what was still closing is left as a crash would leave it, nothing is lost")
    logging.shutdown()
    os._exit(0)
