"""One partition of the join: its input, its joiner, its transactions; a thread of its own.

A transaction holds the examples, the dead letters, the input's positions (for lag tools, and so that a member
which lost its place in the group is refused) and the joiner's checkpoint. Its id is that of the partition:
who begins to join a partition ends every transaction that an earlier owner left open, and an owner that
comes back is refused.

Steps of a transaction; a crash between any two of them leaves the partition at the one before:

1. send    examples and dead letters, as they are decided
2. state   the record from which the next owner goes on
3. offsets the input's positions
4. commit  all of it at once

What a transaction adds is counted once it is committed.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread
from typing import NamedTuple

from streamrec.clock import Clock
from streamrec.errors import BrokerUnavailable, StreamrecError
from streamrec.events.decoder import BlockDecoder
from streamrec.join.breaker import BreakerLog
from streamrec.join.decode import Decoded, Turn
from streamrec.join.joiner import Refused
from streamrec.join.line_joiner import JoinedLines, LineJoiner
from streamrec.join.merge import Recorded, merged
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.counts import Counts, kind_of, label_counts
from streamrec.join.worker.feed import Feed
from streamrec.join.worker.footholds import Foothold, added
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.state import JoinState, page_key, page_record, state_record
from streamrec.join.worker.turns import Pages, turns_of
from streamrec.transport.kafka.client import Partition, Producer
from streamrec.transport.kafka.letters import letter_of

__all__ = ["Topics", "Unit", "Work"]

_log = logging.getLogger("streamrec")

#: Before all events of a block.
_BEFORE = -1


class Topics(NamedTuple):
    """Where a unit writes; partition i of the input goes to partition i of each but the rejects."""

    target: str
    state: str
    rejects: str


class Work(NamedTuple):
    """What the units of a worker have in common."""

    topics: Topics
    rejects: Sequence[Partition]  # all of that topic
    join: JoinSettings
    settings: JoinWorkerSettings
    clock: Clock
    counts: Counts
    group: Callable[[], object]  # the worker's present place in its consumer group


class Unit:
    """Joins the partitions of one number, one of each input topic.

    Args:
        number: of the partitions.
        feed: their records, from the state's checkpoint on.
        producer: whose transactional id is that of this number.
        state: what `read_state` gave; None begins at the beginning.
        work: what it shares with other units.

    """

    def __init__(
        self, number: int, feed: Feed, producer: Producer, state: JoinState | None, work: Work
    ) -> None:
        self.number, self.feed = number, feed
        self.error: BaseException | None = None
        self.done = False
        self.writer = secrets.token_hex(8)
        self._producer, self._work = producer, work
        self._joiner = LineJoiner(work.join, state.checkpoint if state else None)
        self.joiner = self._joiner.joiner
        self._breaker = BreakerLog()
        self._n_found = self._found()
        self._committed = dict(state.position) if state else {}
        self._position = dict(self._committed)
        recorded = _recorded(state)
        self._pages = Pages(state.pages if state else ())
        self._footholds = list(state.footholds) if state else []
        self._turns: list[Turn] = []
        self._letters: list[Refused] = []  # met in a rebuild, but not written before
        self._stream: Iterator[Decoded | None] = merged(
            feed, BlockDecoder(), work.clock, work.settings.partition_wait_s, recorded
        )
        self._began_s: float | None = None  # the open transaction; None: none is open
        self._added: Counter[tuple[str, str]] = Counter()  # by the open transaction
        self._leaving, self._dropping = Event(), False
        self._thread: Thread | None = None

    def start(self) -> None:
        """Join, in a thread of its own, until `leave`; nothing happens where it does already."""
        if self._thread is None and self.error is None:
            self._leaving.clear()
            self._thread = Thread(target=self._run, name=f"join {self.number}", daemon=True)
            self._thread.start()

    def leave(self, *, drop: bool = False) -> None:
        """Ask the thread to end its transaction (or to leave it open, to be dropped) and to end."""
        self._dropping = drop
        self._leaving.set()

    def wait(self, limit_s: float) -> None:
        """Return once the thread has ended; what did not in time is no more to be used."""
        if self._thread is not None:
            self._thread.join(limit_s)
            if self._thread.is_alive():
                self.error = self.error or BrokerUnavailable("its transaction could not be ended in time")
                return
            self._thread = None

    def close(self) -> None:
        """Free the producer. What is not committed is for whoever is next.

        A producer in the middle of a call that does not end is left alone: it ends with its thread.
        """
        if not self.is_idle:
            return
        try:
            self._producer.close()
        except StreamrecError as error:
            _log.debug("partition %d: %s", self.number, error)

    @property
    def is_idle(self) -> bool:
        """Whether no thread of it runs."""
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._go_on()
        except BaseException as error:  # the worker decides what it means
            self.error = error

    def _go_on(self) -> None:
        ended = False
        for decoded in self._stream:
            if decoded is not None and not self._is_dropped():
                self._take(decoded)
            if self._leaving.is_set():
                break
            if self._is_due():
                self._commit()
        else:
            ended = True
            if not self.done:
                self._finish()
        if not self._is_dropped():
            self._commit()
            self.done = self.done or ended

    def _is_dropped(self) -> bool:
        return self._dropping and self._leaving.is_set()

    def _is_due(self) -> bool:
        if self._began_s is None:
            return False
        return self._work.clock.monotonic_s() >= self._began_s + self._work.settings.commit_interval_s

    def _take(self, decoded: Decoded) -> None:
        """Everything that some records cause; what a rebuild has seen again was written before."""
        n_before = self.joiner.n_events
        self._turns += decoded.turns
        self._letters += [r for r in decoded.refused if r.offset >= self._committed.get(r.partition, 0)]
        joined = self._joiner.push(decoded)
        self._breaker.see(self.feed.stream, self.joiner.silent)
        if self.joiner.rebuilding:
            self._letters = [letter._replace(decided=_BEFORE) for letter in self._letters]
            return
        self._send(joined)
        self._added["events", ""] += self.joiner.n_events - max(n_before, self._joiner.until)
        self._position |= decoded.places.end

    def _finish(self) -> None:
        """The input is at its end: what waits is closed."""
        self._send(self._joiner.finish())

    def _begin(self) -> None:
        if self._began_s is None:
            self._producer.begin()
            self._added = Counter()
            self._began_s = self._work.clock.monotonic_s()

    def _send(self, joined: JoinedLines) -> None:
        """Step 1: the lines, and what cannot be used in the order in which that was decided."""
        self._begin()
        send, target, number = self._producer.send, self._work.topics.target, self.number
        for line in joined.lines:
            send(target, line, None, number)
        self._added.update(label_counts(joined.labels))
        for letter in sorted([*self._letters, *joined.refused], key=lambda letter: letter.decided):
            key, value = letter_of(letter.reason, letter.partition, letter.offset, letter.raw)
            send(self._work.topics.rejects, value, key.encode())
            self._added["rejected", kind_of(letter.reason)] += 1
        self._letters = []

    def _commit(self) -> None:
        """Steps 2 to 4."""
        if self._began_s is None:
            return
        checkpoint = self.joiner.checkpoint()
        self._send_state(checkpoint)  # 2
        named = {str(partition): partition for partition in self.feed.next}
        offsets = {named[name]: (offset, "") for name, offset in self._position.items() if name in named}
        self._producer.commit_positions(offsets, self._work.group())  # 3
        self._producer.commit()  # 4
        self._added["clicks", "found"] = self._found() - self._n_found
        self._work.counts.add(self._added, self._work.clock.monotonic_s() - self._began_s)
        self._began_s = None
        self._committed = dict(self._position)
        self._n_found = self._found()

    def _found(self) -> int:
        """Clicks that found their impression, over the whole stream."""
        counts = self.joiner.counts
        return counts["positives"] + counts.get("corrections", 0)

    def _send_state(self, checkpoint: dict[str, object]) -> None:
        topic, send = self._work.topics.state, self._producer.send
        for page in self._pages.add(self._turns, self.joiner.n_events):
            key, value = page_record(page)
            send(topic, value, key, self.number)
        self._turns = []
        for number in self._pages.forget(_begins_at(checkpoint)):
            send(topic, None, page_key(number), self.number)
        new = Foothold(self.joiner.n_events, dict(self._position), self.joiner.scalars())
        self._footholds = added(self._footholds, new, _begins_at(checkpoint))
        key, value = state_record(self._position, checkpoint, self._pages, self._footholds, self.writer)
        send(topic, value, key, self.number)


def _recorded(state: JoinState | None) -> Recorded:
    """The order that is to be taken again."""
    if state is None:
        return Recorded()
    checkpoint = state.checkpoint
    turns = turns_of(state.pages)
    return Recorded(checkpoint["position"], _begins_at(checkpoint), turns, checkpoint["until"])


def _begins_at(checkpoint: object) -> int:
    """Events before the checkpoint's position."""
    n_events: int = checkpoint["scalars"]["events"]  # type: ignore[index]
    return n_events
