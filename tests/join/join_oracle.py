"""Joining as its promise reads, with dictionaries and sorting; slow, and sharing no code with the joiner."""

from dataclasses import dataclass, field

import numpy as np

from streamrec.events.block import CLICK, EXAMPLE, IMPRESSION, ITEM, RATING, EventBlock, Examples
from streamrec.events.feedback import ARRIVAL, CATALOGUE, CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.join.places import Places, places_in

_NEVER = -(10**18)


@dataclass
class Event:
    type: int
    time_ms: int
    key: int
    impression: int = 0
    value: float = 1.0
    weight: float = 1.0
    user: int = 0
    item: int = 0
    entries: tuple[tuple[int, int, int], ...] = ()
    line: bytes = b""
    offset: int = 0
    role: int = FINAL


@dataclass
class Waits:
    """An impression or a click that is open; `given`: as a negative."""

    arrival: int
    event: Event
    due_ms: int
    given: bool = False


@dataclass
class Oracle:
    window_ms: int
    memory_events: int
    max_jump_ms: int
    task: str = "click"
    positive_rating: float = 4.0
    feedback: str = "wait"
    late_ms: int = 0
    negative_rate: float = 1.0
    arrivals: bool = False
    items: bool = False
    n: int = 0
    now: int = _NEVER
    jumps: list[int] = field(default_factory=list)
    balance: int = 0
    last_seen: dict[tuple[str, int], int] = field(default_factory=dict)  # → generation
    open: dict[int, Waits] = field(default_factory=dict)  # by impression
    given: list[tuple] = field(default_factory=list)
    refused: list[tuple] = field(default_factory=list)

    def push(self, e: Event) -> None:
        if e.type != ITEM:
            self._time(e.time_ms)
        while over := [w for w in self.open.values() if w.due_ms < self.now]:
            self._turn(min(over, key=lambda w: (w.due_ms, w.arrival)))
        for w in sorted(self.open.values(), key=lambda w: w.arrival):
            if self.n - w.arrival >= self.memory_events:
                self._close(w)
        if e.type != ITEM:
            self._take(e)
        elif self.items:
            self._give(e, e.value, CATALOGUE)
        self.n += 1

    def finish(self) -> None:
        for w in sorted(self.open.values(), key=lambda w: (w.due_ms, w.arrival)):
            self._close(w)

    def _time(self, t: int) -> None:
        if t - self.now <= self.max_jump_ms:
            self.now = max(self.now, t)
            self.balance = max(self.balance - 1, 0)
        else:
            self.balance += 1
            self.jumps = [*self.jumps, t] if self.balance > 1 else [t]
            if self.balance == 16:
                self.now, self.balance = max(self.now, min(self.jumps)), 0

    def _turn(self, w: Waits) -> None:
        """Event time is beyond what it waited for."""
        if w.event.type == IMPRESSION and not w.given and self.late_ms:
            w.given, w.due_ms = True, w.due_ms + self.late_ms
            self._negative(w.event, EARLY)
        else:
            self._close(w)

    def _close(self, w: Waits) -> None:
        e = w.event
        del self.open[e.impression if e.type == CLICK else e.key]
        if e.type == CLICK:
            self._refuse(e, "without")
        elif not w.given:
            self._negative(e, FINAL)
        elif self.arrivals or self._kept(e):
            self._give(e, 0.0, CONFIRMED)

    def _negative(self, e: Event, role: int) -> None:
        if self._kept(e):
            self._give(e, 0.0, role, e.weight / self.negative_rate)
        elif role == FINAL and self.arrivals:
            self._give(e, 0.0, CONFIRMED)

    def _kept(self, e: Event) -> bool:
        x = e.key ^ 0x5E2D93C7A1F0486B
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # MurmurHash3, fmix64
            x = ((x ^ (x >> 33)) * factor) % 2**64
        return self.negative_rate == 1 or x ^ (x >> 33) <= int(self.negative_rate * (2**64 - 1))

    def _counts(self, click: Event, impression: Event) -> bool:
        return -self.window_ms <= click.time_ms - impression.time_ms <= self.window_ms + self.late_ms

    def _seen(self, scope: str, key: int) -> bool:
        generation = self.n // self.memory_events
        return self.last_seen.get((scope, key), -9) >= generation - 1

    def _mark(self, scope: str, key: int) -> None:
        self.last_seen[scope, key] = self.n // self.memory_events

    def _take(self, e: Event) -> None:
        duplicate = self._seen(str(e.type), e.key)
        self._mark(str(e.type), e.key)
        second = e.type == CLICK and self._seen("clicked", e.impression)
        if e.type == CLICK:
            self._mark("clicked", e.impression)
        if duplicate:
            self._refuse(e, "duplicate")
        elif e.type == IMPRESSION:
            self._impression(e)
        elif e.type == CLICK and second:
            self._refuse(e, "second")
        elif e.type == CLICK:
            self._click(e)
        elif self.task == "rating" or (e.type == EXAMPLE and 0 <= e.value <= 1):
            self._give(e, e.value, e.role)
        elif e.type == RATING:
            self._give(e, float(e.value >= self.positive_rating))
        else:
            self._refuse(e, "label")

    def _impression(self, e: Event) -> None:
        if self.arrivals:
            self._give(e, 0.0, ARRIVAL)
        if e.key in self.open:
            click = self.open.pop(e.key).event
            if self._counts(click, e):
                return self._give(e, click.value if self.task == "rating" else 1.0)
            self._refuse(click, "after" if click.time_ms > e.time_ms else "without")
        if e.time_ms + self.window_ms + self.late_ms < self.now:
            return self._negative(e, FINAL)
        waits = self.open[e.key] = Waits(self.n, e, e.time_ms + self.window_ms)
        if (self.feedback == "early" and self.task == "click") or waits.due_ms < self.now:
            waits.given, waits.due_ms = True, waits.due_ms + self.late_ms
            self._negative(e, EARLY)
        return None

    def _click(self, e: Event) -> None:
        if e.impression in self.open:
            waits, value = self.open[e.impression], e.value if self.task == "rating" else 1.0
            impression = waits.event
            if self._counts(e, impression):
                del self.open[e.impression]
                return self._give(impression, value, CORRECTION if waits.given else FINAL)
            return self._refuse(e, "after" if e.time_ms > impression.time_ms else "without")
        if self._seen(str(IMPRESSION), e.impression):
            return self._refuse(e, "after")
        if e.time_ms + self.window_ms < self.now:
            return self._refuse(e, "without")
        self.open[e.impression] = Waits(self.n, e, e.time_ms + self.window_ms)
        return None

    def _give(self, e: Event, label: float, role: int = FINAL, weight: float | None = None) -> None:
        key = e.impression if e.type == EXAMPLE and role >= CORRECTION else e.key
        numbers = [float(np.float32(x)) for x in (label, e.weight if weight is None else weight)]
        self.given.append((e.time_ms, key, e.user, e.item, *numbers, role, e.entries))

    def _refuse(self, e: Event, word: str) -> None:
        self.refused.append((word, e.offset, e.line))


