"""Joining, one event after another in compiled code."""

import numpy as np
from numba import njit

from streamrec.events.block import CLICK, IMPRESSION, ITEM, RATING, EventBlock
from streamrec.events.feedback import ARRIVAL, CATALOGUE, CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.hashing import mix
from streamrec.join.seen import CLICKED, TAGS, Seen, is_known, remember
from streamrec.join.tally import NO_TIME, Tally
from streamrec.join.waiting import Entries, Slot, Waiting, copy_run, enter, find, leave, postpone
from streamrec.memory import JIT, address, prefetch

__all__ = [
    "BAD_LABEL",
    "DECISION",
    "DUPLICATE",
    "GIVEN",
    "LATE_CLICK",
    "LONE_CLICK",
    "NO_CLICKS",
    "SECOND_CLICK",
    "close_all",
    "is_silent",
    "match",
    "pass_on",
]

#: Why an event is refused, or that it is not.
GIVEN, DUPLICATE, SECOND_CLICK, LATE_CLICK, LONE_CLICK, BAD_LABEL, NO_CLICKS = range(7)

#: What came out, in order: an example or a refused event.
DECISION = np.dtype(
    [
        ("source", np.int64),  # a slot of `Waiting`, or -1 - i for event i of the block
        ("label", np.float32),
        ("reason", np.uint8),
        ("role", np.uint8),  # of an example: `events.feedback`
        ("sampled", np.bool_),  # it stands for negatives that were left out
        ("event", np.int64),  # number in the stream of the event at which it was decided
    ],
    align=True,
)

#: Random bits: which negatives are kept has nothing to do with where their ids are stored.
_SAMPLE = np.uint64(0x5E2D93C7A1F0486B)
#: So many events more beyond `max_jump_ms` than within it are believed: one broken clock moves nothing.
_CONFIRMED = 16
#: Clicks after which it is known how often they come: their share is then right within a tenth or so.
_KNOWN_CLICKS = 100
#: Clicks after which both counts are halved: their share follows a change within some thousand clicks.
_MANY_CLICKS = 4000
#: Events between asking for memory and using it: 16 × 20 ns is about three times what memory takes.
_AHEAD = 16


@njit(**JIT)
def pass_on(
    block: EventBlock, span: tuple[int, int], seen: Seen, out: np.ndarray, tallies: np.ndarray
) -> None:
    """What `match` does where nothing waits and the events are ratings, examples and items only."""
    tally = tallies[0]
    young, old = seen.young, seen.old
    types, times, keys, values = block.type, block.time_ms, block.key, block.value
    young_at, old_at, eight = address(young), address(old), np.uint64(8)
    young_mask, old_mask = np.uint64(len(young) - 1), np.uint64(len(old) - 1)
    for i in range(span[0], span[1]):
        if i + _AHEAD < span[1]:
            soon = keys[i + _AHEAD] ^ TAGS[types[i + _AHEAD]]
            prefetch(young_at + (soon & young_mask) * eight)
            prefetch(old_at + (soon & old_mask) * eight)
        if types[i] == ITEM:
            _item(out, tally, i, values[i])
        else:
            _advance(tally, times[i])
            again, new = remember(young, old, keys[i] ^ TAGS[types[i]])
            tally.n_seen += new
            _pass(out, tally, i, types[i], values[i], block.role[i], again)
        tally.events += 1


