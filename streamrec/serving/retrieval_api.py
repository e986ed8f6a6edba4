"""What goes in and out of `/v1/retrieve` and `/v1/recommend`: the models behind their OpenAPI document."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from streamrec.events.model import MAX_NAME_CHARS, MAX_TIME_MS, MIN_TIME_MS
from streamrec.serving.api import Assigned, Features

__all__ = [
    "MAX_EXCLUDED",
    "MAX_RETRIEVAL_BYTES",
    "MAX_RETRIEVED",
    "Condition",
    "Exclusion",
    "RecommendRequest",
    "RecommendResponse",
    "RecommendedItem",
    "RetrieveRequest",
    "RetrieveResponse",
    "RetrievedItem",
]

#: Items of one answer: more than a ranker takes in the time of a request.
MAX_RETRIEVED = 1000
#: Items that a request may name as excluded: a long history.
MAX_EXCLUDED = 10_000
#: So many ids of 100 characters, twice.
MAX_RETRIEVAL_BYTES = 2 * 1024 * 1024
_MAX_CONDITIONS, _MAX_VALUES = 16, 1000

Value = str | bool | int | float
Values = Annotated[list[Value], Field(min_length=1, max_length=_MAX_VALUES)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class Condition(BaseModel):
    """Which items are excluded by one of their features; `is` or `not`, one of them."""

    model_config = ConfigDict(
        strict=True,
        allow_inf_nan=False,
        extra="forbid",
        json_schema_extra={"oneOf": [{"required": ["is"]}, {"required": ["not"]}]},
    )

    field: str = Field(max_length=MAX_NAME_CHARS, description="name of the feature")
    having: Values = Field(
        [],
        alias="is",
        description="items are excluded that have one of these values (of a list, among its elements)",
    )
    lacking: Values = Field(
        [],
        alias="not",
        description="items are excluded that have none of these values, those of which it is not known, too",
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if bool(self.having) == bool(self.lacking):
            raise PydanticCustomError("one_of", "expected one of is and not")
        return self


class Exclusion(_Request):
    """Items that are not answered, whatever their score."""

    items: list[str] = Field([], max_length=MAX_EXCLUDED, description="ids of items")
    seen: bool = Field(False, description="the user's own items, as far as the model remembers them")
    where: list[Condition] = Field([], max_length=_MAX_CONDITIONS, description="whoever meets one of these")


class RetrieveRequest(_Request):
    """For whom, in what situation, how many, and what not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "u1",
                    "features": {"device": "phone"},
                    "k": 3,
                    "exclude": {
                        "items": ["i7"],
                        "seen": True,
                        "where": [{"field": "genres", "is": ["horror", "war"]}],
                    },
                }
            ]
        }
    )

    user: str | None = Field(None, description="the user's id; absent or unknown: what is popular")
    features: Features = Field({}, description="features of the user and the situation")
    request: str | None = Field(
        None, min_length=1, description="names this request, and draws its arm where there is no user"
    )
    arm: str | None = Field(None, description="the arm to answer; absent: that of the user")
    k: int = Field(100, ge=1, le=MAX_RETRIEVED, description="how many items")
    exclude: Exclusion = Field(Exclusion(), description="items that are not answered")
    time: int | None = Field(
        None,
        ge=MIN_TIME_MS,
        le=MAX_TIME_MS,
        description="milliseconds since 1970 UTC at which it shall hold; absent: now",
    )


class RecommendRequest(RetrieveRequest):
    """As `RetrieveRequest`; the user is needed, since impressions are written back."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"user": "u1", "k": 2, "exclude": {"seen": True}}]}
    )

    user: str = Field(min_length=1, description="the user's id; unknown ones are allowed")
    k: int = Field(10, ge=1, le=MAX_RETRIEVED, description="how many items")
    candidates: int = Field(
        200, ge=1, le=MAX_RETRIEVED, description="how many items are retrieved and ranked; at least k are"
    )


class _Answer(BaseModel):
    arm: str | None = Field(None, description="the arm that answers; absent without arms")
    assigned: Assigned | None = None
    model: str = Field(description="name of the model")
    seq: int = Field(description="sequence number of the commit from which everything was computed")
    epoch: int = Field(description="epoch of the learner that made the commit")
    staleness_ms: int = Field(
        description="age of that commit: it grows while the learner has nothing to commit"
    )
    notes: list[str] = Field(
        description="conditions about features that no item has yet: `is` then excludes none, `not` all"
    )


class RetrievedItem(BaseModel):
    """One item that was found."""

    item: str
    score: float = Field(description="what it was found by, comparable within one answer only; a float32")


class RetrieveResponse(_Answer):
    """The items by falling score: fewer than `k` only where no others are left."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [{"item": "i1", "score": 1.5}, {"item": "i2", "score": 0.25}],
                    "model": "default",
                    "seq": 1200,
                    "epoch": 3,
                    "staleness_ms": 85,
                    "notes": [],
                }
            ]
        }
    )

    items: list[RetrievedItem]


class RecommendedItem(RetrievedItem):
    """One item to be shown."""

    probability: float = Field(
        description="the ranker's prediction (of a rating model, the rating), a float32 printed exactly"
    )
    confidence: float = Field(
        description="how far one more example can move the log-odds at most (small: well known); a float32"
    )
    impression: str | None = Field(
        description="id of the impression that was written: a click on this item names it; null: none was"
    )


class RecommendResponse(_Answer):
    """The items to be shown, by falling probability, and whether the learner will hear of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "item": "i1",
                            "score": 1.5,
                            "probability": 0.25,
                            "confidence": 0.5,
                            "impression": "8d6f1a.0",
                        }
                    ],
                    "request": "8d6f1a",
                    "written": True,
                    "note": None,
                    "model": "default",
                    "seq": 1200,
                    "epoch": 3,
                    "staleness_ms": 85,
                    "notes": [],
                }
            ]
        }
    )

    items: list[RecommendedItem]
    request: str = Field(description="names this answer in its impressions")
    written: bool = Field(description="whether the impressions are acknowledged by the transport")
    note: str | None = Field(description="why they are not; null where they are")
