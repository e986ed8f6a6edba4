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
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import NamedTuple

import numpy as np

from streamrec.clock import Clock
from streamrec.events.block import ITEM, EventBlock, Examples
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import Decoded, Turn
from streamrec.join.joiner import Joiner, Refused
from streamrec.join.lines import carrying_lines, example_line, lines_of, outcomes
from streamrec.join.merge import Recorded, merged
from streamrec.join.places import Places
from streamrec.join.select import sliced
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.feed import Feed
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.state import JoinState, TurnsSince, state_record
from streamrec.transport.deadletter import dead_letter
from streamrec.transport.kafka.client import Producer

__all__ = ["Topics", "Unit"]

_log = logging.getLogger("streamrec")

#: How long a thread may take to end its transaction when its partition goes to another worker.
_LEAVE_S = 30.0


class Topics(NamedTuple):
    """Where a unit writes; partition i of the input goes to partition i of each but the rejects."""

    target: str
    state: str
    rejects: str


class Unit:
    """Joins the partitions of one number, one of each input topic.

    Args:
        number: of the partitions.
        feed: their records, from the state's checkpoint on.
        producer: whose transactional id is that of this number.
        group: gives the worker's present place in its consumer group.
        state: what `read_state` gave; None begins at the beginning.

    """

    def __init__(
        self,
        number: int,
        feed: Feed,
        producer: Producer,
        group: Callable[[], object],
        state: JoinState | None,
        *,
        join: JoinSettings,
        settings: JoinWorkerSettings,
        topics: Topics,
        clock: Clock,
    ) -> None:
        self.number, self.feed = number, feed
        self.error: BaseException | None = None
        self.done = False
        self.writer = secrets.token_hex(8)
        self._producer, self._group, self._topics, self._clock = producer, group, topics, clock
        self._settings = settings
        self.joiner = Joiner(join, state.checkpoint if state else None)
        self._committed = dict(state.position) if state else {}
        self._position = dict(self._committed)
        recorded = self._recorded(state)
        self._waited_for = {turn.partition: turn.waited_for for turn in recorded.turns}
        self._n_recorded = self._until = recorded.until
        self._turns: list[Turn] = []
        self._stream: Iterator[Decoded | None] = merged(
            feed, BlockDecoder(), clock, settings.partition_wait_s, recorded
        )
        self._began_s: float | None = None  # the open transaction; None: none is open
        self._stopping = Event()
        self._thread: Thread | None = None
        self.n_examples = self.n_refused = 0

    def start(self) -> None:
        """Join, in a thread of its own, until `stop`."""
        self._stopping.clear()
        self._thread = Thread(target=self._work, name=f"join {self.number}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commit what is joined and pause; `start` goes on."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_S)
            self._thread = None

    def close(self) -> None:
        """Stop for good; what is not committed is left to whoever is next."""
        self.stop()
        self._producer.close()

    @staticmethod
    def _recorded(state: JoinState | None) -> Recorded:
        if state is None:
            return Recorded()
        checkpoint = state.checkpoint
        n_events, until = checkpoint["scalars"]["events"], checkpoint["until"]
        return Recorded(checkpoint["position"], n_events, state.turns, until)

    def _work(self) -> None:
        try:
            for decoded in self._stream:
                if decoded is not None:
                    self._take(decoded)
                if self._stopping.is_set():
                    break
                if self._is_due():
                    self._commit()
            else:
                if not self.done:
                    self._finish()
                self.done = True
            self._commit()
        except BaseException as error:  # the worker decides what it means
            self.error = error

    def _is_due(self) -> bool:
        began_s = self._began_s
        return began_s is not None and (
            self._clock.monotonic_s() >= began_s + self._settings.commit_interval_s
        )

    def _take(self, decoded: Decoded) -> None:
        """Everything that some records cause; what a rebuild has seen again was written before."""
        self._turns += decoded.turns
        block, places, begin = carrying_lines(decoded.block, decoded.data), decoded.places, 0
        letters = [r for r in decoded.refused if r.offset >= self._committed.get(r.partition, 0)]
        for item in np.flatnonzero(block.type == ITEM).tolist():
            part = sliced(block, begin, item + 1)
            letters += self._join(part, decoded.data, places.sliced(begin, item + 1), begin)
            if self.joiner.n_events > self._until:
                self._begin()
                self._producer.send(self._topics.target, decoded.line(item), partition=self.number)
            begin = item + 1
        if begin:
            block, places = sliced(block, begin, len(block)), places.sliced(begin, len(block))
        letters += self._join(block, decoded.data, places, begin)
        if self.joiner.rebuilding:
            return
        self._begin()
        for letter in sorted(letters, key=lambda letter: letter.decided):
            self._reject(letter)
        self._position |= decoded.places.end

    def _join(self, block: EventBlock, data: bytes, places: Places, first: int) -> list[Refused]:
        """Join some events and send the examples; what is refused, by its place in the whole block."""
        joined = self.joiner.push(block, data, places)
        self._send(joined.examples)
        return [each._replace(decided=each.decided + first) for each in joined.refused]

    def _finish(self) -> None:
        """The input is at its end: what waits is closed."""
        joined = self.joiner.finish()
        self._begin()
        self._send(joined.examples)
        for letter in joined.refused:
            self._reject(letter)

    def _begin(self) -> None:
        if self._began_s is None:
            self._producer.begin()
            self._began_s = self._clock.monotonic_s()

    def _send(self, examples: Examples) -> None:
        if not len(examples):
            return
        self._begin()
        send, target, number = self._producer.send, self._topics.target, self.number
        for line, outcome in zip(lines_of(examples), outcomes(examples), strict=True):
            send(target, example_line(line, outcome), None, number)
        self.n_examples += len(examples)

    def _reject(self, letter: Refused) -> None:
        value = dead_letter(letter.reason, letter.partition, letter.offset, letter.raw)
        key = f"{letter.partition}:{letter.offset}".encode()
        self._producer.send(self._topics.rejects, value.rstrip(b"\n"), key)
        self.n_refused += 1

    def _commit(self) -> None:
        """Steps 2 to 4."""
        if self._began_s is None:
            return
        since = TurnsSince(self._n_recorded, self._waited_for, self._turns)
        record = state_record(self._position, self.joiner.checkpoint(), since, self.writer)
        self._producer.send(self._topics.state, record, None, self.number)  # 2
        named = {str(partition): partition for partition in self.feed.next}
        offsets = {named[name]: (offset, "") for name, offset in self._position.items() if name in named}
        self._producer.commit_positions(offsets, self._group())  # 3
        self._producer.commit()  # 4
        self._began_s = None
        self._committed = dict(self._position)
        self._waited_for = self._waited_for | {turn.partition: turn.waited_for for turn in self._turns}
        self._n_recorded, self._turns = self.joiner.n_events, []