@njit(**JIT)
def match(
    block: EventBlock,
    data: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    span: tuple[int, int],
    seen: Seen,
    waiting: Waiting,
    out: np.ndarray,
    tallies: np.ndarray,
) -> None:
    """Take the events span[0]:span[1] of a block decoded from `data`; all of one generation of `seen`.

    `places`: partition int32 (N,) and offset int64 (N,) of every event.
    """
    tally = tallies[0]
    young, old = seen.young, seen.old
    slots, heap, table = waiting.slots, waiting.heap, waiting.table
    entries = Entries(block.entry_field, block.entry_kind, block.entry_value)
    for i in range(span[0], span[1]):
        kind = block.type[i]
        if kind != ITEM:
            _advance(tally, block.time_ms[i])
        _close_due(slots, heap, table, out, tally)  # by number of events an item may be the one that closes
        if kind == ITEM:
            _item(out, tally, i, block.value[i])
            tally.events += 1
            continue
        again, new = remember(young, old, block.key[i] ^ TAGS[kind])
        tally.n_seen += new
        slot = tally.n_slots
        if kind == IMPRESSION:
            _write(block, places, i, slots[slot], tally)
            tally.impressions += 1
            tally.unclicked += 1
            if _impression(slots, heap, table, out, tally, i, again):
                slots[slot].first = tally.n_entries
                tally.n_entries += slots[slot].size
                copy_run(
                    waiting.entries, slots[slot].first, entries, block.entry_offsets[i], slots[slot].size
                )
                enter(slots, heap, table, tally, slot)
        elif kind == CLICK:
            _write(block, places, i, slots[slot], tally)
            _hear_click(tally, block.time_ms[i])
            second, new = remember(young, old, block.impression[i] ^ CLICKED)
            tally.n_seen += new
            gone = is_known(young, old, block.impression[i] ^ TAGS[IMPRESSION])
            if _click(slots, heap, table, out, tally, i, _first_reason(again, second), gone):
                at, size = tally.n_raw, slots[slot].size
                for j in range(size):
                    waiting.raw[at + j] = data[block.start[i] + j]
                slots[slot].first = at
                tally.n_raw = at + size
                enter(slots, heap, table, tally, slot)
        else:
            _pass(out, tally, i, kind, block.value[i], block.role[i], again)
        tally.events += 1


@njit(**JIT)
def close_all(waiting: Waiting, out: np.ndarray, tallies: np.ndarray) -> None:
    """The stream is at its end: whatever waits is closed, by (due, arrival)."""
    tally = tallies[0]
    while tally.n_live > 0:
        _close(waiting.slots, waiting.heap, waiting.table, out, tally, waiting.heap[0])


@njit(**JIT)
def _advance(tally: Tally, time_ms: int) -> None:
    """Event time is the latest time seen, but a jump beyond `max_jump_ms` needs confirmation, as does the
    first time.

    Events beyond the jump count up, others down to 0 (and then the count begins anew); at `_CONFIRMED`, event
    time is the earliest time of those counted.
    """
    if time_ms <= tally.watermark_ms + tally.max_jump_ms:
        tally.watermark_ms = max(tally.watermark_ms, time_ms)
        tally.ahead = max(tally.ahead - 1, 0)
        return
    tally.ahead_ms = min(tally.ahead_ms, time_ms) if tally.ahead > 0 else time_ms
    tally.ahead += 1
    if tally.ahead == _CONFIRMED:
        tally.watermark_ms = max(tally.watermark_ms, tally.ahead_ms)
        tally.ahead = 0


@njit(**JIT)
def is_silent(tally: Tally) -> bool:
    """Whether clicks have stopped coming while impressions go on."""
    if tally.clicks < _KNOWN_CLICKS or tally.breaker == 0.0:
        return False
    if tally.watermark_ms - tally.click_ms < tally.breaker_ms:
        return False
    heard = tally.impressions - tally.unclicked
    silent: bool = tally.unclicked * tally.clicks > tally.breaker * heard
    return silent


@njit(**JIT)
def _hear_click(tally: Tally, time_ms: int) -> None:
    """Clicks are coming, again if they had stopped: late ones in their order, or some were lost for good."""
    if is_silent(tally):
        tally.gap_from_ms = tally.click_ms
        tally.gap_to_ms = time_ms - tally.window_ms - tally.late_ms
        tally.held_until_ms = tally.watermark_ms - tally.window_ms
        tally.click_ms = time_ms
    tally.click_ms = max(tally.click_ms, time_ms)
    tally.unclicked = 0
    tally.clicks += 1
    if tally.clicks == _MANY_CLICKS:
        tally.clicks //= 2
        tally.impressions //= 2


@njit(**JIT)
def _now(tally: Tally) -> int:
    """Event time as far as clicks have come: what was due before it gets none any more."""
    if is_silent(tally):
        return NO_TIME
    if tally.click_ms < tally.held_until_ms:
        return min(tally.watermark_ms, tally.click_ms)
    now_ms: int = tally.watermark_ms
    return now_ms


