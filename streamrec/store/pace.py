"""Background work that leaves the processor to others: rests between its pieces."""

from collections.abc import Callable

from streamrec.clock import Clock

__all__ = ["Pace"]

#: Of one rest: who waits for the work to end does not wait for long.
_LONGEST_S = 0.25


class Pace:
    """Keeps work that is done in pieces to a share of the time.

    Args:
        share: of the time, in (0, 1]; 1 rests never.
        is_pressing: whether there is no time for rests now.
        clock: for measuring pieces and for rests.

    """

    def __init__(self, share: float, is_pressing: Callable[[], bool], clock: Clock) -> None:
        self._rests_per_work = 1.0 / share - 1.0
        self._is_pressing = is_pressing
        self._clock = clock
        self._since_s = 0.0

    def begin(self) -> None:
        """The first piece begins."""
        self._since_s = self._clock.monotonic_s()

    def rest(self) -> None:
        """A piece is done: rest as long as it deserves, .25 s at most."""
        worked_s = self._clock.monotonic_s() - self._since_s
        if not self._is_pressing():
            self._clock.sleep(min(worked_s * self._rests_per_work, _LONGEST_S))
        self._since_s = self._clock.monotonic_s()
