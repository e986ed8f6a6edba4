"""A sample of what was scored of late: ids are hashes, and only events tell what they are called."""

from collections import deque
from collections.abc import Callable
from threading import Lock

__all__ = ["SAMPLE", "Seen"]

#: A request every so often, `SAMPLE` candidates of each: some hundred examples, from the last seconds on.
_REQUESTS, SAMPLE, _EVERY_S = 32, 8, 0.2
#: Lines of one request beyond this are left out: a body may have 16 MiB.
_BYTES = 64 * 1024


class Seen:
    """The last lines that were scored, not all of them; cheap for whoever scores.

    Args:
        now_s: the time in seconds, monotonic.

    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._next_s = -1.0
        self._requests: deque[tuple[int, list[bytes]]] = deque(maxlen=_REQUESTS)
        self._n = 0
        self._lock = Lock()

    def is_due(self) -> bool:
        """Whether lines that are offered now would be looked at."""
        return self._now_s() >= self._next_s

    def offer(self, lines: bytes) -> None:
        """The lines of one request, each an `example` event with its line feed."""
        now_s = self._now_s()
        if now_s < self._next_s or not lines:
            return
        self._next_s = now_s + _EVERY_S
        chosen = _some(lines)
        with self._lock:
            self._n += 1
            self._requests.append((self._n, chosen))

    def after(self, number: int) -> tuple[int, list[bytes]]:
        """The number of the newest request that is kept, and the lines of those after `number`."""
        with self._lock:
            kept = list(self._requests)
            return self._n, [line for n, lines in kept if n > number for line in lines]


def _some(lines: bytes) -> list[bytes]:
    """Evenly spread over the request, within the bounds."""
    whole = lines.splitlines(keepends=True) if len(lines) < 64 * _BYTES else [lines[: lines.index(b"\n") + 1]]
    chosen, size = [], 0
    for line in whole[:: -(-len(whole) // SAMPLE)]:
        size += len(line)
        if size <= _BYTES:
            chosen.append(line)
    return chosen
