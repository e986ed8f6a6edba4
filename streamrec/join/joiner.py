"""The joiner of one stream: blocks of events in, labelled examples and refused events out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.errors import SourceError, StoreMismatch
from streamrec.events.block import CLICK, IMPRESSION, EventBlock, Examples
from streamrec.join import match as matching
from streamrec.join import seen as ids
from streamrec.join import waiting as waits
from streamrec.join.gather import Given, concatenated, gathered, none, unchanged
from streamrec.join.places import Places
from streamrec.join.settings import JoinSettings
from streamrec.join.tally import COUNTS, NO_TIME, REFUSALS, SCALARS, started
from streamrec.transport.base import Position

__all__ = ["Joined", "Joiner", "Refused"]


class Refused(NamedTuple):
    """One event that cannot be used, on its way to the dead letters."""

    reason: str  # one clear line
    partition: str
    offset: int  # of its line in the partition
    raw: bytes  # the line, without its newline
    decided: int  # place in the pushed block of the event that decided it: its own or a later one


class Joined(NamedTuple):
    """What one step of joining gave, each in the order in which it was decided."""

    examples: Examples
    refused: list[Refused]


class _Generation(NamedTuple):
    """Where `memory_events` events of the stream begin."""

    position: Position
    scalars: tuple[int, ...]  # SCALARS at its beginning
    latest_ms: int = NO_TIME  # latest impression or click in it, once it is over


class Joiner:
    """Impressions and clicks, in event time, become examples; ratings and examples pass through.

    An impression waits until its click comes (a positive, given at once) or until event time, the latest
    time seen so far, is more than `window_ms` past its own (a negative; several by time, then arrival). A
    click that comes before its impression waits likewise. With `feedback` early an impression is given as a
    negative when it arrives, and where late clicks count, at the window's end: as EARLY, which a click
    corrects (CORRECTION), or CONFIRMED once none counts any more. Refused, with the reason: an id that came
    before, a second click for one impression, a click after all this, a click whose impression never came, a
    label that the task cannot use. Items are passed over, or given in their place among the examples.

    While clicks have stopped and impressions go on (`silent`), nothing becomes a negative: impressions wait.
    Once clicks are back, what waits is closed as they catch up; impressions for which none came at all are
    refused, as are those that `memory_events` closes meanwhile.

    What comes out, and its order, is a function of the stream only, not of how it is cut into blocks.

    The state is not stored. `checkpoint` names a position from which to read again; a joiner made from the
    checkpoint gives nothing until it is where the checkpoint was made, and is then in the very same state.
    Why so little is enough: what waits came within the last `memory_events` (G); what could have been its
    other half came within another G (both: or within two windows of event time, if that is less); whether
    either was new was decided by the generation of ids in which it came and the one before. A generation has
    G events, so reading begins at one of the last four, and where few impressions or none are open, at the
    one before the current.

    Args:
        settings: see there.
        checkpoint: what `checkpoint` gave; feed the stream from its `position` on. None: from the
            beginning.
        items: give events of the catalogue, too. It changes no state, so a checkpoint does not hold it.

    """

    def __init__(
        self,
        settings: JoinSettings | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        *,
        items: bool = False,
    ) -> None:
        self.settings = settings or JoinSettings()
        self._tally = started(self.settings)
        self._tally["gives_items"] = items
        self._seen = ids.empty()
        self._waiting = waits.empty()
        self._generations = [_Generation({}, tuple(int(self._tally[name][0]) for name in SCALARS))]
        self._partitions: Sequence[str] = ()
        self._until = 0  # nothing is given for events before this one: a rebuild
        self._finished = 0  # events before the last `finish`
        self._counts: Mapping[str, int] = dict.fromkeys(COUNTS, 0)
        if checkpoint is not None:
            self._restore(checkpoint)

    @property
    def rebuilding(self) -> bool:
        """True until the stream was fed up to where the checkpoint was made."""
        return self.n_events < self._until

    @property
    def n_events(self) -> int:
        """Events taken so far."""
        return int(self._tally["events"][0])

    @property
    def waiting(self) -> int:
        """Impressions and clicks that wait."""
        return int(self._tally["n_live"][0])

    @property
    def watermark_ms(self) -> int | None:
        """Event time; None as long as it is not known."""
        watermark = int(self._tally["watermark_ms"][0])
        return watermark if watermark != NO_TIME else None

    @property
    def silent(self) -> bool:
        """Whether clicks have stopped while impressions go on: nothing becomes a negative meanwhile."""
        return bool(matching.is_silent(self._tally[0]))

    @property
    def _holds(self) -> bool:
        tally = self._tally[0]
        return self.silent or bool(tally["click_ms"] < tally["held_until_ms"])

    @property
    def counts(self) -> dict[str, int]:
        """What became of the events so far, by the names in `tally.COUNTS`."""
        return dict(self._counts) if self.rebuilding else {name: int(self._tally[name][0]) for name in COUNTS}

    def push(self, block: EventBlock, data: bytes, places: Places) -> Joined:
        """Take the next events of the stream.

        Args:
            block: the events, in the stream's order.
            data: what their `start` and `end` refer to.
            places: where they stand in the source.

        """
        self._partitions = places.partitions
        if self.n_events == 0 and len(block):
            self._generations[0] = self._generations[0]._replace(position=places.position(0))
        parts, refused, at = [], [], 0
        while at < len(block):
            if self._is_full():
                self._turn(places.position(at))
            end = min(len(block), at + self._events_until_stop())
            silent = self.rebuilding
            step = self._step(block, data, places, (at, end))
            if not silent:
                parts.append(step.examples)
                refused += step.refused
            elif self.n_events in (self._finished, self._until):
                self._pass_stop()
            at = end
        return Joined(concatenated(parts), refused)

    def finish(self) -> Joined:
        """The recorded stream is at its end: impressions that wait become negatives, clicks are refused."""
        if self.rebuilding:
            raise SourceError(
                f"the stream ends after {self.n_events} events, before the {self._until} already learned; "
                "is it the same stream?"
            )
        self._finished = self.n_events
        return self._close_all()

    def scalars(self) -> dict[str, int]:
        """What a joiner that begins after the last event must know of those before, as in a checkpoint."""
        return {name: int(self._tally[name][0]) for name in SCALARS}

    def checkpoint(self) -> dict[str, Any]:
        """What a later joiner needs to get into this state, as JSON; it must read from `position` on."""
        if self.rebuilding:
            raise ValueError(f"the joiner is at event {self.n_events}, still on its way to {self._until}")
        begin = self._generations[self._first_needed()]
        return {
            "settings": self.settings.model_dump(),
            "position": dict(begin.position),
            "scalars": dict(zip(SCALARS, begin.scalars, strict=True)),
            "until": self.n_events,
            "finished": self._finished,
            "counts": self.counts,
        }

    def _restore(self, checkpoint: Mapping[str, Any]) -> None:
        if "position" not in checkpoint:
            raise StoreMismatch("stored joiner: written by an older version: start over with --fresh")
        stored = checkpoint["settings"]
        if stored != self.settings.model_dump():
            now = self.settings.model_dump()
            name = next((name for name in now if stored.get(name) != now[name]), "")
            raise StoreMismatch(
                f"join setting {name}: the stored model has {stored.get(name)}, got {now.get(name)}; "
                "use the stored value, or start over with --fresh"
            )
        scalars = checkpoint["scalars"]
        for name in SCALARS:
            self._tally[name] = scalars[name]
        self._generations = [_Generation(checkpoint["position"], tuple(scalars[name] for name in SCALARS))]
        self._until, self._finished = checkpoint["until"], checkpoint["finished"]
        self._counts = checkpoint["counts"]
        self._pass_stop()

    def _pass_stop(self) -> None:
        """A rebuild came to where `finish` was called, or to where the checkpoint was made.

        What a rebuild decides in its first generation is not what was decided then: the counts come from the
        checkpoint.
        """
        if self.n_events == self._finished:
            self._close_all()
        if self.n_events == self._until:
            for name in COUNTS:
                self._tally[name] = self._counts[name]

    def _is_full(self) -> bool:
        begin = self._generations[-1].scalars[0]
        return self.n_events - begin >= self.settings.memory_events

    def _turn(self, position: Position) -> None:
        """The event at this position begins a generation."""
        self._generations[-1] = self._generations[-1]._replace(latest_ms=int(self._tally["latest_ms"][0]))
        scalars = tuple(int(self._tally[name][0]) for name in SCALARS)
        self._generations = [*self._generations[-3:], _Generation(position, scalars)]
        self._tally["latest_ms"] = NO_TIME
        self._tally["n_seen"] = 0
        self._seen = ids.turned(self._seen)

    def _events_until_stop(self) -> int:
        """Events up to the next one before which something is to be done."""
        stops = (self._generations[-1].scalars[0] + self.settings.memory_events, self._until, self._finished)
        return min(stop - self.n_events for stop in stops if stop > self.n_events)

    def _first_needed(self) -> int:
        """Index of the generation from which a rebuild must start."""
        latest = [generation.latest_ms for generation in self._generations]
        latest[-1] = int(self._tally["latest_ms"][0])
        horizon = max(int(self._tally["watermark_ms"][0]) - 2 * self.settings.reach_ms, NO_TIME + 1)
        last = len(latest) - 1
        if self._holds:  # what waits may be older than any window
            horizon = NO_TIME + 1
        candidates = [at for at in range(max(0, last - 2), last) if latest[at] >= horizon]
        return max(0, min([last, *candidates]) - 1)

    def _step(self, block: EventBlock, data: bytes, places: Places, span: tuple[int, int]) -> Joined:
        begin, end = span
        first = self.n_events - begin  # number in the stream of the block's first event
        types = block.type[begin:end]
        n_clicks = int(np.count_nonzero(types == CLICK))
        n_impressions = int(np.count_nonzero(types == IMPRESSION))
        self._seen = ids.grown(self._seen, int(self._tally["n_seen"][0]) + end - begin + n_clicks)
        out = self._decisions(end - begin + 2 * n_impressions)
        if n_clicks + n_impressions + self.waiting == 0:
            matching.pass_on(block, span, self._seen, out, self._tally)
            return self._given(block, data, places, first, out)
        if n_clicks + n_impressions:
            n_entries = int(block.entry_offsets[end] - block.entry_offsets[begin]) if n_impressions else 0
            sizes = block.end[begin:end] - block.start[begin:end]  # lines of merged events lie anywhere
            n_raw = int(sizes[types == CLICK].sum())
            n_slots = n_clicks + n_impressions + 1  # one to write the last event to
            self._waiting = waits.roomier(self._waiting, self._tally, n_slots, n_entries, n_raw)
        raw = np.frombuffer(data, np.uint8)
        at = (places.partition, places.offset)
        matching.match(block, raw, at, span, self._seen, self._waiting, out, self._tally)
        return self._given(block, data, places, first, out)

    def _close_all(self) -> Joined:
        out = self._decisions(0)
        matching.close_all(self._waiting, out, self._tally)
        return self._given(_NOTHING, b"", _NOWHERE, self.n_events, out)

    def _decisions(self, n: int) -> np.ndarray:
        """Room for what events decide about themselves, and for two turns of everything that waits."""
        self._tally["n_decisions"] = 0
        return np.empty(n + 2 * self.waiting, matching.DECISION)

    def _given(
        self, block: EventBlock, data: bytes, places: Places, first: int, decisions: np.ndarray
    ) -> Joined:
        """`first`: number in the stream of the block's first event."""
        decisions = decisions[: self._tally["n_decisions"][0]]
        refused = []
        if decisions["reason"].any():
            bad = decisions[decisions["reason"] != matching.GIVEN]
            decisions = decisions[decisions["reason"] == matching.GIVEN]
            for name, n in zip(REFUSALS, np.bincount(bad["reason"], minlength=7)[1:], strict=True):
                self._tally[name] += n
            refused = [self._refusal(block, data, places, first, d) for d in bad]
        given = self._given_by(decisions)
        n = len(given.source)
        if n == 0:
            return Joined(none(), refused)
        if n == len(block) and np.array_equal(given.source, np.arange(-1, -1 - n, -1)):
            return Joined(unchanged(block, given), refused)
        return Joined(gathered(block, self._waiting, given), refused)

    def _given_by(self, decisions: np.ndarray) -> Given:
        source, labels, role = (np.ascontiguousarray(decisions[name]) for name in ("source", "label", "role"))
        scale = None
        if decisions["sampled"].any():
            scale = np.where(decisions["sampled"], 1.0 / self.settings.negative_rate, 1.0)
        return Given(source, labels, role, scale)

    def _refusal(
        self, block: EventBlock, data: bytes, places: Places, first: int, decision: np.void
    ) -> Refused:
        text, source = self._reason(int(decision["reason"])), int(decision["source"])
        decided = int(decision["event"]) - first
        if source < 0:
            i = -1 - source
            partition, offset = self._partitions[places.partition[i]], int(places.offset[i])
            return Refused(text, partition, offset, data[block.start[i] : block.end[i]], decided)
        slot = self._waiting.slots[source]
        partition = self._partitions[slot["partition"]]
        if not slot["is_click"]:  # only its features are here
            return Refused(text, partition, int(slot["offset"]), b"", decided)
        raw = self._waiting.raw[slot["first"] : slot["first"] + slot["size"]]
        return Refused(text, partition, int(slot["offset"]), raw.tobytes(), decided)

    def _reason(self, reason: int) -> str:
        window_s, last_s = self.settings.window_ms / 1000, self.settings.reach_ms / 1000
        n = self.settings.memory_events
        return {
            matching.DUPLICATE: f"duplicate id: the same type and id came within the last {2 * n} events",
            matching.SECOND_CLICK: "second click for the same impression: the first one counts",
            matching.LATE_CLICK: f"click after the window: more than {last_s:g} s after its impression",
            matching.LONE_CLICK: f"click without its impression: none came within {window_s:g} s of it",
            matching.NO_CLICKS: "impression without a label: no clicks came at all while it waited for one",
            matching.BAD_LABEL: "label outside 0 to 1: other numbers need the rating task",
        }[reason]


def _no_events() -> EventBlock:
    i64, u64 = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    u8, i32 = np.zeros(0, np.uint8), np.zeros(0, np.int32)
    f32, f64 = np.zeros(0, np.float32), np.zeros(0, np.float64)
    return EventBlock(
        u8, i64, u64, u64, u64, u64, f64, f32, u8, i64, i64, np.zeros(1, np.int64), i32, u8, u64
    )


_NOTHING = _no_events()
_NOWHERE = Places((), np.zeros(0, np.int32), np.zeros(0, np.int64), {})
