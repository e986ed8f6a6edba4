"""How far a model has come: what every commit stores beside the parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamrec.errors import StoreMismatch

__all__ = ["POSITION", "PROGRESS", "REJECTS", "Progress"]

#: Names of blobs in a commit.
PROGRESS, POSITION, REJECTS = "progress", "position", "rejects"


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
        rejects: by name of the place, how far the dead letters were written.
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
    rejects: dict[str, Any] = field(default_factory=dict)
    predictions_bytes: int | None = None
    first_time_ms: int | None = None
    last_time_ms: int | None = None

    def blobs(self) -> dict[str, bytes]:
        """As a commit stores it; of the dead letters `rejects_blob` does, since they may be known later."""
        everything = dict(vars(self))  # `asdict` would copy all that is in it, for half a millisecond
        position = everything.pop("position")
        everything.pop("rejects")
        return {PROGRESS: _json(everything), POSITION: _json(position)}

    @staticmethod
    def rejects_blob(rejects: Mapping[str, Any]) -> dict[str, bytes]:
        """The blob of the dead letters."""
        return {REJECTS: _json(rejects)}

    @classmethod
    def from_blobs(cls, blobs: Mapping[str, bytes]) -> "Progress":
        """What `blobs` gave.

        Raises:
            StoreMismatch: stored by another version.

        """
        try:
            rejects = json.loads(blobs.get(REJECTS, b"{}"))
            return cls(position=json.loads(blobs[POSITION]), rejects=rejects, **json.loads(blobs[PROGRESS]))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreMismatch(
                f"stored progress cannot be read ({error}): start over with --fresh"
            ) from None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
