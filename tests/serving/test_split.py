"""Who belongs to which arm: the shares are kept, and nobody moves who need not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch, UsageError
from streamrec.serving.split import BUCKETS, MOST_ARMS, Split, bucket_of, parse_shares
from streamrec.store.base import Setting

USERS = [f"u{n}" for n in range(4000)]


def drawn(split: Split) -> list[str]:
    return [split.arm_of("user", user) for user in USERS]


def test_shares_are_those_of_the_users() -> None:
    split = Split.alone("m").with_shares({"a": 20, "b": 12.5, "idea": 0})
    found = drawn(split)
    for arm, share in (("m", 67.5), ("a", 20), ("b", 12.5)):
        error = 100 * np.sqrt(share / 100 * (1 - share / 100) / len(USERS))
        assert 100 * found.count(arm) / len(USERS) == pytest.approx(share, abs=4 * error)
        assert split.share(arm) == share
    assert "idea" not in found


def test_who_need_not_move_stays() -> None:
    """An arm that grows takes from the champion, one that shrinks gives to it; no other arm notices."""
    before = Split.alone("m").with_shares({"a": 20, "b": 30})
    grown = before.with_shares({"a": 45})
    moved = {(x, y) for x, y in zip(drawn(before), drawn(grown), strict=True) if x != y}
    assert moved == {("m", "a")}
    back = grown.with_shares({"a": 20})
    assert drawn(back) == drawn(before)
    promoted = grown.promoted("a")
    moved = {(x, y) for x, y in zip(drawn(grown), drawn(promoted), strict=True) if x != y}
    assert moved == {("m", "a")}
    assert (promoted.champion, promoted.share("m"), promoted.share("a")) == ("a", 0, 70)
    removed = grown.without("b")
    assert {(x, y) for x, y in zip(drawn(grown), drawn(removed), strict=True) if x != y} == {("b", "m")}


def test_salts_and_kinds_draw_independently() -> None:
    def halves(salt: str, kind: str = "user") -> np.ndarray:
        return np.array([bucket_of(salt, kind, user) < BUCKETS // 2 for user in USERS])

    for one, other in (("a", "b"), ("a", "a:")):
        assert abs(np.corrcoef(halves(one), halves(other))[0, 1]) < 0.06
    assert abs(np.corrcoef(halves("a"), halves("a", "request"))[0, 1]) < 0.06


def test_an_assignment_is_for_ever() -> None:
    """Another hash would move all users of every running experiment."""
    assert [bucket_of("default", "user", user) for user in ("u1", "", "日本")] == [2776, 2339, 7666]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4000)), max_size=12))
def test_any_changes_keep_arms_apart(changes: list[tuple[str, int]]) -> None:
    split = Split.alone("m")
    for arm, hundredths in changes:
        try:
            split = split.with_shares({arm: hundredths / 100})
        except UsageError as error:
            assert "expected 100 at most" in str(error)  # noqa: PT017
            continue
        assert split.share(arm) == pytest.approx(hundredths / 100)
        stored = Split.stored("m", Setting(1, split.to_bytes(7)))  # refuses arms that overlap
        assert stored == split._replace(version=1, time_ms=7)


@pytest.mark.parametrize(
    ("shares", "error"),
    [
        ({"a": 60, "b": 50}, "shares of a, b: expected 100 at most together, got 110"),
        ({"a": 101}, "expected a share from 0 to 100 per cent with two decimals, got 101"),
        ({"a": -1}, "expected a share from 0 to 100"),
        ({"a": 0.005}, "with two decimals, got 0.005"),
        ({"a": float("nan")}, "expected a share from 0 to 100"),
        ({"m": 10}, "arm 'm': is the champion"),
        ({f"a{n}": 1 for n in range(MOST_ARMS)}, f"expected at most {MOST_ARMS} with the champion, got 9"),
    ],
)
def test_what_cannot_be_is_told(shares: dict[str, float], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        Split.alone("m").with_shares(shares)


@pytest.mark.parametrize("texts", [["a"], ["a="], ["=5"], ["a=x"], ["a=5", "a=6"]])
def test_shares_are_parsed_or_refused(texts: list[str]) -> None:
    assert parse_shares(["a=b=5", "c=shadow"]) == {"a=b": 5, "c": 0}
    with pytest.raises(UsageError, match=r"expected MODEL=SHARE|given twice"):
        parse_shares(texts)


def test_only_a_challenger_is_promoted() -> None:
    split = Split.alone("m").with_shares({"a": 5})
    with pytest.raises(UsageError, match="'m': is the champion; challengers of 'm': a"):
        split.promoted("m")
    with pytest.raises(UsageError, match="'x': is no arm"):
        split.without("x")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "arms of 'm' in the store"),
        (b'{"champion":"m","salt":"m","time_ms":0,"arms":{"a":[[0,10001]]}}', "less than or equal to 10000"),
        (b'{"champion":"m","salt":"m","time_ms":0,"arms":{"a":[[0,9]],"b":[[8,10]]}}', "that are apart"),
        (b'{"champion":"m","salt":"m","time_ms":0,"arms":{"a":[[9,9]]}}', "that are apart"),
    ],
)
def test_a_damaged_setting_is_refused(value: bytes, error: str) -> None:
    with pytest.raises(StoreMismatch, match=error):
        Split.stored("m", Setting(1, value))
