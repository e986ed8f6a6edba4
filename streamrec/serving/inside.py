"""What a model holds, for people: its largest weights by name, and which fields act together.

A look at ten million rows takes a second, so it is taken beside the requests: in a thread of its own when
somebody asks and the last one is old, a segment of a table at a time, with all other readers in between. It
spans the commits of that second. Names come from what was scored of late (`serving.seen`).
"""

import logging
from collections.abc import Sequence
from threading import Lock, Thread
from typing import Any, NamedTuple

from streamrec.clock import Clock
from streamrec.errors import StoreUnavailable, StreamrecError
from streamrec.serving.scorer import Scorer

__all__ = ["Inside", "Look"]

#: A look is good for so long: people read no faster.
GOOD_FOR_S = 2.0
#: The first asker waits so long for a small model's first look.
PATIENCE_S = 0.25
#: Of the largest weights, and most names remembered.
N_WEIGHTS, _MOST_NAMES = 30, 100_000

log = logging.getLogger("streamrec.serving")


class Look(NamedTuple):
    """What was found."""

    seq: int  # of the commit at which the look ended
    epoch: int
    measure: str  # what the numbers of the weights are
    rows: int
    weights: Sequence[dict[str, Any]]  # as `api_live.NamedWeight`, largest first
    crosses: dict[str, Any] | None  # as `evaluation.crosses.CrossStrengths.as_json`
    no_crosses: str  # why there are none
    examples: int  # scored of late, over which the crosses were seen


class Inside:
    """Looks into the model of a scorer.

    Args:
        scorer: whose model it is.
        clock: for the age of a look.

    """

    def __init__(self, scorer: Scorer, clock: Clock) -> None:
        self._scorer, self._clock = scorer, clock
        self._look: Look | None = None
        self._due_s = -1.0
        self._thread: Thread | None = None
        self._lock = Lock()
        self._names: dict[int, str] = {}
        self._read = 0  # number of the newest request whose names are known

    def look(self) -> Look:
        """The newest look; starts another where that one is old.

        Raises:
            StoreUnavailable: there is none yet.

        """
        with self._lock:
            if self._thread is None and self._clock.monotonic_s() >= self._due_s:
                self._thread = Thread(target=self._run, name="streamrec-look", daemon=True)
                self._thread.start()
            thread = self._thread
        if self._look is None and thread is not None:
            thread.join(PATIENCE_S)
        if self._look is None:
            raise StoreUnavailable(self._scorer.status().reason or "the model is being looked at")
        return self._look

    def _run(self) -> None:
        try:
            self._look = self._found()
        except StreamrecError as error:
            log.debug("no look into model %r: %s", self._scorer.model, error)
        except Exception:  # of a damaged model; the next asker tries again
            log.warning("no look into model %r", self._scorer.model, exc_info=True)
        finally:
            self._due_s, self._thread = self._clock.monotonic_s() + GOOD_FOR_S, None

    def _found(self) -> Look:
        from streamrec.serving.crosses import seen_crosses  # compiled code: loaded with the first model
        from streamrec.serving.weights import largest, names_of

        with self._scorer.reading():
            pass  # no model, no look
        self._read, lines = self._scorer.seen.after(self._read)
        found = names_of(self._scorer, lines)
        if len(self._names) + len(found) > _MOST_NAMES:
            self._names.clear()
        self._names |= found
        weights = largest(self._scorer, N_WEIGHTS)
        crosses = seen_crosses(self._scorer, self._scorer.seen.after(0)[1])
        named = [weight | {"name": self._names.get(int(weight["id"], 16))} for weight in weights.top]
        with self._scorer.reading() as (_, version):
            return Look(version.seq, version.epoch, weights.measure, weights.rows, named, *crosses)
