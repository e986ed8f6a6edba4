"""Named copies of a model's generations, and going back to one.

A copy is a model of its own in the same store, under the name MODEL@NAME: `streamrec serve --name MODEL@NAME`
serves it, `inspect` shows it; no learner learns it. Its blobs come with its last commit, so nobody sees half
a copy.

Rolling back is one more commit of the model: whatever makes the newest generation into the copy. So it
happens at once or not at all, sequence numbers go on, and where things are stored is the stores' affair.

1. load     the copy, into memory
2. acquire  the model: the learner that runs is fenced, and ends
3. load     the newest generation: what that learner committed until then
4. commit   the difference; scorers notice the epoch and load the model anew, answering meanwhile
5. flush    rows that are as old as the copy's

The position in the stream is part of a generation. It goes back, too, and the next learner learns again what
came after it, as if the commits in between had never been. Or it is kept: then what was learned since is not
learned again, dead letters and impressions that wait for a click stay as they are, and the cut-off compares
with what comes now. Corrections of impressions that the copy has not seen are learned and measured all the
same: about as many as its metrics miss of those that it has seen and whose clicks came in between.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from streamrec.clock import Clock
from streamrec.errors import StoreMismatch, UsageError
from streamrec.evaluation.guards import released
from streamrec.learner.arrivals import ARRIVALS
from streamrec.learner.loop import COPY, CUT_OFF, MODEL
from streamrec.learner.measures import GUARDS, METRICS
from streamrec.learner.order import ORDER
from streamrec.learner.progress import POSITION, PROGRESS, REJECTS
from streamrec.learner.stored import ORIGIN, blobs_of, missing
from streamrec.state.rows import Rows
from streamrec.store.base import Commit, Head, Snapshot, Store
from streamrec.store.merge import difference, newest

__all__ = ["MOST_COPIES", "Copy", "copies", "delete", "rollback", "tag", "tagged"]

#: Copies of one model: each takes as much room as the model.
MOST_COPIES = 8
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
#: What is the stream's, not the model's.
_KEPT_BLOBS, _KEPT_TABLES = (POSITION, PROGRESS, REJECTS), (ORDER, ARRIVALS)


class Copy(NamedTuple):
    """A named generation."""

    name: str
    seq: int  # of the commit that it is
    epoch: int
    time_ms: int  # when that was made
    copied_ms: int
    metrics: Mapping[str, Any]


def tagged(model: str, name: str) -> str:
    """The name under which the store has a copy.

    Raises:
        UsageError: not a name.

    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"name {name!r}: expected up to 64 letters, digits, dots, dashes or underscores")
    return f"{model}@{name}"


def copies(store: Store, model: str) -> list[Copy]:
    """The complete copies of a model, oldest generation first."""
    start, found = f"{model}@", []
    for name in store.models():
        if name.startswith(start) and COPY in (blobs := blobs_of(store, name)):
            stored = json.loads(blobs[COPY])
            found.append(Copy(name.removeprefix(start), **stored, metrics=json.loads(blobs[METRICS])))
    return sorted(found, key=lambda copy: (copy.time_ms, copy.name))


def tag(store: Store, model: str, name: str, clock: Clock) -> Copy:
    """Copy the newest generation; a learner and scorers go on meanwhile.

    Raises:
        UsageError: there is such a copy, or there are too many.
        StoreMismatch: there is no such model, or it is a copy.
        StoreUnavailable: the model was rewritten while it was read; again.

    """
    target = tagged(model, name)
    known = [copy.name for copy in copies(store, model)]
    if name in known:
        raise UsageError(f"model {model!r}: {name!r} names a generation already: take another name")
    if len(known) >= MOST_COPIES:
        raise UsageError(
            f"model {model!r}: {MOST_COPIES} generations have names ({', '.join(known)}), each a full copy: "
            "delete one (streamrec models delete)"
        )
    snapshot = _load(store, model)
    head = snapshot.head
    its = {"seq": head.seq, "epoch": head.epoch, "time_ms": head.time_ms, "copied_ms": clock.now_ms()}
    blobs = {**snapshot.blobs, COPY: json.dumps(its).encode()}
    blobs.pop(CUT_OFF, None)
    lease = store.acquire(target, fresh=True)
    try:
        seq = 0
        for seq, (table, rows) in enumerate(snapshot.pieces, 1):
            lease.commit(Commit(seq, {table: rows}, {}, head.time_ms))
        lease.commit(Commit(seq + 1, {}, blobs, head.time_ms))
    except BaseException:
        lease.close(flush=False)
        raise
    lease.close()
    return Copy(name, **its, metrics=json.loads(blobs[METRICS]))


