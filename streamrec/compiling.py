"""Whether kernels are being compiled: a first run does so for up to a minute, and looks dead."""

from typing import Any

from numba.core import event

__all__ = ["Compiling"]


class Compiling(event.Listener):  # type: ignore[misc]
    """Knows from its making on; loading what was compiled before does not count.

    Attributes:
        depth: how many functions are under way: one calls others.

    """

    def __init__(self) -> None:
        self.depth = 0
        event.register("numba:compile", self)

    def on_start(self, _: Any) -> None:
        """One more."""
        self.depth += 1

    def on_end(self, _: Any) -> None:
        """One less."""
        self.depth -= 1

    def close(self) -> None:
        """Listen no more."""
        event.unregister("numba:compile", self)
