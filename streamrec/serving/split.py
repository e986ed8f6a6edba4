"""Which arm a request belongs to: shares of users between a champion and its challengers.

An arm is a model of the store. Users fall into 10,000 buckets by a keyed hash that nothing else uses; an arm
owns intervals of buckets, and the champion has what nobody owns. So a user stays with an arm while shares
change: an arm that grows takes buckets from the champion, one that shrinks gives its last ones back, and
no other arm notices. Another salt is another experiment: everybody is drawn anew, independently of before.

A split is a setting of the store (`store.base.Setting`): operators change it by compare-and-set, scorers
follow it. An arm without buckets is a shadow: ready, asked by nobody who does not name it.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import isfinite
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamrec.errors import StoreMismatch, UsageError
from streamrec.store.base import Setting

__all__ = ["BUCKETS", "MOST_ARMS", "Split", "bucket_of", "parse_shares", "setting_name"]

#: Shares are told to a hundredth of a per cent.
BUCKETS = 10_000
#: Arms of one experiment, the champion among them: each is a whole model in the memory of every scorer.
MOST_ARMS = 8

Interval = tuple[Annotated[int, Field(ge=0, lt=BUCKETS)], Annotated[int, Field(gt=0, le=BUCKETS)]]


class _Stored(BaseModel):
    """What the store has."""

    model_config = ConfigDict(extra="ignore")

    champion: Annotated[str, Field(min_length=1)]
    salt: str
    arms: dict[str, list[Interval]] = Field(max_length=MOST_ARMS - 1)
    time_ms: int


class Split(NamedTuple):
    """A state of an experiment."""

    version: int  # 0: nobody has set one
    champion: str
    salt: str
    arms: Mapping[str, tuple[tuple[int, int], ...]]  # challengers: [from, to) of buckets
    time_ms: int  # when it was changed

    @classmethod
    def alone(cls, model: str) -> "Split":
        """One model for everybody.

        >>> Split.alone("m").arm_of("user", "u1")
        'm'
        """
        return cls(0, model, model, {}, 0)

    @property
    def models(self) -> list[str]:
        """All arms, the champion first."""
        return [self.champion, *self.arms]

    def share(self, arm: str) -> float:
        """Per cent of the users that an arm has, 0 to 100."""
        if arm == self.champion:
            return round(100.0 - sum(map(self.share, self.arms)), 2)
        return 100.0 * sum(to - start for start, to in self.arms[arm]) / BUCKETS

    def arm_of(self, kind: str, key: str) -> str:
        """The arm of a user or a request.

        Args:
            kind: `user` or `request`: what the key names; the same text is another draw as the other.
            key: its id.

        """
        bucket = bucket_of(self.salt, kind, key)
        for arm, intervals in self.arms.items():
            if any(start <= bucket < to for start, to in intervals):
                return arm
        return self.champion

    def with_shares(self, shares: Mapping[str, float]) -> "Split":
        """The same with other shares for these challengers, new ones perhaps; others keep theirs.

        Raises:
            UsageError: a share that is none, more than 100 together, too many arms, or the champion's own.

        """
        arms = dict(self.arms)
        for arm, share in shares.items():
            if arm == self.champion:
                raise UsageError(
                    f"arm {arm!r}: is the champion, which has what the others leave: set the others' shares"
                )
            arms.setdefault(arm, ())
            arms[arm] = _cut(arms[arm], _n_buckets(arm, share))
        if len(arms) >= MOST_ARMS:
            raise UsageError(f"arms: expected at most {MOST_ARMS} with the champion, got {len(arms) + 1}")
        total = sum(shares.get(arm, self.share(arm) if arm in self.arms else 0.0) for arm in arms)
        if total > 100.0 + 1e-9:
            raise UsageError(f"shares of {', '.join(arms)}: expected 100 at most together, got {total:g}")
        for arm, share in shares.items():
            arms[arm] = _grown(arms, arm, _n_buckets(arm, share))
        return self._replace(arms=arms)

    def without(self, arm: str) -> "Split":
        """The same without a challenger; its users go to the champion.

        Raises:
            UsageError: it is none.

        """
        self.check(arm)
        return self._replace(arms={name: its for name, its in self.arms.items() if name != arm})

    def promoted(self, arm: str) -> "Split":
        """A challenger is the champion; the one before is a shadow, so that going back is at once.

        Raises:
            UsageError: it is no challenger.

        """
        rest = self.without(arm)
        return rest._replace(champion=arm, arms={**rest.arms, self.champion: ()})

    def check(self, arm: str) -> None:
        """See that it is a challenger.

        Raises:
            UsageError: it is none.

        """
        if arm not in self.arms:
            known = ", ".join(self.arms) or "none"
            text = "is the champion" if arm == self.champion else "is no arm"
            raise UsageError(f"arm {arm!r}: {text}; challengers of {self.champion!r}: {known}")

    def to_bytes(self, time_ms: int) -> bytes:
        """As the store keeps it, changed now."""
        its = {"champion": self.champion, "salt": self.salt, "arms": self.arms, "time_ms": time_ms}
        return json.dumps(its).encode()

    @classmethod
    def stored(cls, name: str, setting: Setting) -> "Split":
        """What a setting holds; of one that was never set, the model of the experiment's name alone.

        Raises:
            StoreMismatch: it cannot be read.

        """
        if not setting.version:
            return cls.alone(name)
        try:
            its = _Stored.model_validate_json(setting.value)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "it"
            raise StoreMismatch(f"arms of {name!r} in the store: {place}: {fault['msg']}") from None
        taken = sorted(interval for intervals in its.arms.values() for interval in intervals)
        if any(start >= to for start, to in taken) or any(a[1] > b[0] for a, b in pairwise(taken)):
            raise StoreMismatch(
                f"arms of {name!r} in the store: expected intervals of buckets that are apart"
            )
        arms = {arm: tuple(intervals) for arm, intervals in its.arms.items() if arm != its.champion}
        return cls(setting.version, its.champion, its.salt, arms, its.time_ms)


def setting_name(experiment: str) -> str:
    """The store's name of the split of an experiment, which is the name under which it is served."""
    return f"arms:{experiment}"


