"""What the user may choose about joining."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["JoinSettings"]


class JoinSettings(BaseModel):
    """How impressions, clicks and ratings become labelled examples.

    Memory is bounded by `memory_events`, counted in events of the stream: an event's id is remembered for
    that many events at least and twice as many at most, and an impression (or a click that waits for its
    impression) that is still open `memory_events` events after it arrived is closed then, as if its window
    were over. `Joiner.counts` has the number of these as `closed_early`: when it grows, the window does not
    fit the memory. An open impression costs 120 to 240 bytes and 13 to 26 for every feature value, a
    remembered id 12 to 48.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["click", "rating"] = "click"
    """click: label 1 for a click and for a rating of at least `positive_rating`. rating: the number."""
    window_ms: int = Field(600_000, ge=0, le=10**14)
    """A click counts when its time is at most this far from its impression's, milliseconds."""
    positive_rating: float = Field(4.0, allow_inf_nan=False)
    """Lowest rating that is a positive for the click task."""
    memory_events: int = Field(2**20, ge=1, le=2**30)
    """Events after which ids may be forgotten and open impressions are closed."""
    max_jump_ms: int = Field(86_400_000, ge=0, le=10**14)
    """An event further ahead of event time than this moves it only once 16 confirm it, milliseconds."""
