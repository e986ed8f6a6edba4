"""Items and users that nobody tells of any more, beside dictionaries: gone from every table, and from others' rows."""

import json

import numpy as np
import pytest
from test_two_tower import Learned, ids_of

from streamrec.hashing import hash_text
from streamrec.models.pipeline import Pipeline
from streamrec.models.retrieval.history import History, Near
from streamrec.models.retrieval.pool import Round
from streamrec.models.retrieval.settings import VisitSettings
from streamrec.models.retrieval.visits import Visits
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Rows

HOUR = 3_600_000
START = 1_700_000_000_000
TTL_H = 32
SMALL = {
    "micro_batch": 4,
    "towers": {"width": 4, "units": 4, "query": []},
    "negatives": {"drawn": 8},
    "expire_after_s": TTL_H * 3600,
}


def rating(k, hour, user, item):
    event = {"type": "rating", "id": f"r{k}", "time": START + int(hour * HOUR), "user": user, "item": item}
    return json.dumps(event | {"rating": 5, "features": {"kind": f"k{len(item) % 3}"}})


def told(hour, item, **more):
    return json.dumps({"type": "item", "id": item, "time": START + int(hour * HOUR), **more})


def passing(n=300, seed=3):
    """A rating each half hour; of users and items each is of interest for a while. The catalogue keeps one."""
    rng, events = np.random.default_rng(seed), []
    for k in range(n):
        user, item = k // 40 + rng.integers(6), k // 25 + rng.integers(8)
        events.append((k / 2, f"u{user}", f"i{item}"))
        if k % 20 == 7:
            events.append((k / 2, None, "kept"))
        if k == 100:
            events.append((k / 2, None, "once"))
    return events


def lines_of(events):
    return [
        rating(k, hour, user, item) if user else told(hour, item, features={"kind": "k1"})
        for k, (hour, user, item) in enumerate(events)
    ]


def ids_in(table):
    return {int(i) for ids, _ in table.pieces() for i in ids}


@pytest.fixture(scope="module")
def expired():
    return Learned(lines_of(passing()), **SMALL)


def test_who_was_met_of_late_is_there_and_nobody_else(expired):
    last = {}
    for hour, user, item in passing():
        last |= {item: hour} if user is None else {item: hour, user: hour}
    now, tables = max(last.values()), expired.pipeline.tables
    there = ids_in(tables["item_met"]) | ids_in(tables["user_met"])
    young = {name for name, hour in last.items() if hour >= now - TTL_H}
    old = {
        name for name, hour in last.items() if hour < now - TTL_H * 18 / 16 - 4
    }  # sweep, step, micro-batch
    assert "kept" in young
    assert len(old) > 12
    assert {"once", "i0", "u0"} <= old
    assert ids_of(*young) <= there
    assert not ids_of(*old) & there


