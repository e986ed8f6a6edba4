"""What the live page is made of: the models behind its endpoints in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel, Field

__all__ = [
    "AlarmLine",
    "Crosses",
    "Curves",
    "HistoryAnswer",
    "HistoryPoint",
    "NamedWeight",
    "Pair",
    "Weights",
]

_EARLIER = "milliseconds since 1970 UTC"


class HistoryPoint(BaseModel):
    """One commit. Metrics are of predictions made before learning, over about the last 10,000 examples."""

    seq: int
    epoch: int
    time_ms: int = Field(description=f"when the learner made the commit, {_EARLIER}")
    events: int | None = Field(description="records read so far, rejected ones included")
    examples: int | None = Field(description="examples learned so far")
    rejected: int | None = Field(description="records so far that could not be used")
    event_time_ms: int | None = Field(description=f"time of the newest event learned, {_EARLIER}")
    ne: float | None = Field(description="normalised entropy; 1 is knowing the base rate only")
    auc: float | None
    log_loss: float | None
    calibration: float | None = Field(description="mean prediction / mean label")
    rmse: float | None


class AlarmLine(BaseModel):
    """What one of the learner's guards has found."""

    text: str
    example: int | None = Field(
        description="number of the example at which it came to light, where it has one"
    )


class HistoryAnswer(BaseModel):
    """What the scorer saw go by: at most one commit a second, the last 600."""

    model: str
    kind: str | None
    ready: bool
    reason: str = Field(description="why it is not ready; empty where it is")
    seq: int = Field(description="commit that is served now")
    epoch: int
    staleness_ms: int = Field(description="its age")
    loads: int = Field(description="generations built from the store; 1 after a start")
    alarms: list[AlarmLine] = Field(description="the last ones of the commit that is served, oldest first")
    points: list[HistoryPoint] = Field(description="oldest first")


class Curves(BaseModel):
    """Learning curves over the model's whole life, as the learner commits them; one list a curve."""

    examples: list[int] = Field(description="examples learned at each point, at most 256 points")
    ne: list[float | None]
    auc: list[float | None]
    log_loss: list[float | None]
    calibration: list[float | None]
    rmse: list[float | None]


class NamedWeight(BaseModel):
    """One value of a feature or cross."""

    id: str = Field(description="its 64-bit hash, 16 hexadecimal digits")
    name: str | None = Field(description="where it was in a request of late; ids alone do not tell")
    weight: float


class Weights(BaseModel):
    """The largest weights. The look at all rows takes up to a second, and spans the commits of that time."""

    seq: int = Field(description="commit at which the look ended")
    epoch: int
    measure: str = Field(description="what the numbers are")
    rows: int = Field(description="how many were looked at")
    weights: list[NamedWeight] = Field(description="largest by absolute value first, at most 30")


class Pair(BaseModel):
    """Two fields."""

    fields: list[str]
    strength: float


class Crosses(BaseModel):
    """How strongly fields act together."""

    seq: int = Field(description="commit at which the look ended")
    epoch: int
    reason: str = Field(description="why nothing is shown; empty where something is")
    examples: int = Field(description="candidates scored of late over which it was seen; 0: without any")
    measure: str = Field("", description="what the numbers are")
    fields: list[str] = Field([], description="the rows and columns")
    strength: list[list[float]] = Field([], description="symmetric; on the diagonal a field alone")
    pairs: list[Pair] = Field([], description="different fields, strongest first")

    @classmethod
    def of(cls, found: dict[str, Any] | None, **about: Any) -> "Crosses":
        """From `CrossStrengths.as_json`, or from nothing."""
        return cls(**about, **(found or {}))
