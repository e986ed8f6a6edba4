"""The learning loop: read, decode, join, extract, learn, measure, commit."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from streamrec.clock import Clock, SystemClock
from streamrec.errors import CutOff, StreamrecError
from streamrec.events.block import Examples
from streamrec.events.decoder import BlockDecoder
from streamrec.events.feedback import CATALOGUE, CONFIRMED, FINAL
from streamrec.join.breaker import BreakerLog
from streamrec.join.decode import Decoded
from streamrec.join.gather import picked
from streamrec.join.joiner import Joined, Joiner, Refused
from streamrec.join.merge import Recorded
from streamrec.join.reader import bounded, limited, read, read_ahead
from streamrec.join.settings import JoinSettings
from streamrec.learner.arrivals import ARRIVALS, Arrivals
from streamrec.learner.committer import Committer, Handed
from streamrec.learner.measures import Measures
from streamrec.learner.order import ORDER, Order
from streamrec.learner.predictions import prediction_lines
from streamrec.learner.progress import Progress
from streamrec.learner.remarks import Remarks
from streamrec.learner.report import Report
from streamrec.learner.settings import LearnerSettings
from streamrec.models.pipeline import Pipeline
from streamrec.store.base import Commit, Head, Lease
from streamrec.transport.base import LiveSource, Position, Source
from streamrec.transport.deadletter import DeadLetters
from streamrec.transport.writer import LineWriter

__all__ = ["COPY", "CUT_OFF", "MODEL", "STOP_S", "Learner", "Parts"]

_log = logging.getLogger("streamrec")

#: How long a learner that is asked to stop waits for its last commit: whoever sends SIGTERM waits 5 to 10 s.
STOP_S = 2.5

#: Blob of a commit: how the model is built.
MODEL = "model"
#: Blob of the last commit of a named copy (`generations.py`): nobody learns it.
COPY = "copy"
#: Blob of the last commit of a model that its guards stopped: why. Nobody learns it until it is gone.
CUT_OFF = "cut_off"


class Parts(NamedTuple):
    """What a learner is made of; see `learner.start`, which builds them."""

    source: Source
    pipeline: Pipeline
    lease: Lease
    measures: Measures
    progress: Progress
    order: Order
    arrivals: Arrivals
    rejects: DeadLetters
    predictions: LineWriter | None

    def close(self, *, flush: bool = True) -> None:
        """Close the outputs, and the lease; `flush`: its rows are brought up to date."""
        self.rejects.close()
        if self.predictions is not None:
            self.predictions.close()
        self.lease.close(flush=flush)


class Learner:
    """Learns a stream from where the last commit ended.

    What is learned depends on the stream and the settings only; when commits happen depends on the clock and
    changes nothing.

    Args:
        parts: open source, pipeline, lease and sinks, all at the same position.
        head: the last commit.
        join: settings of joining.
        settings: of the loop.
        clock: for commit intervals.

    """

    def __init__(
        self,
        parts: Parts,
        head: Head,
        join: JoinSettings,
        settings: LearnerSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._parts = parts
        self._seq = head.seq
        self._join = join
        self._settings = settings or LearnerSettings()
        self._clock = clock or SystemClock()
        self._decoder = BlockDecoder(text_fields=parts.pipeline.extractor.text_fields)
        self._joiner = self._new_joiner()
        self._breaker = BreakerLog()
        self._committer = Committer(parts.lease, head, self._settings.patience_s, self._clock)
        self._remarks = Remarks()
        self._started_s: float | None = None
        self._learned_before = parts.progress.examples
        self._stopping = False
        self._submitted: Position = dict(parts.progress.position)
        self._measured = parts.measures.guards.n  # as of the last commit
        self._commit_s = 0.0  # that it took
        self._acknowledged: Position = self._submitted

    def run(
        self,
        *,
        limit: int | None = None,
        finish: bool = True,
        watch: Callable[[Report], None] = lambda _: None,
    ) -> Report:
        """Learn to the end of the source, commit, and tell how it went.

        Args:
            limit: records of the stream after which to stop, those of earlier runs counted; what waits then
                keeps waiting, so that a later run without the limit ends as if there had been none.
            finish: at the stream's end impressions still waiting become negatives; False where it goes on
                later.
            watch: called after every chunk.

        Raises:
            CutOff: the guards stopped learning; the model is as of the last commit, and marked.
            StreamrecError: the source or the store gave up; everything before the last commit is kept.

        """
        progress, source, settings = self._parts.progress, self._parts.source, self._settings
        remaining = None if limit is None else max(0, limit - progress.events)
        try:
            recorded = self._rebuild_joiner()
            if self._stopping:
                return self.report()
            stream = read(source, self._decoder, self._clock, settings.partition_wait_s, recorded)
            with closing(read_ahead(limited(stream, remaining), settings.read_ahead)) as chunks:
                self._follow(chunks, watch)
                if finish and not self._stopping and (limit is None or progress.events < limit):
                    self._finish()
                if not (self._commit() and self._wait()):
                    _log.warning(
                        "stopped before commit %d was stored: what it holds is learned again by the next run",
                        self._committer.stored.seq + 1,
                    )
        except CutOff as reason:
            reason.is_stored = self._commit_cut_off(str(reason))
            raise
        finally:
            self._committer.close()
        return self.report()

    def _follow(self, chunks: Iterable[Decoded | None], watch: Callable[[Report], None]) -> None:
        """Learn what comes and commit when it is time, until the end or `stop`."""
        progress = self._parts.progress
        if self._parts.rejects.needs_commit:
            self._commit()
        committed_s, committed_events = self._clock.monotonic_s(), progress.events
        uncommitted = False
        for decoded in chunks:
            if decoded is not None:
                if self._started_s is None:
                    self._started_s = self._clock.monotonic_s()
                self._take(decoded)
                uncommitted = True
                watch(self.report())
            if self._stopping:
                return
            if uncommitted and self._is_due(committed_s, committed_events):
                self._commit()
                committed_s, committed_events = self._clock.monotonic_s(), progress.events
                uncommitted = False
            elif self._committer.is_idle:
                self._acknowledge()
            elif self._committer.has_failed:
                self._committer.wait()  # raises, now: until the next commit it may be long

    def stop(self, within_s: float = STOP_S) -> None:
        """Let `run` end after the chunk it is at, with a commit, if the store takes it in time.

        May be called from a signal handler.
        """
        self._stopping = True
        self._committer.hurry(within_s)

    def report(self) -> Report:
        """How far it is; from any thread."""
        progress = self._parts.progress
        rate = None
        if self._started_s is not None:
            elapsed_s = max(self._clock.monotonic_s() - self._started_s, 1e-9)
            rate = (progress.examples - self._learned_before) / elapsed_s
        source, joiner, trouble = self._parts.source, self._joiner, self._committer.trouble
        if trouble:
            trouble = f"commit {self._committer.stored.seq + 1} waits: {trouble}"
        elif isinstance(source, LiveSource):
            trouble = source.trouble()
        return Report(
            progress.events,
            progress.examples,
            progress.rejected,
            source.progress(),
            rate,
            self._seq,
            self._committer.stored,
            joiner.waiting,
            joiner.watermark_ms,
            source.lag() if isinstance(source, LiveSource) else {},
            self._parts.measures.committed,
            trouble,
        )

    def _is_due(self, committed_s: float, committed_events: int) -> bool:
        """Whether a commit should be made; that and what the last one was made at are its arguments."""
        settings, n = self._settings, self._parts.progress.events - committed_events
        if self._parts.rejects.full:
            return True
        interval_s = max(settings.commit_interval_s, self._commit_s / settings.commit_share)
        is_over = self._clock.monotonic_s() >= committed_s + interval_s
        many = settings.commit_events is not None and n >= settings.commit_events
        return (is_over or many) and self._committer.ready

    def _new_joiner(self, checkpoint: Mapping[str, Any] | None = None) -> Joiner:
        return Joiner(self._join, checkpoint, items=self._parts.pipeline.retriever is not None)

    def _rebuild_joiner(self) -> Recorded:
        """Bring the joiner to where the last commit left it, by reading again what it depends on.

        Learns nothing. Leaves the source at the position of that commit, and returns the order up to there.
        """
        progress, source = self._parts.progress, self._parts.source
        turns = self._parts.order.turns(source.stream)
        checkpoint = progress.joiners.get(source.stream)
        if checkpoint is None:  # a new stream, or one whose beginning has been looked at
            n_seen = turns[-1].n_events if turns else 0
            if progress.position:
                source.seek(progress.position)
            return Recorded(dict(progress.position), 0, turns, n_seen)
        self._joiner = joiner = self._new_joiner(checkpoint)
        start = checkpoint["position"]  # a partition that it does not name had given nothing by then
        n, until = checkpoint["scalars"]["events"], checkpoint["until"]
        past = bounded(source, start, progress.position)
        recorded = Recorded(start, n, turns, until)
        for decoded in read(past, self._decoder, self._clock, self._settings.partition_wait_s, recorded):
            if decoded is not None and joiner.rebuilding:
                joiner.push(decoded.block, decoded.data, decoded.places)
            if self._stopping:
                break
        if joiner.rebuilding and not self._stopping:
            raise StreamrecError(
                f"{source.stream}: ends before the position up to which it was learned: "
                "is it the same stream? Restore it, or start over with --fresh"
            )
        source.seek(progress.position)
        # turns beyond it: the records from which features were inferred are learned after a first commit
        return Recorded(
            dict(progress.position), until, turns, max([until, *(t.n_events for t in turns[-1:])])
        )

    def _take(self, decoded: Decoded) -> None:
        """Everything that some records cause, up to the position after them."""
        parts, progress = self._parts, self._parts.progress
        joined = self._joiner.push(decoded.block, decoded.data, decoded.places)
        self._breaker.see(parts.source.stream, self._joiner.silent)
        for letter in _dead_letters(decoded, joined):
            self._reject(letter)
        progress.events += decoded.n_records
        self._remarks.other_items(self._decoder)
        parts.measures.read_names(decoded.block, decoded.data, self._decoder.fields)
        parts.pipeline.read_items(decoded.block, decoded.data)
        self._learn(joined.examples)
        progress.position |= decoded.places.end
        for turn in decoded.turns:
            parts.order.add(parts.source.stream, turn)

    def _learn(self, examples: Examples) -> None:
        parts = self._parts
        if not len(examples):
            return
        predictions = parts.pipeline.learn(examples, self._decoder.fields)
        self._remarks.unknown_fields(parts.pipeline.extractor.unknown_fields, parts.progress.position)
        if parts.pipeline.retriever is not None and (of_items := examples.role == CATALOGUE).any():
            examples, predictions = picked(examples, ~of_items), predictions[~of_items]
            if not len(examples):
                return
        resolved = parts.arrivals.resolve(examples, predictions)
        parts.measures.update(examples, self._decoder.fields, resolved.watched)
        if parts.measures.guards.trouble:
            raise CutOff(parts.measures.guards.trouble)
        if parts.predictions is not None:
            parts.predictions.write(prediction_lines(*resolved.measured))
        progress = parts.progress
        progress.examples += int(np.count_nonzero(examples.role < CONFIRMED))
        progress.last_time_ms = int(examples.time_ms[-1])
        if progress.first_time_ms is None:
            progress.first_time_ms = int(examples.time_ms[0])

    def _finish(self) -> None:
        """The stream is at its end: what waits for a click or an impression waits no longer."""
        self._remarks.other_items(self._decoder, at_end=True)
        joined = self._joiner.finish()
        n_waited = int(np.count_nonzero(joined.examples.role == FINAL))
        for letter in joined.refused:
            self._reject(letter)
        self._learn(joined.examples)
        if n_waited > 0.5 * self._parts.progress.examples:
            self._remarks.short_stream(n_waited, self._join.window_ms)

    def _reject(self, letter: Refused) -> None:
        self._parts.rejects.write(letter.reason, letter.partition, letter.offset, letter.raw)
        self._parts.progress.rejected += 1
        self._remarks.refused(letter)

    def _commit(self) -> bool:
        """Hand a commit of everything since the last one to the committer; False: it is left, in a hurry."""
        parts, progress = self._parts, self._parts.progress
        if not self._wait():
            return False
        began_s = self._clock.monotonic_s()
        progress.joiners[parts.source.stream] = self._joiner.checkpoint()
        if parts.predictions is not None:
            progress.predictions_bytes = parts.predictions.position()
        blobs = {**progress.blobs(), **parts.measures.blobs(), **parts.pipeline.blobs()}
        if self._seq == 0:
            blobs[MODEL] = parts.pipeline.describe()
        tables = dict(parts.pipeline.take_changed())
        if trouble := parts.pipeline.trouble(tables):
            raise CutOff(trouble)
        if (turns := parts.order.take_changed()) is not None:
            tables[ORDER] = turns
        if (arrivals := parts.arrivals.take_changed()) is not None:
            tables[ARRIVALS] = arrivals
        commit = Commit(self._seq + 1, tables, blobs, self._clock.now_ms())
        self._committer.submit(Handed(commit, self._cut_rejects()))
        self._seq += 1
        self._submitted = dict(progress.position)
        self._measured = parts.measures.guards.n
        self._commit_s = self._clock.monotonic_s() - began_s
        return True

    def _commit_cut_off(self, reason: str) -> bool:
        """Store why learning stopped, and nothing else: what was not committed is learned again one day.

        `ahead`: examples after the last commit among which the reason was found.

        False where there is nothing to go on from.
        """
        if not self._seq or not self._wait():
            return False
        now_ms = self._clock.now_ms()
        seen = self._parts.measures.guards.n - self._measured
        told = json.dumps({"reason": reason, "ahead": seen, "time_ms": now_ms}).encode()
        self._seq += 1
        self._committer.submit(Handed(Commit(self._seq, {}, {CUT_OFF: told}, now_ms)))
        return self._wait()

    def _cut_rejects(self) -> Callable[[], Mapping[str, bytes]]:
        """What makes the dead letters of a commit durable, and gives the blob that says how far they are."""
        rejects, marks = self._parts.rejects, self._parts.progress.rejects
        settle, name = rejects.cut(), rejects.name
        if not name:
            return dict
        return lambda: Progress.rejects_blob({**marks, name: settle()})

    def _wait(self) -> bool:
        """Until all commits are stored; False: they are not, in a hurry."""
        if not self._committer.wait():
            return False
        self._acknowledge()
        return True

    def _acknowledge(self) -> None:
        """Tell a live source how far everything is stored."""
        if self._acknowledged is not self._submitted and isinstance(self._parts.source, LiveSource):
            self._parts.source.acknowledge(self._submitted)
        self._acknowledged = self._submitted


def _dead_letters(decoded: Decoded, joined: Joined) -> list[Refused]:
    """What is refused, in the order in which the stream decides it: chunks may be cut anywhere."""
    return sorted([*decoded.refused, *joined.refused], key=lambda letter: letter.decided)
