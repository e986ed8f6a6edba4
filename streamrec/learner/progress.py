"""How far a model has come: what every commit stores beside the parameters."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from streamrec.errors import StoreMismatch

__all__ = ["POSITION", "PROGRESS", "Progress"]

#: Names of blobs in a commit.
PROGRESS, POSITION = "progress", "position"


@dataclass
class Progress:
    """Counters and places that belong to one commit.

    Attributes:
        position: partition → offset of the next record to learn.
        joiners: stream → the joiner's checkpoint, from which its state is rebuilt.
        names: of streams and partitions, by the numbers that `Order` has for them.
        events: records read, rejected ones included.
        examples: examples learned.
        rejected: records that could not be used.
        rejects_bytes: size of the dead-letter file; None where no run so far wrote one.
        predictions_bytes: size of the predictions file; None where no run so far wrote one.
        first_time_ms: event time of the first example learned.
        last_time_ms: event time of the newest one.

    """

    position: dict[str, int] = field(default_factory=dict)
    joiners: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    events: int = 0
    examples: int = 0
    rejected: int = 0
    rejects_bytes: int | None = None
    predictions_bytes: int | None = None
    first_time_ms: int | None = None
    last_time_ms: int | None = None

    def blobs(self) -> dict[str, bytes]:
        """As a commit stores it."""
        everything = asdict(self)
        position = everything.pop("position")
        return {PROGRESS: _json(everything), POSITION: _json(position)}

    @classmethod
    def from_blobs(cls, blobs: Mapping[str, bytes]) -> "Progress":
        """What `blobs` gave.

        Raises:
            StoreMismatch: stored by another version.

        """
        try:
            return cls(position=json.loads(blobs[POSITION]), **json.loads(blobs[PROGRESS]))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreMismatch(
                f"stored progress cannot be read ({error}): start over with --fresh"
            ) from None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
