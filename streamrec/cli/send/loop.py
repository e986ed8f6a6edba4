"""Lines of a stream into a sink: paced, counted, acknowledged, and stopped when asked to."""

import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import NamedTuple

from streamrec.errors import Unacknowledged
from streamrec.events.key import Keyed, LineKeys
from streamrec.transport.base import KeyedSink, Source

__all__ = ["Batch", "Plan", "Sender", "batches"]

#: Acknowledgements are waited for this often: what an error leaves in doubt is at most so much, and sending
#: stands still for some milliseconds each time.
_CHECK_S = 1.0
#: Lines given to the sink before signals are looked at: some ten milliseconds' worth.
_SLICE = 2000
#: With a rate, the lines of so long go at once.
_BEAT_S = 0.05
#: A signal is obeyed within this while acknowledgements are waited for.
_STEP_S = 0.25
#: How long acknowledgements are waited for: longer than the producer itself keeps trying.
_PATIENCE_S = 150.0
#: And how long after being told to stop.
_STOP_S = 10.0


class Batch(NamedTuple):
    """Some lines of the stream."""

    keyed: Keyed
    damage: list[str]  # stretches that are no lines: where and why
    share: float | None  # of the stream, read with this


class Plan(NamedTuple):
    """What of the stream is sent, and how fast."""

    skip: int = 0  # lines at the beginning that were sent before
    limit: int | None = None  # lines after these
    rate: float | None = None  # lines a second at most


def batches(source: Source) -> Iterator[Batch | None]:
    """All lines of a source with their keys; None where there is nothing for a while."""
    keys = LineKeys()
    while (chunk := source.read()) is not None:
        if not (chunk.data or chunk.damage):
            yield None
            continue
        damage = [f"{each.partition}, offset {each.offset}: {each.reason}" for each in chunk.damage]
        yield Batch(keys.split(chunk.data), damage, source.progress())


class Sender:
    """Sends once. `stop` may be called by a signal handler.

    Args:
        sink: where to; the caller closes it.
        plan: how much and how fast.
        tell: takes one line for each record that cannot be sent.
        watch: takes the share of the stream, the number acknowledged, and how many a second, now and then.

    Attributes:
        records: given to the sink so far.
        bytes: their length.
        acknowledged: the first so many of them are.
        left_out: what could not be sent, each told.
    """

    def __init__(
        self,
        sink: KeyedSink,
        plan: Plan,
        tell: Callable[[str], None],
        watch: Callable[[float | None, int, float], None],
    ) -> None:
        self.records = self.bytes = self.acknowledged = self.left_out = 0
        self._sink = sink
        self._plan = plan
        self._tell = tell
        self._watch = watch
        self._to_skip = plan.skip
        self._share: float | None = 0.0
        self._begun_s = self._checked_s = 0.0
        self._due_s = 0.0  # when, of the seconds since it began, the next line may go
        self._stopping = Event()
        self._stop_s = float("inf")  # when it was told to

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun_s

    def stop(self) -> None:
        """Send no more; `run` returns once what was given to the sink is acknowledged."""
        self._stop_s = time.monotonic()
        self._stopping.set()

    def run(self, stream: Iterator[Batch | None]) -> None:
        """Send to the end of the stream, the limit, or until `stop`.

        Raises:
            BrokerError, SourceError: what the sink or the stream raises; `acknowledged` says how far it came.

        """
        self._begun_s = self._checked_s = time.monotonic()
        for batch in stream:
            if batch is not None:
                self._share = batch.share
                self._send(batch)
            if self.stopped or self.records == self._plan.limit:
                break
            self._check()
        self._acknowledge()

    def _send(self, batch: Batch) -> None:
        for place in batch.damage:
            self._leave_out(place)
        lines, keys = self._wanted(batch.keyed)
        at = 0
        while at < len(lines) and not self.stopped:
            n = self._await_turn(len(lines) - at)
            part = lines[at : at + n]
            self._sink.write(part, keys[at : at + n])
            self.records += len(part)
            self.bytes += sum(map(len, part))
            at += n
            self._check()

    def _wanted(self, keyed: Keyed) -> tuple[list[bytes], list[bytes | None]]:
        """What is to be sent of these: without those that are too long, the skipped, those past the limit."""
        lines, keys = keyed.lines, keyed.keys
        largest = self._sink.largest_bytes
        if 2 * max(map(len, lines), default=0) > largest:  # a key is no longer than its line
            lines, keys = self._short(lines, keys, largest)
        first = min(self._to_skip, len(lines))
        self._to_skip -= first
        last = None if self._plan.limit is None else first + self._plan.limit - self.records
        return lines[first:last], keys[first:last]

    def _short(
        self, lines: list[bytes], keys: list[bytes | None], largest: int
    ) -> tuple[list[bytes], list[bytes | None]]:
        sizes = [len(line) + len(key or b"") for line, key in zip(lines, keys, strict=True)]
        for line, size in zip(lines, sizes, strict=True):
            if size > largest:
                self._leave_out(
                    f"{line[:40]!r}…: {size:,} bytes with its key: a record has at most {largest:,}"
                )
        kept = [i for i, size in enumerate(sizes) if size <= largest]
        return [lines[i] for i in kept], [keys[i] for i in kept]

    def _leave_out(self, why: str) -> None:
        self.left_out += 1
        self._tell(f"{why}: not sent")

    def _await_turn(self, n_left: int) -> int:
        """Wait until the next lines may go; how many. 0 once it is stopped."""
        rate, n = self._plan.rate, min(n_left, _SLICE)
        if rate is None:
            return n
        n = min(n, max(1, int(rate * _BEAT_S)))
        # the last of them may go at this time; a second's delay is made up for, no more
        due_s = max(self._due_s, self.seconds - _CHECK_S) + (n - 1) / rate
        while (wait_s := due_s - self.seconds) > 0 and not self.stopped:
            self._stopping.wait(min(wait_s, _CHECK_S))
            self._check()
        self._due_s = due_s + 1 / rate
        return 0 if self.stopped else n

    def _check(self) -> None:
        if time.monotonic() - self._checked_s > _CHECK_S:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Wait until everything is; in steps, since nothing else is obeyed meanwhile."""
        since_s = time.monotonic()
        while True:
            try:
                self._sink.flush(_STEP_S)
                break
            except Unacknowledged:
                now = time.monotonic()
                if now - since_s > _PATIENCE_S or now - max(since_s, self._stop_s) > _STOP_S:
                    n_left = self.records - self.acknowledged
                    raise Unacknowledged(
                        f"no answer about {n_left:,} records for {now - since_s:.0f} s: "
                        "is the broker running and reachable?"
                    ) from None
        self.acknowledged = self.records
        self._checked_s = time.monotonic()
        self._watch(self._share, self.acknowledged, self.acknowledged / max(self.seconds, 1e-9))
