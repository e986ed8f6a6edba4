"""What the users of each arm saw and clicked, from impressions that name their arm and clicks on these.

An impression counts when it is shown, a click where it comes within the window, once for an impression. What
names no arm is left out: it was not drawn by lot. So are users that were in more than one arm, which happens
when shares are changed: they saw both.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from pydantic_core import from_json

from streamrec.evaluation.online import Arm, arm_of
from streamrec.events.block import CLICK, IMPRESSION
from streamrec.join.decode import Decoded

__all__ = ["Exposures", "Seen"]

#: Impressions that a click may still find, at least; twice as many at most.
MEMORY = 2**20


class Seen(NamedTuple):
    """The arms of a stream."""

    arms: Mapping[str, Arm]  # by name, those with two users or more; users of several arms left out
    mixed_users: int  # that were in several


class Exposures:
    """Counts impressions and clicks by arm and user.

    Args:
        window_ms: how much later than its impression a click counts, milliseconds.
        since_ms: impressions before this are left out.

    """

    def __init__(self, window_ms: int, since_ms: int = 0) -> None:
        self._window_ms, self._since_ms = window_ms, since_ms
        self._rows: dict[tuple[int, str], int] = {}
        self._impressions: list[int] = []
        self._clicks: list[int] = []
        #: (row, time) of impressions by key, the newer and the older ones; a row of −1 is clicked.
        self._open: dict[int, tuple[int, int]] = {}
        self._older: dict[int, tuple[int, int]] = {}

    def add(self, stream: Iterable[Decoded | None]) -> "Exposures":
        """Count a stream to its end."""
        for decoded in stream:
            if decoded is not None:
                self._add(decoded)
        return self

    def seen(self) -> Seen:
        """What was counted so far."""
        n_arms: dict[int, int] = {}
        for user, _ in self._rows:
            n_arms[user] = n_arms.get(user, 0) + 1
        rows: dict[str, list[int]] = {}
        for (user, arm), row in self._rows.items():
            if n_arms[user] == 1:
                rows.setdefault(arm, []).append(row)
        impressions, clicks = np.array(self._impressions), np.array(self._clicks)
        arms = {
            arm: arm_of(impressions[its], clicks[its]) for arm, its in sorted(rows.items()) if len(its) > 1
        }
        return Seen(arms, sum(n > 1 for n in n_arms.values()))

    def _add(self, decoded: Decoded) -> None:
        block = decoded.block
        chosen = np.flatnonzero((block.type == IMPRESSION) | (block.type == CLICK))
        columns = (block.type, block.time_ms, block.key, block.user, block.impression)
        for i, (kind, time_ms, key, user, impression) in zip(
            chosen.tolist(), zip(*(column[chosen].tolist() for column in columns), strict=True), strict=True
        ):
            if kind == CLICK:
                self._click(impression, time_ms)
            elif time_ms >= self._since_ms and (arm := _arm(decoded.line(i))) is not None:
                self._impression(key, user, arm, time_ms)

    def _impression(self, key: int, user: int, arm: str, time_ms: int) -> None:
        if key in self._open or key in self._older:
            return  # sent twice
        row = self._rows.setdefault((user, arm), len(self._impressions))
        if row == len(self._impressions):
            self._impressions.append(0)
            self._clicks.append(0)
        self._impressions[row] += 1
        if len(self._open) >= MEMORY:
            self._open, self._older = {}, self._open
        self._open[key] = row, time_ms

    def _click(self, key: int, time_ms: int) -> None:
        for known in (self._open, self._older):
            row, shown_ms = known.get(key, (-1, 0))
            if row >= 0 and 0 <= time_ms - shown_ms <= self._window_ms:
                self._clicks[row] += 1
                known[key] = -1, shown_ms


def _arm(line: bytes) -> str | None:
    """The arm that an impression names: read again, as no column of a block has it."""
    if b'"arm"' not in line:  # no event of ours writes escapes in names of fields
        return None
    arm = from_json(line).get("arm")
    return arm if isinstance(arm, str) else None