def bucket_of(salt: str, kind: str, key: str) -> int:
    """The bucket, 0 to 9,999: BLAKE2b (RFC 7693) with the salt as its key, independent of all other ids.

    >>> bucket_of("a", "user", "u1") == bucket_of("a", "user", "u1") != bucket_of("b", "user", "u1")
    True
    """
    digest = blake2b(
        f"{kind}:{key}".encode(errors="surrogatepass"),
        digest_size=8,
        key=_salted(salt),
        person=b"streamrec arms",
    )
    return int.from_bytes(digest.digest(), "little") % BUCKETS


@lru_cache(64)
def _salted(salt: str) -> bytes:
    return blake2b(salt.encode(errors="surrogatepass")).digest()


def parse_shares(texts: Iterable[str]) -> dict[str, float]:
    """Shares in per cent from NAME=SHARE, where `shadow` stands for 0.

    Raises:
        UsageError: not of this form.

    >>> parse_shares(["challenger=12.5", "idea=shadow"])
    {'challenger': 12.5, 'idea': 0.0}
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, equals, share = text.rpartition("=")
        try:
            value = 0.0 if share == "shadow" else float(share)
        except ValueError:
            value, equals = 0.0, ""
        if not name or not equals:
            raise UsageError(
                f"arm {text!r}: expected MODEL=SHARE in per cent or MODEL=shadow, as challenger=20"
            )
        if name in shares:
            raise UsageError(f"arm {name!r}: given twice")
        shares[name] = value
    return shares


def _n_buckets(arm: str, share: float) -> int:
    n = round(share * BUCKETS / 100) if isfinite(share) else -1
    if not 0 <= n <= BUCKETS or abs(n - share * BUCKETS / 100) > 1e-6:
        raise UsageError(
            f"arm {arm!r}: expected a share from 0 to 100 per cent with two decimals, got {share}"
        )
    return n


def _cut(intervals: tuple[tuple[int, int], ...], n: int) -> tuple[tuple[int, int], ...]:
    """The first n buckets of an arm, in the order in which it came by them."""
    kept: list[tuple[int, int]] = []
    for start, to in intervals:
        if n > 0:
            kept.append((start, min(to, start + n)))
            n -= to - start
    return tuple(kept)


def _grown(arms: Mapping[str, tuple[tuple[int, int], ...]], arm: str, n: int) -> tuple[tuple[int, int], ...]:
    """An arm with n buckets: those that it has, then the first that nobody has."""
    taken = sorted(interval for its in arms.values() for interval in its)
    mine, at = list(arms[arm]), 0
    n -= sum(to - start for start, to in mine)
    for start, to in [*taken, (BUCKETS, BUCKETS)]:
        if n > 0 and start > at:
            size = min(start - at, n)
            mine.append((at, at + size))
            n -= size
        at = max(at, to)
    return tuple(mine)
