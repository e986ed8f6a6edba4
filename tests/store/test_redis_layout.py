import numpy as np
import pytest
from redis.crc import key_slot
from store_oracle import rows

from streamrec.store.keys import Keys, Space, entry_id, entry_seq, last_id
from streamrec.store.parts import by_group, cut
from streamrec.store.rows import batch_commands, buckets_of, set_commands, space_bits

KEYS = Keys("m{1}:x")


def _parts(name: str) -> tuple[int, int]:
    first, second = name.split("-")
    return int(first), int(second)


def test_one_model_head_is_in_one_slot_and_its_rows_are_spread() -> None:
    model = [KEYS.head, KEYS.log, KEYS.tick, KEYS.blobs, KEYS.spaces, KEYS.pins, KEYS.trash]
    assert len({key_slot(key.encode()) for key in model}) == 1
    for bits in (8, 12):
        for number in range(0, 1 << bits, 37):
            group = number >> (bits - 8)
            assert key_slot(KEYS.bucket(5, bits, number).encode()) == key_slot(KEYS.fence(group).encode())
    assert len({key_slot(KEYS.fence(group).encode()) for group in range(256)}) > 250


def test_entries_grow_with_commit_epoch_and_part() -> None:
    names = [
        entry_id(seq, epoch, n) for seq in (1, 2, 10) for epoch in (1, 2, 900_000) for n in (0, 1, 2**20 - 1)
    ]
    assert [_parts(name) for name in names] == sorted(_parts(name) for name in names)
    assert len(set(names)) == len(names)
    assert entry_seq(b"10-77") == 10
    assert _parts(entry_id(3, 2**43, 5)) < _parts(last_id(3)) < _parts(entry_id(4, 1, 0))


def test_a_space_is_text_and_back() -> None:
    space = Space("wide é:1", True, 2, 12, 7, 99)
    assert Space.parse(space.field.encode(), space.value.encode()) == space


@pytest.mark.parametrize(
    ("count", "bits"), [(0, 8), (256 << 8, 8), ((256 << 8) + 1, 10), (5_000_000, 16), (10**9, 22)]
)
def test_the_ladder(count: int, bits: int) -> None:
    assert space_bits(count, 256) == bits


def test_commands_are_what_redis_expects() -> None:
    space = Space("t", False, 2, 8, 3, 0)
    ids = np.array([0x0102030405060708, 0x01FFFFFFFFFFFFFF, 0xFF00000000000000], np.uint64)
    first, second = set_commands(KEYS, space, ids, rows(ids, 1.0).rows)
    row = b"$8\r\n" + np.ones(2, "<f4").tobytes() + b"\r\n"
    key = KEYS.bucket(3, 8, 1).encode()
    assert first == (
        b"*6\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n" % (len(key), key)
        + b"$7\r\n\x02\x03\x04\x05\x06\x07\x08\r\n"
        + row
        + b"$7\r\n\xff\xff\xff\xff\xff\xff\xff\r\n"
        + row
    )
    assert second.startswith(b"*4\r\n$4\r\nHSET\r\n")


def test_a_batch_moves_rows_between_spaces() -> None:
    served, shadow = Space("t", False, 2, 8, 1, 0), Space("t", True, 2, 8, 2, 0)
    top = 1 << 56
    batch = batch_commands(
        KEYS, served, shadow, rows([top, 2 * top, 3 * top], 1.0, [False, True, False], deleted=[9 * top])
    )
    assert batch.effects == [("rt", 1, 2), ("rt", -1, 2), ("st", 1, 1), ("st", -1, 3)]
    assert batch.groups == [1, 2, 3, 9]
    assert batch_commands(KEYS, served, None, rows([top])).effects == [("rt", 1, 1), ("rt", -1, 0)]


@pytest.mark.parametrize(
    ("n", "k", "size"), [(0, 0, 3), (10, 0, 3), (0, 10, 3), (10, 4, 3), (4, 10, 3), (5, 5, 100)]
)
def test_cut_keeps_every_id_once_and_in_order(n: int, k: int, size: int) -> None:
    rng = np.random.default_rng(n + 31 * k)
    ids = rng.permutation(np.arange(1, n + k + 1, dtype=np.uint64) * np.uint64(2**57))
    whole = rows(np.sort(ids[:n]), 1.0, deleted=np.sort(ids[n:]))
    parts = list(cut(whole, size))
    np.testing.assert_array_equal(np.concatenate([part.ids for part in parts] or [whole.ids]), whole.ids)
    np.testing.assert_array_equal(
        np.concatenate([part.deleted for part in parts] or [whole.deleted]), whole.deleted
    )
    assert all(max(len(part.ids), len(part.deleted)) <= size for part in parts)


def test_buckets_are_the_top_bits() -> None:
    assert buckets_of(np.array([2**64 - 1, 2**63, 1], np.uint64), 10).tolist() == [1023, 512, 0]


def test_groups_keep_every_id_once_and_in_its_group() -> None:
    rng = np.random.default_rng(3)
    ids = np.sort(rng.integers(1, 2**64, 500, dtype=np.uint64))
    whole = rows(ids[::2], 1.0, deleted=[0, *ids[1::2].tolist(), 2**64 - 1])
    parts = list(by_group(whole))
    for kind in ("ids", "rows", "deleted"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, kind) for part in parts]), getattr(whole, kind)
        )
    for part in parts:
        assert len(set((np.concatenate([part.ids, part.deleted]) >> np.uint64(56)).tolist())) == 1
    assert list(by_group(rows([]))) == []