def delete(store: Store, model: str, name: str) -> None:
    """Remove a copy, also one that was never completed.

    Raises:
        StoreMismatch: there is none of this name.

    """
    target = tagged(model, name)
    if target not in store.models():
        _find(store, model, name)
    store.forget(target)


def rollback(store: Store, model: str, name: str, clock: Clock, *, keep_position: bool = False) -> Head:
    """Make a copy the newest generation of its model, as above; returns the commit that did it.

    Raises:
        StoreMismatch: there is no such copy, or the model was begun anew with rows of another width.
        Fenced: a learner took the model while this went on; nothing has changed, try again.

    """
    copy = _find(store, model, name)
    snapshot = _load(store, tagged(model, name))
    then_tables, then = _tables(snapshot), dict(snapshot.blobs)  # 1
    del then[COPY]
    lease = store.acquire(model)  # 2
    try:
        newest_one = _load(store, model)  # 3
        now_tables, head = _tables(newest_one), newest_one.head
        kept_tables: tuple[str, ...] = ()
        if keep_position:
            kept_tables = _KEPT_TABLES
            then |= _kept(newest_one.blobs, then)
        tables = _differences(model, now_tables, then_tables, kept_tables)
        origin = {"name": name, "seq": copy.seq, "from_seq": head.seq, "kept_position": keep_position}
        then[ORIGIN] = json.dumps({**origin, "time_ms": clock.now_ms()}).encode()
        blobs = {**dict.fromkeys(newest_one.blobs, b""), **then}
        lease.commit(Commit(head.seq + 1, tables, blobs, clock.now_ms()))  # 4
    except BaseException:
        lease.close(flush=False)
        raise
    lease.close()  # 5
    return store.head(model)


def _find(store: Store, model: str, name: str) -> Copy:
    known = copies(store, model)
    for copy in known:
        if copy.name == name:
            return copy
    names = ", ".join(copy.name for copy in known) or "none"
    raise StoreMismatch(f"model {model!r}: no generation is named {name!r}; named are: {names}")


def _load(store: Store, model: str) -> Snapshot:
    snapshot = store.load(model, shadow=True)
    if not snapshot.head.seq or MODEL not in snapshot.blobs:
        raise missing(store, model)
    return snapshot


def _tables(snapshot: Snapshot) -> dict[str, Rows]:
    """All rows, each table sorted by id."""
    parts: dict[str, list[Rows]] = {}
    for table, rows in snapshot.pieces:
        parts.setdefault(table, []).append(rows)
    return {table: newest(rows) for table, rows in parts.items()}


def _differences(
    model: str, now: Mapping[str, Rows], then: Mapping[str, Rows], kept: tuple[str, ...]
) -> dict[str, Rows]:
    changed = {}
    for table in sorted({*now, *then}.difference(kept)):
        before, after = now.get(table), then.get(table)
        before = _none_of(after) if before is None and after is not None else before
        after = _none_of(before) if after is None and before is not None else after
        assert before is not None and after is not None  # noqa: PT018  (one of them was there)
        if before.rows.shape[1] != after.rows.shape[1]:
            raise StoreMismatch(
                f"model {model!r}, table {table!r}: has rows of {before.rows.shape[1]} slots since it was "
                f"begun anew, the named generation of {after.rows.shape[1]}: serve the copy by its own name"
            )
        changed[table] = difference(before, after)
    return {table: rows for table, rows in changed.items() if len(rows.ids) or len(rows.deleted)}


def _none_of(rows: Rows) -> Rows:
    """No row of the same width."""
    return Rows(*(part[:0] for part in rows))


def _kept(now: Mapping[str, bytes], then: Mapping[str, bytes]) -> dict[str, bytes]:
    """The stream's place now, with the count of examples that the copy has learned."""
    kept = {name: now.get(name, b"") for name in _KEPT_BLOBS}
    examples = json.loads(then[PROGRESS])["examples"]
    kept[PROGRESS] = json.dumps({**json.loads(now[PROGRESS]), "examples": examples}).encode()
    if GUARDS in then:
        kept[GUARDS] = released(then[GUARDS], json.loads(now.get(CUT_OFF, b"{}")).get("ahead", 0))
    return kept
