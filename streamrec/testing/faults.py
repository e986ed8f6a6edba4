"""Crashes as data: what happens at which step."""

from collections import Counter
from collections.abc import Callable

__all__ = ["Crash", "Faults"]


class Crash(BaseException):
    """The process would be gone now; no code may catch it and go on."""


class Faults:
    """A `fault` hook for stores: counts the steps and does what was planned at one of them.

    >>> faults = Faults()
    >>> faults.at("commit 2 send", faults.crash, time=2)
    >>> faults("commit 2 send")
    >>> faults("commit 2 send")
    Traceback (most recent call last):
      ...
    streamrec.testing.faults.Crash: commit 2 send

    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._plan: dict[tuple[str, int], Callable[[str], None]] = {}

    def __call__(self, step: str) -> None:
        """A step has been done."""
        self.seen[step] += 1
        action = self._plan.pop((step, self.seen[step]), None)
        if action is not None:
            action(step)

    def at(self, step: str, action: Callable[[str], None], *, time: int = 1) -> None:
        """Do this, once, when the step is done for the `time`-th time from now."""
        self._plan[step, self.seen[step] + time] = action

    @staticmethod
    def crash(step: str) -> None:
        """An action: end here."""
        raise Crash(step)
