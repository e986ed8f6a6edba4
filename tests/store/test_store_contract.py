"""What every store promises (DESIGN 5), on every store."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
from store_oracle import Oracle, commit, random_commit, rows

from streamrec.errors import Fenced, Outdated, StoreMismatch
from streamrec.store.base import Head, Setting, Store
from streamrec.store.limits import Limits
from streamrec.store.memory import MemoryStore
from streamrec.store.registry import SCHEMES

#: Small enough that a few hundred rows come in parts, in several transactions, and in more buckets than at
#: first.
SMALL = Limits(
    part_bytes=1024, mean_rows=1, batch_rows=32, merge_rows=16, flush_s=float("inf"), tail_commits=2
)
Opener = Callable[[], Store]


SERVED = [pytest.param(kind, marks=pytest.mark.integration) for kind in ("redis", "cluster")]


@pytest.fixture(params=["memory", *SERVED])
def opener(request: pytest.FixtureRequest) -> Iterator[Opener]:
    opened: list[Store] = []
    if request.param == "memory":
        name = uuid.uuid4().hex
        make: Opener = lambda: MemoryStore(name)  # noqa: E731
    else:
        from streamrec.store.cluster import cluster_wires
        from streamrec.store.redis import RedisStore
        from streamrec.store.wire import server_wires

        if request.param == "redis":
            url, connect = request.getfixturevalue("redis_url"), server_wires
        else:
            url, connect = request.getfixturevalue("redis_cluster").url, cluster_wires
        make = lambda: RedisStore(url, connect=connect, limits=SMALL)  # noqa: E731

    def open_one() -> Store:
        opened.append(make())
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener()


@pytest.fixture
def model() -> str:
    return f"test {uuid.uuid4().hex} {{:é"


def test_every_scheme_is_one_of_the_tested_stores() -> None:
    clusters = {"redis+cluster", "rediss+cluster"}
    assert (
        set(SCHEMES) == {"memory", "embedded", "redis", "rediss", "unix"} | clusters
    )  # all but memory are one class


class TestStore:
    def test_unknown_model_is_empty(self, store: Store, model: str) -> None:
        assert store.head(model) == Head(0, 0, 0)
        assert model not in store.models()
        snapshot = store.load(model)
        assert (snapshot.head.seq, dict(snapshot.blobs), list(snapshot.pieces)) == (0, {}, [])
        follower = store.follow(model, 0, timeout_s=0)
        assert follower is not None
        assert list(follower) == []

    def test_commits_come_back(self, opener: Opener, model: str) -> None:
        oracle = Oracle()
        lease = opener().acquire(model)
        lease.commit(oracle.apply(commit(1, wide=rows([1, 2**64 - 1, 2**56], [0.5, -0.0, np.inf]))))
        other = opener()
        assert other.head(model) == Head(1, 1, 1_001)
        assert model in other.models()
        oracle.check(other, model)

    @pytest.mark.parametrize("seed", range(4))
    def test_random_commits_flushes_and_restarts_agree_with_a_dictionary(
        self, opener: Opener, model: str, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        oracle = Oracle()
        store = opener()
        lease = store.acquire(model)
        for seq in range(1, 25):
            lease.commit(oracle.apply(random_commit(seq, rng, space=60 + 40 * seq)))
            what = rng.integers(5)
            if what == 0:
                lease.flush()
            elif what == 1:
                lease.close()
                store = opener()
                lease = store.acquire(model)
            if what < 3:
                oracle.check(store, model)
        lease.flush()
        oracle.check(opener(), model)

    def test_same_commit_again_changes_nothing(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        first = oracle.apply(commit(1, wide=rows(range(1, 500), 1.0)))
        lease.commit(first)
        lease.commit(first)
        lease.flush()
        lease.commit(first)
        oracle.check(store, model)

    @pytest.mark.parametrize("seq", [1, 4])
    def test_a_gap_or_a_step_back_is_refused(self, store: Store, model: str, seq: int) -> None:
        lease = store.acquire(model)
        for n in (1, 2):
            lease.commit(commit(n, wide=rows([n])))
        with pytest.raises(StoreMismatch, match="from there"):
            lease.commit(commit(seq, wide=rows([9])))

    def test_older_learner_is_fenced(self, store: Store, model: str) -> None:
        oracle = Oracle()
        old = store.acquire(model)
        old.commit(oracle.apply(commit(1, wide=rows([1, 2], 1.0))))
        new = store.acquire(model)
        assert new.epoch == old.epoch + 1
        new.commit(oracle.apply(commit(2, wide=rows([1], 2.0))))
        with pytest.raises(Fenced, match="newer learner"):
            old.commit(commit(2, wide=rows([1], 66.0)))
        with pytest.raises(Fenced):
            old.flush()
        old.close()
        new.flush()
        oracle.check(store, model)

    def test_fenced_even_before_the_new_learner_commits(self, store: Store, model: str) -> None:
        old = store.acquire(model)
        store.acquire(model)
        with pytest.raises(Fenced):
            old.commit(commit(1, wide=rows([1])))
        assert store.head(model).seq == 0

    @pytest.mark.parametrize("flushed", [True, False])
    def test_fresh_forgets_everything(self, store: Store, model: str, flushed: bool) -> None:
        lease = store.acquire(model)
        for seq in range(1, 4):
            lease.commit(commit(seq, wide=rows(range(1, 200), seq), gone=rows([7])))
        if flushed:
            lease.flush()
        fresh = store.acquire(model, fresh=True)
        assert store.head(model).seq == 0
        Oracle().check(store, model)
        oracle = Oracle()
        fresh.commit(oracle.apply(commit(1, wide=rows([3], 4.0, width=3))))  # another width is fine now
        fresh.flush()
        oracle.check(store, model)

    def test_hidden_and_deleted_rows_leave_the_served_copy(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        steps = [
            rows([1, 2, 3, 4], 1.0),
            rows([1, 2], 0.0, shadow=[True, False], deleted=[3]),
            rows([1], 5.0, deleted=[4]),
            rows([1, 4], 6.0, shadow=[True, True], deleted=[2]),
            rows([], deleted=[1, 2, 3, 4]),
        ]
        for flush in (False, True):
            for changed in steps:
                lease.commit(oracle.apply(commit(oracle.seq + 1, wide=changed)))
                oracle.check(store, model)
                if flush:
                    lease.flush()
                    oracle.check(store, model)

    def test_deleted_and_made_anew_in_one_commit_is_there(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        lease.commit(oracle.apply(commit(1, wide=rows([1, 2], 1.0))))
        lease.commit(oracle.apply(commit(2, wide=rows([2], 2.0, deleted=[1, 2]))))
        oracle.check(store, model)
        lease.flush()
        oracle.check(store, model)

    def test_models_do_not_touch_each_other(self, store: Store, model: str) -> None:
        oracles = {name: Oracle() for name in (model, model + "2")}
        for name, oracle in oracles.items():
            lease = store.acquire(name)
            lease.commit(oracle.apply(random_commit(1, np.random.default_rng(len(name)))))
            lease.flush()
        for name, oracle in oracles.items():
            oracle.check(store, name)

    def test_many_tables_and_large_blobs(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        made = commit(1, **{f"t{n}": rows(range(1, 40), n, width=1 + n) for n in range(20)})
        lease.commit(oracle.apply(made._replace(blobs={"dense": bytes(300_000), "": b"", "é": b"x"})))
        oracle.check(store, model)
        lease.flush()
        oracle.check(store, model)

    def test_a_commit_without_rows(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        lease.commit(oracle.apply(commit(1)))
        lease.commit(oracle.apply(commit(2, wide=rows([]))))
        lease.flush()
        oracle.check(store, model)

    def test_rows_that_are_gone_before_they_were_flushed(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        lease.commit(oracle.apply(commit(1, wide=rows([1]), short=rows([3], deleted=[4]))))
        lease.commit(oracle.apply(commit(2, short=rows([], deleted=[3]))))
        lease.flush()
        oracle.check(store, model)


class TestFollow:
    def test_gives_what_was_committed(self, store: Store, model: str) -> None:
        rng = np.random.default_rng(1)
        lease = store.acquire(model)
        made = [random_commit(seq, rng) for seq in range(1, 6)]
        for each in made:
            lease.commit(each)
        for after in range(6):
            follower = store.follow(model, after, timeout_s=0)
            assert follower is not None
            got = list(follower)
            assert [each.seq for each in got] == list(range(after + 1, 6))
            for mine, theirs in zip(made[after:], got, strict=True):
                assert theirs.blobs == mine.blobs
                assert theirs.time_ms == mine.time_ms
                for name, changed in mine.tables.items():
                    for left, right in zip(changed, theirs.tables[name], strict=True):
                        np.testing.assert_array_equal(left, right)

    def test_wakes_up_on_a_commit(self, opener: Opener, model: str) -> None:
        lease = opener().acquire(model)
        lease.commit(commit(1, wide=rows([1])))
        timer = threading.Timer(0.2, lambda: lease.commit(commit(2, wide=rows(range(1, 300)))))
        timer.start()
        follower = opener().follow(model, 1, timeout_s=10)
        timer.join()
        assert follower is not None
        assert [each.seq for each in follower] == [2]

    def test_waits_no_longer_than_told(self, store: Store, model: str) -> None:
        store.acquire(model).commit(commit(1))
        follower = store.follow(model, 1, timeout_s=0.05)
        assert follower is not None
        assert list(follower) == []

    def test_trimmed_commits_are_noticed(self, store: Store, model: str) -> None:
        oracle = Oracle()
        lease = store.acquire(model)
        for seq in range(1, 600):
            lease.commit(oracle.apply(commit(seq, wide=rows([seq], seq))))
        lease.flush()
        lease.commit(oracle.apply(commit(600, wide=rows([600]))))
        lease.flush()  # a cluster keeps commits for one flush more
        assert store.follow(model, 1, timeout_s=0) is None
        close = store.follow(model, 599, timeout_s=0)
        assert close is not None
        assert [each.seq for each in close] == [600]
        oracle.check(store, model)

    def test_a_model_begun_anew_is_noticed(self, store: Store, model: str) -> None:
        lease = store.acquire(model)
        for seq in (1, 2):
            lease.commit(commit(seq, wide=rows([seq])))
        store.load(model)
        fresh = store.acquire(model, fresh=True)
        assert store.follow(model, 2, timeout_s=0) is None
        for seq in (1, 2, 3):
            fresh.commit(commit(seq, wide=rows([seq])))
        assert store.follow(model, 2, timeout_s=0) is None  # 3 is there, but of another run
        store.load(model)
        assert store.follow(model, 2, timeout_s=0) is not None

    def test_a_follower_survives_a_change_of_learner(self, store: Store, model: str) -> None:
        store.acquire(model).commit(commit(1, wide=rows([1])))
        store.load(model)
        store.acquire(model).commit(commit(2, wide=rows([2])))
        follower = store.follow(model, 1, timeout_s=0)
        assert follower is not None
        assert [each.seq for each in follower] == [2]

    def test_a_setting_is_changed_by_who_has_seen_it(self, opener: Opener, model: str) -> None:
        one, other, name = opener(), opener(), f"arms:{model}"
        assert one.setting(name) == Setting(0, b"")
        assert one.change(name, b"\x00 {}", 0) == other.setting(name) == Setting(1, b"\x00 {}")
        assert one.change(name, b"\x00 {}", 0) == Setting(1, b"\x00 {}")  # its answer was lost: said again
        with pytest.raises(Outdated, match="expected version 0, got 1: somebody else has changed it"):
            other.change(name, b"mine", 0)
        assert other.change(name, b"mine", 1) == one.setting(name) == Setting(2, b"mine")
        with pytest.raises(Outdated, match="expected version 7, got 2"):
            one.change(name, b"", 7)
        assert one.setting(name + "x") == Setting(0, b"")
        assert name not in one.models()

    def test_one_of_many_changes_at_once_wins(self, opener: Opener, model: str) -> None:
        stores, won = [opener() for _ in range(4)], []

        def change(n: int) -> None:
            for seen in range(10):
                with suppress(Outdated):
                    won.append(stores[n].change(model, f"{n} {seen}".encode(), seen).version)

        threads = [threading.Thread(target=change, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(1, 11))

    def test_a_mirror_that_follows_stays_equal(self, store: Store, model: str) -> None:
        from store_oracle import apply_pieces, loaded, without_empty

        rng = np.random.default_rng(7)
        oracle = Oracle()
        lease = store.acquire(model)
        lease.commit(oracle.apply(random_commit(1, rng)))
        snapshot = store.load(model, shadow=True)
        mirror, at = loaded(snapshot.pieces), snapshot.head.seq
        for seq in range(2, 30):
            lease.commit(oracle.apply(random_commit(seq, rng, space=200 + 20 * seq)))
            if rng.random() < 0.3:
                lease.flush()
            if rng.random() < 0.5:
                continue
            follower = store.follow(model, at, timeout_s=0)
            if follower is None:
                snapshot = store.load(model, shadow=True)
                mirror, at = loaded(snapshot.pieces), snapshot.head.seq
            else:
                for each in follower:
                    apply_pieces(mirror, each.tables.items())
                    at = each.seq
            assert at == seq
            assert without_empty(mirror) == without_empty(oracle.seen(shadow=True))
