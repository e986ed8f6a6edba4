"""Commits in a thread of their own: in order, tried again, and left where it must be quick."""

import threading

import pytest

from streamrec.clock import SystemClock
from streamrec.errors import BrokerUnavailable, Fenced, StoreUnavailable
from streamrec.learner.committer import Committer, Handed
from streamrec.store.base import Commit, Head


class Lease:
    """Stores what it is given; first it raises these."""

    epoch = 3

    def __init__(self, *errors, blocked=None):
        self.errors, self.stored, self.blocked = list(errors), [], blocked

    def commit(self, commit):
        if self.blocked is not None:
            self.blocked.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.stored.append(commit)


@pytest.fixture
def committer():
    made = []

    def make(lease, patience_s=30.0):
        made.append(Committer(lease, Head(4, 3, 1000), patience_s, SystemClock()))
        return made[-1]

    yield make
    for each in made:
        each.close()


def commit(seq):
    return Commit(seq, {}, {"a": b"1"}, 2000 + seq)


def test_what_comes_before_is_done_again_until_it_works_and_only_then_committed(committer):
    lease, calls = Lease(StoreUnavailable("away"), StoreUnavailable("away")), []

    def before():
        assert lease.stored == []
        calls.append(len(lease.errors))
        if len(calls) < 3:
            raise BrokerUnavailable("away")
        return {"rejects": b"2"}

    it = committer(lease)
    assert (it.is_idle, it.stored) == (True, Head(4, 3, 1000))
    it.submit(Handed(commit(5), before))
    assert it.wait()
    assert calls == [2, 2, 2], "once done it is not done again with the store's retries"
    assert [c.blobs for c in lease.stored] == [{"a": b"1", "rejects": b"2"}]
    assert it.stored == Head(5, 3, 2005)


def test_what_no_retry_mends_is_raised_where_it_is_waited_for(committer):
    it = committer(Lease(Fenced("a newer learner")))
    it.submit(Handed(commit(5)))
    for _ in range(2):
        with pytest.raises(Fenced, match="a newer learner"):
            it.wait()
    assert it.stored.seq == 4


def test_patience_ends(committer):
    it = committer(Lease(*[StoreUnavailable("away")] * 100), patience_s=0.1)
    it.submit(Handed(commit(5)))
    with pytest.raises(StoreUnavailable, match="away; gave up on commit 5"):
        it.wait()


def test_in_a_hurry_a_store_that_hangs_is_left(committer):
    blocked = threading.Event()
    it = committer(Lease(blocked=blocked))
    it.submit(Handed(commit(5)))
    it.hurry(0.05)
    assert not it.wait()
    assert it.stored.seq == 4
    it.close()  # does not wait for it either
    blocked.set()


def test_in_a_hurry_what_is_stored_in_time_counts(committer):
    lease = Lease(StoreUnavailable("away"))
    it = committer(lease)
    it.hurry(30)
    it.submit(Handed(commit(5)))
    assert it.wait()
    assert it.stored.seq == 5


def test_in_a_hurry_a_lost_model_is_told_all_the_same(committer):
    it = committer(Lease(Fenced("a newer learner")))
    it.submit(Handed(commit(5)))
    with pytest.raises(Fenced):
        it.wait()
    it.hurry(0)
    with pytest.raises(Fenced):
        it.wait()