@njit(**JIT)
def _close_due(slots: np.ndarray, heap: np.ndarray, table: np.ndarray, out: np.ndarray, tally: Tally) -> None:
    """Close what waits no longer: by event time, in order of (due, arrival), then by number of events."""
    now_ms = _now(tally)
    while tally.n_live > 0 and slots[heap[0]].due_ms < now_ms:
        slot = heap[0]
        if slots[slot].is_click or slots[slot].given or tally.late_ms == 0 or _is_unheard(slots, tally, slot):
            _close(slots, heap, table, out, tally, slot)
        else:  # the window is over, a late click may still come
            slots[slot].given = True
            _negative(out, tally, slot, slots[slot].impression, EARLY)
            postpone(slots, heap, tally, slot, slots[slot].due_ms + tally.late_ms)
    last = tally.events - tally.memory_events
    while tally.oldest < tally.n_slots:
        slot = tally.oldest
        if slots[slot].place >= 0:
            if slots[slot].arrival > last:
                break
            tally.closed_early += 1
            _close(slots, heap, table, out, tally, slot)
        tally.oldest += 1


@njit(**JIT)
def _close(
    slots: np.ndarray, heap: np.ndarray, table: np.ndarray, out: np.ndarray, tally: Tally, slot: int
) -> None:
    leave(slots, heap, table, tally, slot)
    if slots[slot].is_click:
        _refuse(out, tally, slot, LONE_CLICK)
    elif slots[slot].given:
        _confirm(out, tally, slot, slots[slot].impression)
    elif _is_unheard(slots, tally, slot):
        _refuse(out, tally, slot, NO_CLICKS)
    else:
        _negative(out, tally, slot, slots[slot].impression, FINAL)


@njit(**JIT)
def _is_unheard(slots: np.ndarray, tally: Tally, slot: int) -> bool:
    """Whether no click could have come for this impression: clicks had stopped, or have."""
    unheard: bool = is_silent(tally) or tally.gap_from_ms < slots[slot].time_ms <= tally.gap_to_ms
    return unheard


@njit(**JIT)
def _write(
    block: EventBlock, places: tuple[np.ndarray, np.ndarray], i: int, slot: Slot, tally: Tally
) -> None:
    """Event i, an impression or a click, to the next free slot; whether it stays there is decided next."""
    is_click = block.type[i] == CLICK
    slot.is_click = is_click
    slot.impression = block.impression[i] if is_click else block.key[i]
    slot.time_ms = block.time_ms[i]
    slot.arrival = tally.events
    slot.due_ms = block.time_ms[i] + tally.window_ms
    slot.given = False
    slot.place = -1
    slot.user, slot.item = block.user[i], block.item[i]
    slot.value, slot.weight = block.value[i], block.weight[i]
    slot.partition, slot.offset = places[0][i], places[1][i]
    slot.size = (
        block.end[i] - block.start[i] if is_click else block.entry_offsets[i + 1] - block.entry_offsets[i]
    )
    tally.latest_ms = max(tally.latest_ms, block.time_ms[i])


@njit(**JIT)
def _impression(
    slots: np.ndarray, heap: np.ndarray, table: np.ndarray, out: np.ndarray, tally: Tally, i: int, again: bool
) -> bool:
    """Decide on the impression in the next free slot; True: it is to wait."""
    if again:
        _refuse(out, tally, -1 - i, DUPLICATE)
        return False
    slot = slots[tally.n_slots]
    key, time_ms = slot.impression, slot.time_ms
    if tally.arrivals:
        _give(out, tally, -1 - i, 0.0, ARRIVAL, False)
    click = find(slots, table, key)
    if click >= 0:  # it was here first
        leave(slots, heap, table, tally, click)
        if _counts(tally, slots[click].time_ms - time_ms):
            _positive(out, tally, -1 - i, slots[click].value, FINAL)
            return False
        _refuse(out, tally, click, LATE_CLICK if slots[click].time_ms > time_ms else LONE_CLICK)
    now_ms = _now(tally)
    if time_ms + tally.window_ms + tally.late_ms < now_ms:
        _negative(out, tally, -1 - i, key, FINAL)
        return False
    if slot.due_ms < now_ms or (tally.is_early and not is_silent(tally)):
        slot.due_ms += tally.late_ms
        slot.given = True
        _negative(out, tally, -1 - i, key, EARLY)
    return True


