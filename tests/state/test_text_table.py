"""Texts in rows: any text comes back, through changes, commits and every store."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch
from streamrec.state.rows import Rows
from streamrec.state.text import MAX_TEXT_BYTES, TextTable
from streamrec.store.base import Commit
from streamrec.store.memory import MemoryStore
from streamrec.store.redis import RedisStore

TEXTS = st.one_of(
    st.binary(max_size=130), st.sampled_from([b"", b"\xff\xff\xff\x7f" * 10, b"x" * 36, b"x" * 37])
)
CHANGES = st.lists(st.tuples(st.integers(1, 5), st.one_of(st.none(), TEXTS)), max_size=30)


def changed(table: TextTable) -> Rows:
    ids, rows, gone = table.take_changed()
    return Rows(ids, rows, np.zeros(len(ids), np.bool_), gone)


@settings(max_examples=60, deadline=None)
@given(CHANGES, st.integers(1, 7))
def test_what_was_put_last_is_there_and_in_every_copy(
    changes: list[tuple[int, bytes | None]], every: int
) -> None:
    table, copy, expected = TextTable(), TextTable(), dict[int, bytes]()
    ids = np.arange(1, 6, dtype=np.uint64)
    for n, (identity, text) in enumerate(changes):
        if text is None:
            table.drop(np.array([identity], np.uint64))
            expected.pop(identity, None)
        else:
            table.put([identity], [text])
            expected[identity] = text
        if n % every == 0:
            rows = changed(table)
            copy.delete(rows.deleted, changed=False)
            copy.upsert(rows.ids, rows.rows, changed=False)
            assert copy.texts(ids) == table.texts(ids) == [expected.get(i) for i in range(1, 6)]
            assert copy.digest() == table.digest()
            assert len(table) == sum(max(1, -(-len(text) // 36)) for text in expected.values())


@pytest.mark.parametrize("kind", ["memory", pytest.param("redis", marks=pytest.mark.integration)])
def test_bits_survive_a_store(kind: str, request: pytest.FixtureRequest) -> None:
    """Also those that would be signalling NaNs, which arithmetic would change; from rows and from the log."""
    store = MemoryStore("text") if kind == "memory" else RedisStore(request.getfixturevalue("redis_url"))
    texts = [b"\x01\x00\x80\x7f" * n for n in range(60)] + ["Amélie (2001) 😀".encode(), bytes(range(256))]
    table, ids = TextTable(), list(range(1, 63))
    table.put(ids, texts)
    name = f"text-{np.random.default_rng().integers(2**62)}"
    lease = store.acquire(name, fresh=True)
    lease.commit(Commit(1, {"names": changed(table)}, {}, 1))
    lease.flush()
    table.put([1], [b"changed" * 20])
    table.drop(np.array([62], np.uint64))
    lease.commit(Commit(2, {"names": changed(table)}, {}, 2))
    copy = TextTable()
    for _, rows in store.load(name).pieces:
        copy.delete(rows.deleted, changed=False)
        copy.upsert(rows.ids, rows.rows, changed=False)
    assert copy.texts(np.array(ids, np.uint64)) == [b"changed" * 20, *texts[1:61], None]
    lease.close()
    store.close()


def test_the_last_of_one_call_counts_and_long_ones_are_refused() -> None:
    table = TextTable()
    table.put([3, 3], [b"y" * 200, b"short"])
    assert table.texts(np.array([3], np.uint64)) == [b"short"]
    assert len(table) == 1
    with pytest.raises(ValueError, match="at most, got 2097153"):
        table.put([4], [b"x" * (MAX_TEXT_BYTES + 1)])


def test_further_rows_are_no_texts() -> None:
    table = TextTable()
    table.put([3, 4], [b"\x05\0\0\0hello" * 40, b""])
    ids = np.concatenate([ids for ids, _ in table.pieces()])
    assert len(ids) == 10 + 1
    assert sorted(ids[table.has(ids)].tolist()) == [3, 4]
    assert [text for text in table.texts(ids) if text is not None] in (
        [b"\x05\0\0\0hello" * 40, b""],
        [b"", b"\x05\0\0\0hello" * 40],
    )


def test_rows_that_nobody_wrote_are_refused() -> None:
    table = TextTable()
    table.put([3], [b"y" * 100])
    missing = TextTable()
    missing.upsert(np.array([3], np.uint64), table.get(np.array([3], np.uint64))[0])
    with pytest.raises(StoreMismatch, match="missing"):
        missing.texts(np.array([3], np.uint64))
    missing.upsert(np.array([4], np.uint64), np.full((1, 10), 1, np.float32))
    with pytest.raises(StoreMismatch, match="expected at most"):
        missing.texts(np.array([4], np.uint64))
