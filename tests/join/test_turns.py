"""Turns in pages: what is left of them after any history says all that a rebuild needs."""

import json
import random

import pytest

from streamrec.join.decode import Turn
from streamrec.join.worker import turns as module
from streamrec.join.worker.turns import Pages, page_from_json, turns_of


def waited_for(turns, n_events):
    """Who is waited for once so many events are joined."""
    return {turn.partition: turn.waited_for for turn in turns if turn.n_events <= n_events}


@pytest.mark.parametrize("seed", range(20))
def test_a_rebuild_finds_every_turn_since_it_begins(seed, monkeypatch):
    monkeypatch.setattr(module, "_PAGE_TURNS", 3)
    rng = random.Random(seed)
    pages, stored, history, n_events, begins_at = Pages(), {}, [], 0, 0
    for _ in range(200):
        new = [Turn(n_events, rng.choice("abc"), rng.random() < 0.5) for _ in range(rng.randint(0, 2))]
        history += new
        n_events += rng.randint(0, 5)
        for page in pages.add(new, n_events):
            stored[page.number] = json.dumps(page.as_json())
        begins_at = rng.randint(begins_at, n_events)
        for number in pages.forget(begins_at):
            del stored[number]
        kept = [page_from_json(json.loads(stored[n])) for n in range(pages.first, pages.open.number)]
        assert len(stored) == len(kept)
        turns = turns_of([*kept, page_from_json(json.loads(json.dumps(pages.open.as_json())))])
        assert waited_for(turns, begins_at) == waited_for(history, begins_at)
        assert [t for t in turns if t.n_events > begins_at] == [t for t in history if t.n_events > begins_at]
        again = Pages([*kept, pages.open])
        assert (again.first, again.open) == (pages.first, pages.open)
    assert pages.first > 5


def test_nothing_joined_yet():
    assert turns_of(()) == []
    assert (Pages().first, Pages().open.turns) == (0, ())
