import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from serving_fakes import FakeMirror, FakeStore, commit, rows

from streamrec.clock import SystemClock
from streamrec.errors import StoreMismatch, StoreUnavailable
from streamrec.serving.scorer import Scorer

LINE = b'{"type":"example","features":{}}\n'


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.002)


def seq_of(scorer: Scorer) -> int:
    with scorer.reading() as (_, version):
        return version.seq


def answer(scorer: Scorer) -> float:
    with scorer.reading() as (mirror, _):
        return round(1.0 / float(mirror.score_lines(LINE)[0, 0]) - 1.0, 3)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def scorer(store: FakeStore) -> Iterator[Scorer]:
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    yield scorer
    scorer.stop()


def test_before_the_first_commit_it_says_what_it_waits_for(scorer: Scorer) -> None:
    scorer.step()
    assert not scorer.status().ready
    with pytest.raises(StoreUnavailable, match="waiting for the first commit of model 'm'"), scorer.reading():
        pass


def test_tables_that_only_learners_have_do_not_concern_it(store: FakeStore, scorer: Scorer) -> None:
    """As the order of partitions, whose rows are all shadow rows; loaded and followed."""
    turns = rows([0, 1], [5.0, 6.0])._replace(shadow=np.ones(2, bool))
    for seq in (1, 2):
        whole = commit(seq)
        store.add(whole._replace(tables={**whole.tables, "order": turns}))
        scorer.step()
        assert (seq_of(scorer), answer(scorer), store.n_loads) == (seq, float(seq), 1)


def test_a_table_that_readers_see_must_be_known(store: FakeStore, scorer: Scorer) -> None:
    whole = commit(1)
    store.add(whole._replace(tables={**whole.tables, "unknown": rows([1], [1.0])}))
    with pytest.raises(KeyError):
        scorer.step()


def test_rows_then_log(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1), commit(2))
    scorer.step()
    assert (seq_of(scorer), answer(scorer), scorer.status()) == (2, 2.0, (True, ""))
    store.add(commit(3), commit(4))
    scorer.step()
    assert (seq_of(scorer), answer(scorer), store.n_loads) == (4, 4.0, 1)


def test_missed_commits_are_loaded_while_the_old_generation_answers(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    store.add(commit(2), commit(3))
    store.trimmed = 2
    scorer.step()  # notices
    assert seq_of(scorer) == 1
    assert scorer.status().ready
    scorer.step()
    assert (seq_of(scorer), answer(scorer), store.n_loads) == (3, 3.0, 2)


def test_a_gap_in_the_log_is_noticed_by_the_sequence_number(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    store.add(commit(3))
    scorer.step()
    assert seq_of(scorer) == 1
    scorer.step()
    assert (seq_of(scorer), store.n_loads) == (3, 2)


@pytest.mark.parametrize("n_new", [1, 3, 4, 9])
def test_a_learner_that_started_over_is_never_mixed_with_the_old_one(
    store: FakeStore, scorer: Scorer, n_new: int
) -> None:
    store.add(commit(1), commit(2), commit(3))
    scorer.step()
    store.restart(fresh=True)
    store.add(*(commit(seq, value=100.0 + seq) for seq in range(1, n_new + 1)))
    while answer(scorer) == 3.0:
        scorer.step()
    assert (seq_of(scorer), answer(scorer)) == (n_new, 100.0 + n_new)


def test_rows_without_influence_are_not_mirrored(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    hidden = commit(2)._replace(
        tables={"a": rows([1, 2], [5.0, 6.0])._replace(shadow=np.array([True, False]))}
    )
    store.add(hidden)
    scorer.step()
    with scorer.reading() as (mirror, _):
        assert mirror.tables["a"] == {2: 6.0}
    again = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    assert again.load()
    with again.reading() as (mirror, _):
        assert mirror.tables["a"] == {2: 6.0}


def test_until_the_new_learner_commits_the_old_generation_answers(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    store.restart(fresh=True)
    scorer.step()
    scorer.step()
    assert answer(scorer) == 1.0
    assert not scorer.status().ready


def test_a_learner_that_resumes_changes_nothing_but_the_epoch(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    store.restart(fresh=False)
    store.add(commit(2))
    scorer.step()
    scorer.step()
    generation = scorer.generation
    assert generation is not None
    assert generation.version == (2, 2, 2_000)


def test_another_model_form_is_built_anew(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    store.add(commit(2, blobs={"model": b'{"kind":"other"}'}))
    scorer.step()
    scorer.step()
    assert (seq_of(scorer), store.n_loads) == (2, 2)


def test_store_away_and_back(store: FakeStore, scorer: Scorer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamrec.serving")
    store.add(commit(1))
    scorer.start()
    until(lambda: scorer.status().ready)
    store.down = True
    until(lambda: not scorer.status().ready)
    assert scorer.status().reason == "the store is away: no answer from the fake store"
    time.sleep(0.35)  # several retries
    assert answer(scorer) == 1.0
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "the store is away: no answer from the fake store; answering from memory"
    ]
    store.add(commit(2))
    store.down = False
    until(lambda: scorer.status().ready and seq_of(scorer) == 2)
    scorer.stop()
    scorer.stop()


def test_a_damaged_commit_is_answered_by_nobody(store: FakeStore, scorer: Scorer) -> None:
    store.add(commit(1))
    scorer.step()
    generation = scorer.generation
    assert generation is not None
    store.add(commit(2, value=-1.0))
    with pytest.raises(ValueError, match="damaged"):
        scorer.step()
    with pytest.raises(StoreUnavailable), scorer.reading():
        pass
    with pytest.raises(StoreUnavailable, match="could not be applied"), generation.reading():
        pass  # a request that had taken the generation before
    store.log[1] = commit(2)
    scorer.step()
    assert answer(scorer) == 2.0


def test_a_model_of_another_version_is_told(store: FakeStore) -> None:
    def refuse(blob: bytes) -> FakeMirror:
        raise StoreMismatch("made by another version")

    scorer = Scorer(store, "m", SystemClock(), build=refuse)
    store.add(commit(1))
    scorer.start()
    until(lambda: scorer.status().reason == "model 'm' cannot be mirrored: made by another version")
    scorer.stop()


def test_readers_never_see_half_a_commit(store: FakeStore, scorer: Scorer) -> None:
    """Commits change two tables and a blob; planted fault: `apply` without `_use` fails here."""
    store.add(commit(1))
    scorer.start()
    until(lambda: scorer.status().ready)
    stop, faults, seen = threading.Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            with scorer.reading() as (mirror, version):
                p, c = mirror.score_lines(LINE * 20)
            seen.add(version.seq)
            if mirror.torn or abs(1.0 / p[0] - 1.0 - version.seq) > 0.01 or c[0] != version.seq:
                faults.append((version.seq, p[0], c[0]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for seq in range(2, 302):
        store.add(commit(seq))
        time.sleep(0.001)
    until(lambda: seq_of(scorer) == 301)  # readers that never pause do not keep commits out
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(seen) > 20