def test_no_table_has_more_than_the_living(expired):
    tables = expired.pipeline.tables
    items, users = ids_in(tables["item_met"]), ids_in(tables["user_met"])
    assert ids_in(tables["item_bags"]) == items
    assert ids_in(tables["item_vectors"]) == items
    assert ids_in(tables["users"]) == users
    assert ids_in(tables["neighbours"]) == items - ids_of("kept")
    assert ids_in(tables["items"]) == items
    totals = np.concatenate([rows for _, rows in tables["users"].pieces()]).view(np.int64)
    assert len(tables["history"]) == (-(-totals // 16)).sum()
    order = np.concatenate([rows for _, rows in tables["item_order"].pieces()]).view(np.uint64)
    assert sorted(order.ravel().tolist()) == sorted(items)
    assert ids_in(tables["item_order"]) == set(range(1, len(items) + 1))
    assert len(tables["candidate_vectors"]) < len(items) + 6  # of features, and of an item just gone
    assert len(tables["query_vectors"]) < len(items) + len(users) + 24 + 7 + 6  # of hours and weekdays
    names = {f"i{k}" for k in range(24)}
    assert expired.pipeline.catalogue.names(np.array(sorted(ids_of(*names)), np.uint64)).count(None) > 5
    assert None not in expired.pipeline.catalogue.names(np.array(sorted(items), np.uint64))


def returning(n=150):
    """Items come again after they were gone, with other features, told by the catalogue or shown by an event."""
    rng = np.random.default_rng(7)
    for k in range(n):
        name, hour = f"i{(k % 110) // 13 + rng.integers(3)}", k / 2
        if k % 9 == 4:
            yield told(hour, name, features={"kind": f"told{k}"})
        else:
            yield rating(k, hour, f"u{(k % 90) // 9}", name).replace('"k', f'"k{k}')


def test_cut_anywhere_the_same_expire():
    hashes = {Learned(list(returning()), cut=cut, **SMALL).pipeline.state_sha256() for cut in (2, 500)}
    assert len(hashes) == 1


def resumed(pipeline):
    """The same model, from what commits hold."""
    other = Pipeline.from_blob(pipeline.describe())
    for name, table in pipeline.tables.items():
        for ids, rows in table.pieces():
            other.apply(
                name, Rows(ids[::-1], rows[::-1], np.zeros(len(ids), np.bool_), np.empty(0, np.uint64))
            )
    other.restore(pipeline.blobs())
    return other


def test_resumed_at_any_event_the_same_expire():
    """A sweep is due at every fourth event of the one clock, at every eighth of the other."""
    lines = list(returning(108))
    learned, undisturbed = (Learned(lines[:75], **SMALL) for _ in range(2))
    for start in range(75, len(lines), 3):
        learned.pipeline = resumed(learned.pipeline)
        learned.feed(lines[start : start + 3])
    undisturbed.feed(lines[75:])
    assert learned.pipeline.state_sha256() == undisturbed.pipeline.state_sha256()


def test_nothing_is_compared_with_what_has_gone(monkeypatch):
    lines = lines_of(passing(200))
    learned = Learned(lines[:100], **SMALL)
    bags, asked = learned.pipeline.retriever._bags, []
    get = bags.get
    monkeypatch.setattr(bags, "get", lambda items: asked.append(bags.known(items).all()) or get(items))
    learned.feed(lines[100:], cut=3)
    assert len(asked) > 20
    assert all(asked)


def test_histories_outlive_items_that_then_do_no_harm():
    """A user goes on; all else that they took is gone, and what is left is looked up as if it had not been."""
    lines = [rating(k, k / 4, "u", f"old{k % 5}") for k in range(20)]
    lines += [rating(k, k / 4, "u", f"new{k % 3}") for k in range(20, 180)]
    learned = Learned(lines, **SMALL)
    tables = learned.pipeline.tables
    gone = ids_of(*(f"old{k}" for k in range(5)))
    assert not gone & (
        ids_in(tables["items"]) | ids_in(tables["neighbours"]) | ids_in(tables["item_vectors"])
    )
    query = learned.query("u", START + 50 * HOUR)
    assert set(query.boosted[0].ids.tolist()) == ids_of("new0", "new1", "new2")
    assert np.isfinite(query.vectors).all()
    assert gone <= set(query.seen[0].tolist())


def test_a_deleted_item_is_forgotten_too_and_may_come_as_a_new_one():
    lines = [rating(k, k / 8, f"u{k % 3}", f"i{k % 4}") for k in range(40)]
    learned = Learned([*lines, told(6, "i3", deleted=True)], **SMALL)
    hit = np.array([hash_text("i3")], np.uint64)
    bags, vectors = (learned.pipeline.tables[name] for name in ("item_bags", "item_vectors"))
    learned.feed([rating(50 + k, 7, "u1", "i3") for k in range(4)])
    assert bags.contains(hit).all()
    assert not vectors.contains(hit).any()
    learned.feed([rating(60 + k, 10 + k, "u1", "i1") for k in range(40)])
    assert not bags.contains(hit).any()
    learned.feed([rating(110 + k, 50, "u2", "i3") for k in range(4)])
    assert vectors.contains(hit).all()


def test_one_event_from_the_future_removes_nobody():
    lines = [rating(k, k / 8, f"u{k % 3}", f"i{k % 4}") for k in range(40)]
    learned = Learned([*lines, rating(40, 10**5, "u1", "i1"), *lines], **SMALL)
    assert ids_of("i0", "i1", "i2", "i3") == ids_in(learned.pipeline.tables["item_vectors"])


def told_only(n=120):
    """After a few ratings the catalogue alone goes on: late now and then, and once from the far future."""
    yield from (rating(k, k / 8, f"u{k % 3}", f"old{k % 4}") for k in range(18))  # two wait for a micro-batch
    for k in range(n):
        hour = 3 + k / 2 - 20 * (k % 10 == 6) + 10**5 * (k == 50)
        yield told(hour, f"i{k // 15}", features={"kind": "k1"})


def test_a_catalogue_alone_moves_time():
    learned = Learned(list(told_only()), **SMALL)
    tables = learned.pipeline.tables
    assert ids_in(tables["item_vectors"]) == ids_of("i3", "i4", "i5", "i6", "i7")
    for name in ("item_bags", "items", "item_met", "item_vectors"):
        assert ids_in(tables[name]) == ids_of("i3", "i4", "i5", "i6", "i7"), name
    for name in ("users", "history", "user_met", "neighbours", "candidate_vectors", "query_vectors"):
        assert not len(tables[name]), name


def test_what_waits_for_its_micro_batch_is_learned_before_it_is_too_old():
    lines = [rating(k, k / 8, f"u{k % 3}", f"old{k % 4}") for k in range(18)]
    learned = Learned([*lines, *(told(k, "i", features={}) for k in range(3, 30))], **SMALL)
    retriever = learned.pipeline.retriever
    assert retriever._visits.counts(np.array([hash_text("old1")], np.uint64)).taken == 5
    learned.feed([rating(20 + k, 30 + k / 2, "u", "old1") for k in range(2)])
    assert retriever._visits.counts(np.array([hash_text("old1")], np.uint64)).taken == 7


def test_a_catalogue_alone_moves_time_the_same_wherever_it_is_cut_or_resumed():
    lines = list(told_only(80))
    learned, *others = (Learned(lines[:40], cut=cut, **SMALL) for cut in (1, 7, 40))
    for other, cut in zip(others, (1, 90), strict=True):
        other.feed(lines[40:], cut)
    for start in range(40, len(lines), 9):
        learned.pipeline = resumed(learned.pipeline)
        learned.feed(lines[start : start + 9])
    assert len({each.pipeline.state_sha256() for each in (learned, *others)}) == 1


def test_pairs_of_the_forgotten_are_gone_from_both_rows():
    visits, rng = Visits(VisitSettings(neighbours=16), 0.05), np.random.default_rng(2)
    items = rng.integers(1, 13, 200).astype(np.uint64)
    near = rng.integers(0, 13, (200, 8)).astype(np.uint64)
    visits.take(items, np.arange(200), Near(near, (near != 0).astype(np.float32)))
    some = Near(np.arange(1, 13, dtype=np.uint64)[:, None], np.ones((12, 1), np.float32))
    before = [dict(zip(*map(list, pairs), strict=True)) for pairs in visits.best(some)]
    gone = np.array([3, 12], np.uint64)
    visits.forget(gone)
    for item, was, (ids, scores) in zip(range(1, 13), before, visits.best(some), strict=True):
        living = {} if item in gone else {i: s for i, s in was.items() if i not in gone}
        assert dict(zip(ids, scores, strict=True)) == pytest.approx(living)
    assert visits.counts(gone).pairs.tolist() == [0, 0]


def test_all_pages_of_a_user_go():
    history, n = History(64, 3, 0.5), 150
    users = np.tile(np.array([1, 2, 3], np.uint64), n // 3)
    history.append(users, np.arange(1, n + 1, dtype=np.uint64), np.arange(n), 0)
    assert len(history.tables["history"]) == 3 * 4
    history.forget(np.array([1, 3, 9], np.uint64))
    assert len(history.tables["history"]) == 4
    assert len(history.entries(2)) == 50
    assert not len(history.entries(1))


def test_who_has_left_has_no_turn():
    turns = Round()
    turns.add(np.arange(1, 12, dtype=np.uint64))
    turns.remove(np.array([2, 5, 10, 11], np.uint64))
    turns.add(np.array([20], np.uint64))
    seen = np.concatenate([turns.next(3, step) for step in range(8)])
    assert np.unique(seen, return_counts=True)[0].tolist() == [1, 3, 4, 6, 7, 8, 9, 20]
    assert len(turns.tables["item_order"]) == 8


def test_retrieval_expires_as_the_model_unless_it_says_otherwise():
    both = ModelSettings(kind="two_tower", expire_after_s=60.0, retrieval={"expire_after_s": 5.0})
    assert both.expiring_retrieval().expire_after_s == 5.0
    assert ModelSettings(kind="two_tower", expire_after_s=60.0).expiring_retrieval().expire_after_s == 60.0
    assert "expire_after_s" not in ModelSettings(kind="two_tower").retrieval.model_dump()