def block_of(events: list[Event]) -> tuple[EventBlock, bytes, Places]:
    """The block, its bytes and their places in partition p, as the decoder gives them."""
    data = b""
    for e in events:  # between the lines of events are lines that were none
        data = data.ljust(e.offset - events[0].offset, b"#") + e.line + b"\n"
    start = np.array([e.offset - events[0].offset for e in events], np.int64)
    entries = [entry for e in events for entry in e.entries]
    u64 = np.uint64
    block = EventBlock(
        type=np.array([e.type for e in events], np.uint8),
        time_ms=np.array([e.time_ms for e in events], np.int64),
        key=np.array([e.key for e in events], u64),
        user=np.array([e.user for e in events], u64),
        item=np.array([e.item for e in events], u64),
        impression=np.array([e.impression for e in events], u64),
        value=np.array([e.value for e in events], np.float64),
        weight=np.array([e.weight for e in events], np.float32),
        role=np.array([e.role for e in events], np.uint8),
        start=start,
        end=start + np.array([len(e.line) for e in events], np.int64),
        entry_offsets=np.cumsum([0, *(len(e.entries) for e in events)]).astype(np.int64),
        entry_field=np.array([f for f, _, _ in entries], np.int32),
        entry_kind=np.array([k for _, k, _ in entries], np.uint8),
        entry_value=np.array([v for _, _, v in entries], u64),
    )
    return block, data, places_in("p", start + events[0].offset, events[0].offset + len(data))


def rows_of(x: Examples) -> list[tuple]:
    """Examples as tuples, one each."""
    rows = []
    for b in range(len(x)):
        at = slice(x.entry_offsets[b], x.entry_offsets[b + 1])
        entries = zip(
            x.entry_field[at].tolist(), x.entry_kind[at].tolist(), x.entry_value[at].tolist(), strict=True
        )
        head = (x.time_ms[b], x.key[b], x.user[b], x.item[b], x.labels[b], x.weights[b], x.role[b])
        rows.append((*(value.item() for value in head), tuple(entries)))
    return rows


def stream(seed: int, n: int, base: int = 1_600_000_000_000) -> list[Event]:
    """Events with duplicates, clicks early, late and without impression, times that go back and jump."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice([IMPRESSION, CLICK, RATING, ITEM, EXAMPLE], n, p=rng.dirichlet([5, 4, 1, 0.5, 1]))
    step, spread, n_keys = rng.choice([0, 1, 10, 200]), rng.choice([1, 20, 500]), rng.choice([3, 12, 60])
    wrong = rng.choice([0, 0.02, 0.3])
    events, clock, offset = [], 0, int(rng.integers(0, 2) * 1000)
    for i, kind in enumerate(kinds):
        clock += int(rng.integers(0, step + 1)) + (int(rng.integers(0, 3000)) if rng.random() < 0.02 else 0)
        time_ms = base + clock - int(rng.integers(0, spread)) + (10**12 if rng.random() < wrong else 0)
        near = lambda: int(rng.integers(0, n_keys)) + i // 20 + 1  # noqa: E731, B023
        entries = tuple(
            (j, int(rng.integers(0, 4)), int(rng.integers(0, 2**63))) for j in range(rng.integers(0, 4))
        )
        e = Event(int(kind), time_ms, near(), user=near(), item=near(), weight=float(rng.integers(1, 4)))
        e.value = float(rng.choice([0, 0.5, 1, 3.9, 4, 5])) if kind in (RATING, EXAMPLE, CLICK) else 1.0
        if kind == ITEM:
            e.value = float(i % 2)
        e.role = int(rng.integers(0, 5)) if kind == EXAMPLE else FINAL
        e.impression = near() if kind == CLICK or e.role >= CORRECTION else 0
        e.entries = entries if kind != CLICK else ()
        e.line, e.offset = b"%d" % i * int(rng.integers(1, 9)), offset
        offset += len(e.line) + 1 + int(rng.random() < 0.1) * 5  # a bad line here and there
        events.append(e)
    return events
