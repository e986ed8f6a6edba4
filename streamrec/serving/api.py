"""What goes in and out of the service: the models behind its OpenAPI document."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamrec.events.model import MAX_NAME_CHARS, MAX_TIME_MS, MIN_TIME_MS, FeatureValue

__all__ = [
    "EVENTS_IN_FLIGHT_BYTES",
    "IN_FLIGHT_BYTES",
    "MAX_BODY_BYTES",
    "MAX_CANDIDATES",
    "MAX_EVENTS",
    "MAX_EVENTS_BYTES",
    "Assigned",
    "Candidate",
    "Contribution",
    "EventFault",
    "EventsAnswer",
    "EventsProblem",
    "Explore",
    "Explored",
    "Features",
    "Health",
    "ModelState",
    "Problem",
    "RankRequest",
    "RankResponse",
    "RankedItem",
]

#: 10,000 candidates of 50 features each are some 10 MB of JSON.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Bodies of all requests to rank that are under way. What becomes of a body takes some ten times as much, of
#: four at a time.
IN_FLIGHT_BYTES = 64 * 1024 * 1024
#: Ranks after a retrieval step come with hundreds to a few thousand candidates.
MAX_CANDIDATES = 10_000
#: Events of one request: more gain nothing, and hold up those of others.
MAX_EVENTS = 10_000
#: Twice what so many events of 400 bytes have.
MAX_EVENTS_BYTES = 8 * 1024 * 1024
#: Of all requests that wait for their acknowledgement: what the producer's own queue holds.
EVENTS_IN_FLIGHT_BYTES = 32 * 1024 * 1024

#: As in `events.model`, without limits of size: the decoder checks these, here they would cost 2 ms.
Features = dict[Annotated[str, Field(max_length=MAX_NAME_CHARS)], FeatureValue]


class Candidate(BaseModel):
    """One item to be scored."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    item: str | None = Field(None, description="the item's id; echoed in the answer")
    features: Features = Field(
        {}, description="what is known of the item; wins over the request's feature of the same name"
    )


