"""What the user may choose about joining."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["JoinSettings"]


class JoinSettings(BaseModel):
    """How impressions, clicks and ratings become labelled examples.

    Memory is bounded by `memory_events`, counted in events of the stream: an event's id is remembered for
    that many events at least and twice as many at most, and an impression (or a click that waits for its
    impression) that is still open `memory_events` events after it arrived is closed then, as if its time
    were over. `Joiner.counts` has the number of these as `closed_early`: when it grows, the window does not
    fit the memory. An open impression costs 120 to 240 bytes and 13 to 26 for every feature value, a
    remembered id 12 to 48.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["click", "rating"] = "click"
    """click: label 1 for a click and for a rating of at least `positive_rating`. rating: the number."""
    window_ms: int = Field(600_000, ge=0, le=10**14)
    """A click counts when its time is at most this far from its impression's, milliseconds."""
    feedback: Literal["wait", "early"] = "early"
    """When an impression without a click becomes a negative. wait: once its window is over. early: when it
    arrives, and a click then corrects it; where labels are numbers (the rating task), as wait."""
    late_ms: int = Field(600_000, ge=0, le=10**14)
    """For so long after the window a click still corrects what was given as a negative, milliseconds; it is
    refused after that. Impressions are kept for as long."""
    negative_rate: float = Field(1.0, ge=1e-6, le=1)
    """Share of the negatives that is given, each with 1 / rate of its weight; which ones is decided by a hash
    of the impression's id. Ratings and examples come labelled and are all given."""
    arrivals: bool = False
    """Give every impression once more when it arrives, to be predicted and not to be learned: what is
    measured is then that prediction, for negatives that are left out too. It costs a second prediction."""
    breaker: float = Field(30.0, ge=0, allow_inf_nan=False)
    """When no click came for so many impressions that this many were to be expected, by the share of clicked
    impressions so far, the clicks have stopped and not the interest: nothing becomes a negative until they
    are back. 0: never."""
    breaker_ms: int = Field(1000, ge=0, le=10**14)
    """So much event time must also have gone by since the last click, milliseconds: at thousands of events a
    second, clicks that took another way to the broker are behind by as many as `breaker` at any moment."""
    positive_rating: float = Field(4.0, allow_inf_nan=False)
    """Lowest rating that is a positive for the click task."""
    memory_events: int = Field(2**20, ge=1, le=2**30)
    """Events after which ids may be forgotten and open impressions are closed."""
    max_jump_ms: int = Field(86_400_000, ge=0, le=10**14)
    """An event further ahead of event time than this moves it only once 16 confirm it, milliseconds."""

    @property
    def reach_ms(self) -> int:
        """The longest that a click may come after its impression, late ones included."""
        return self.window_ms + self.late_ms