@njit(**JIT)
def _click(
    slots: np.ndarray,
    heap: np.ndarray,
    table: np.ndarray,
    out: np.ndarray,
    tally: Tally,
    i: int,
    reason: int,
    gone: bool,
) -> bool:
    """Decide on the click in the next free slot; True: it is to wait. `gone`: its impression came once."""
    time_ms, value = slots[tally.n_slots].time_ms, slots[tally.n_slots].value
    slot = find(slots, table, slots[tally.n_slots].impression)
    if reason == GIVEN and slot >= 0:
        if _counts(tally, time_ms - slots[slot].time_ms):
            leave(slots, heap, table, tally, slot)
            _positive(out, tally, slot, value, CORRECTION if slots[slot].given else FINAL)
            return False
        reason = LATE_CLICK if time_ms > slots[slot].time_ms else LONE_CLICK
    elif reason == GIVEN and gone:
        reason = LATE_CLICK
    elif reason == GIVEN and time_ms < tally.watermark_ms - tally.window_ms:
        reason = LONE_CLICK
    if reason != GIVEN:
        _refuse(out, tally, -1 - i, reason)
    return reason == GIVEN


@njit(**JIT)
def _counts(tally: Tally, delay_ms: int) -> bool:
    """Whether a click so long after its impression counts."""
    counts: bool = -tally.window_ms <= delay_ms <= tally.window_ms + tally.late_ms
    return counts


@njit(**JIT)
def _first_reason(again: bool, second: bool) -> int:
    if again:
        return DUPLICATE
    return SECOND_CLICK if second else GIVEN


@njit(**JIT)
def _pass(out: np.ndarray, tally: Tally, i: int, kind: int, value: float, role: int, again: bool) -> None:
    """Decide on a rating or an example."""
    label, reason = value, GIVEN
    if again:
        reason = DUPLICATE
    elif not tally.is_rating:
        if kind == RATING:
            label = 1.0 if value >= tally.positive_rating else 0.0
        elif not 0.0 <= value <= 1.0:
            reason = BAD_LABEL
    tally.passed += reason == GIVEN
    _decide(out, tally, -1 - i, label, reason, role, False)


@njit(**JIT)
def _item(out: np.ndarray, tally: Tally, i: int, deleted: float) -> None:
    """An event of the catalogue: given in its place, or passed over."""
    tally.items += 1
    if tally.gives_items:
        _give(out, tally, -1 - i, deleted, CATALOGUE, False)


@njit(**JIT)
def _positive(out: np.ndarray, tally: Tally, source: int, value: float, role: int) -> None:
    """Give an impression with its click: FINAL, or the CORRECTION of what was given without."""
    _give(out, tally, source, value if tally.is_rating else 1.0, role, False)
    tally.positives += role == FINAL
    tally.corrections += role == CORRECTION


@njit(**JIT)
def _negative(out: np.ndarray, tally: Tally, source: int, key: np.uint64, role: int) -> None:
    """Give an impression without its click, FINAL or EARLY, if it is in the sample.

    A FINAL one that is not is still confirmed where its arrival was given.
    """
    if _is_kept(tally, key):
        _give(out, tally, source, 0.0, role, tally.is_sampled)
        tally.negatives += 1
    else:
        tally.left_out += 1
        if role == FINAL and tally.arrivals:
            _give(out, tally, source, 0.0, CONFIRMED, False)


@njit(**JIT)
def _confirm(out: np.ndarray, tally: Tally, slot: int, key: np.uint64) -> None:
    """No click came for what was given as a negative, or for what would have been."""
    if tally.arrivals or _is_kept(tally, key):
        _give(out, tally, slot, 0.0, CONFIRMED, False)
        tally.confirmed += 1


@njit(**JIT)
def _is_kept(tally: Tally, key: np.uint64) -> bool:
    kept: bool = not tally.is_sampled or mix(key ^ _SAMPLE) <= tally.last_kept
    return kept


@njit(**JIT)
def _give(out: np.ndarray, tally: Tally, source: int, label: float, role: int, sampled: bool) -> None:
    _decide(out, tally, source, label, GIVEN, role, sampled)


@njit(**JIT)
def _refuse(out: np.ndarray, tally: Tally, source: int, reason: int) -> None:
    _decide(out, tally, source, 0.0, reason, FINAL, False)


@njit(**JIT)
def _decide(
    out: np.ndarray, tally: Tally, source: int, label: float, reason: int, role: int, sampled: bool
) -> None:
    decision = out[tally.n_decisions]
    decision.source = source
    decision.label = label
    decision.reason = reason
    decision.role = role
    decision.sampled = sampled
    decision.event = tally.events
    tally.n_decisions += 1