class Explore(BaseModel):
    """How to try what is not well known. With the log-odds s of an item and its confidence c:

    `upper` ranks by s + scale·c, `thompson` by s + scale·c·z with z drawn from N(0, 1), one for each
    candidate in the order of the request. Scale 0 is no exploration.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    policy: Literal["thompson", "upper"]
    scale: float = Field(1.0, ge=0, le=1000)
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**53,
        description="the same seed and request, the same draws; absent: one is drawn and told",
    )


class Explored(BaseModel):
    """What was explored, and how to draw the same again."""

    policy: Literal["thompson", "upper"]
    scale: float
    seed: int | None = Field(description="of `thompson`; `upper` draws nothing")


class Assigned(BaseModel):
    """How a request came to its arm."""

    by: Literal["user", "request", "forced", "fallback"] = Field(
        description="`user`, `request`: by the hash of its id; `forced`: it named the arm; `fallback`: its "
        "own arm cannot answer, so the champion does. Only the first two can be compared"
    )
    request: str | None = Field(
        description="of a request without a user: the id that it was drawn by; the same id, the same arm"
    )
    experiment: str = Field(description="the name under which the arms are served")
    version: int = Field(description="of the shares; 0: nobody has set any")


class RankRequest(BaseModel):
    """Who asks, in what situation, and what could be shown."""

    model_config = ConfigDict(
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "user": "u1",
                    "features": {"device": "phone", "hour": 20},
                    "candidates": [
                        {"item": "i1", "features": {"genres": ["drama", "war"]}},
                        {"item": "i2", "features": {"genres": ["comedy"]}},
                    ],
                    "k": 2,
                }
            ]
        },
    )

    user: str | None = Field(None, description="the user's id; absent: nobody in particular")
    features: Features = Field({}, description="features that all candidates share (user, situation)")
    candidates: list[Candidate] = Field(description="what to rank", max_length=MAX_CANDIDATES)
    k: int | None = Field(None, ge=1, le=MAX_CANDIDATES, description="how many to return; absent: all")
    time: int | None = Field(
        None,
        ge=MIN_TIME_MS,
        le=MAX_TIME_MS,
        description="milliseconds since 1970 UTC at which the scores shall hold; absent: now",
    )
    explain: bool = Field(False, description="add each feature's contribution (at most 100 items: set k)")
    request: str | None = Field(
        None, min_length=1, description="names this request, and draws its arm where there is no user"
    )
    arm: str | None = Field(None, description="the arm to answer; absent: that of the user")
    explore: Explore | None = Field(
        None, description="rank by more than the prediction; absent: by that alone"
    )


class Contribution(BaseModel):
    """How much one value of a feature or cross moves the score; of a rating model, the rating."""

    feature: str = Field(description="`field=value`, `a=x×b=y` of a cross; by occlusion, the field")
    contribution: float = Field(
        description="to the log-odds: by terms gain·weight·value, by occlusion the log-odds with the field "
        "minus that without it"
    )
    weight: float | None = Field(None, description="terms only, as all that follows")
    value: float | None = None
    confidence: float | None = Field(None, description="how far one more example can move the contribution")
    squared_gradients: float | None = Field(None, description="FTRL's n: Σ (w·(p − y)·x)² over its examples")
    count: float | None = Field(
        None,
        description="how many examples had it, weighted by their weights; `count_is` says how that is known",
    )
    count_is: Literal["counted", "estimated"] | None = Field(
        None,
        description="`counted` by its target statistics (halved with their half-life); else `estimated`: the "
        "squared gradients / (value² · mean squared error of the model)",
    )
    age_s: float | None = Field(
        None, description="since the last example with it, where statistics or expiry keep that"
    )


class RankedItem(BaseModel):
    """One candidate with its score."""

    item: str | None
    probability: float = Field(
        description="the model's prediction (of a rating model, the rating), a float32 printed exactly"
    )
    confidence: float = Field(
        description="how far one more example can move the log-odds at most (small: well known); a float32"
    )
    propensity: float | None = Field(
        None, description="with `explore`: of the first item, the probability over all seeds to be the first"
    )
    method: Literal["terms", "occlusion"] | None = Field(
        None, description="with `explain`. `terms`: offset and contributions add up to the log-odds"
    )
    logit: float | None = Field(None, description="with `terms`: before what delayed feedback corrects")
    offset: float | None = Field(None, description="with `terms`: that of the base rate so far")
    gain: float | None = Field(None, description="with `terms`: how far the evidence is trusted")
    contributions: list[Contribution] | None = Field(None, description="with `explain`, largest first")


class RankResponse(BaseModel):
    """The candidates by falling probability, or as explored; equal ones in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [{"item": "i1", "probability": 0.25, "confidence": 0.5, "contributions": None}],
                    "model": "default",
                    "seq": 1200,
                    "epoch": 3,
                    "staleness_ms": 85,
                }
            ]
        }
    )

    items: list[RankedItem]
    explored: Explored | None = Field(None, description="with `explore`")
    arm: str | None = Field(
        None, description="the arm that answers: write it into the impressions; absent without arms"
    )
    assigned: Assigned | None = None
    model: str = Field(description="name of the model")
    seq: int = Field(description="sequence number of the commit from which every score was computed")
    epoch: int = Field(description="epoch of the learner that made the commit")
    staleness_ms: int = Field(
        description="age of that commit: it grows while the learner has nothing to commit"
    )


class ModelState(BaseModel):
    """What the scorer holds."""

    name: str
    kind: str | None = Field(description="kind of model (`ftrl`, …)")
    retrieves: bool = Field(description="whether `/v1/retrieve` and `/v1/recommend` find its items")
    seq: int
    epoch: int
    time_ms: int = Field(description="when the learner made the commit, milliseconds since 1970 UTC")
    staleness_ms: int
    weights: int | None = Field(
        description="rows in memory, all tables; rows without influence are not served"
    )
    tables: dict[str, int] = Field(description="rows by table")
    position: dict[str, int] | None = Field(description="by partition, how far the stream is learned in it")
    metrics: dict[str, Any] | None = Field(description="the learner's progressive metrics of the same commit")
    spec: Any = Field(description="settings and frozen feature spec of the same commit")
    stopped: str | None = Field(None, description="why guards stopped learning; null while it goes on")


class Health(BaseModel):
    """Whether the process lives, or may be asked."""

    status: str = Field(description="`ok`, or why not")


class Problem(BaseModel):
    """An error, as RFC 9457 (`application/problem+json`) has it."""

    type: str = "about:blank"
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what, where, expected, got; one line")


class EventFault(BaseModel):
    """One event that was not taken."""

    index: int = Field(description="its place in the list, or among the lines that are not blank, from 0")
    reason: str = Field(description="what is wrong, expected, got; as in the dead letters")


class EventsAnswer(BaseModel):
    """What became of the events of one request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"accepted": 2, "errors": [{"index": 1, "reason": "time: Field required"}]}]
        }
    )

    accepted: int = Field(description="how many are acknowledged by the transport: none of them gets lost")
    errors: list[EventFault] = Field(
        description="those that were not taken; do not send them again as they are"
    )


class EventsProblem(Problem):
    """None of the events was taken."""

    errors: list[EventFault] = Field([], description="why not, one by one; absent where the body is no JSON")
