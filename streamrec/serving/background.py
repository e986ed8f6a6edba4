"""Work in a thread of its own, until it is told to stop."""

from collections.abc import Callable
from threading import Event, Thread

__all__ = ["Background"]


class Background:
    """Runs `work`, which ends once `stopping` is set; it can be started again afterwards.

    Args:
        name: of the thread.
        work: what to do.

    Attributes:
        stopping: set while it shall end, and before the first start unset.

    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.stopping = Event()
        self._name, self._work = name, work
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin; calling it again changes nothing."""
        if self._thread is None:
            self.stopping.clear()
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Return once it has ended."""
        if self._thread is not None:
            self.stopping.set()
            self._thread.join()
            self._thread = None
