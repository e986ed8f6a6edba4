"""The five kinds of event, as pydantic models: what is valid is defined here and nowhere else (DESIGN 2).

Types are strict: a number is not taken for a string nor a boolean for a number. Unknown fields are ignored.
`null` in an optional field means absent.
"""

import sys
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from streamrec.events.block import EVENT_TYPES
from streamrec.events.feedback import CORRECTION, FEEDBACK

__all__ = [
    "EVENT_MODELS",
    "MAX_ENTRIES",
    "MAX_LINE_BYTES",
    "MAX_MAGNITUDE",
    "MAX_NAME_CHARS",
    "MAX_POSITION",
    "MAX_TIME_MS",
    "MIN_TIME_MS",
    "Click",
    "Event",
    "Example",
    "FeatureValue",
    "Features",
    "Impression",
    "Item",
    "Rating",
    "count_entries",
]

#: First millisecond of year 2 and last of 2999. Year 1 and years from 3000 on are what a wrong unit, a zero
#: date or a never-expires date turns into; Python's own dates end at 9999 and start at 1, so a time zone
#: never leaves their range.
MIN_TIME_MS = -62_104_060_800_000
MAX_TIME_MS = 32_503_679_999_999
#: Feature entries of one event, the elements of lists counted one by one. Ten times what the widest public
#: data set has (MIND histories: several hundred); a bound keeps one runaway producer from stalling the
#: stream.
MAX_ENTRIES = 4096
#: Bytes of one line: Kafka's default `message.max.bytes`, so that every recorded event can be sent.
MAX_LINE_BYTES = 1_048_576
#: Characters of a feature's name: names are stored with every model, and longer ones are values in the wrong
#: place.
MAX_NAME_CHARS = 256
#: Labels, ratings, weights and values become float32: its largest finite number.
MAX_MAGNITUDE = 3.4028234663852886e38
#: Positions fit int32 wherever they are stored.
MAX_POSITION = 2_147_483_647

FeatureValue = Annotated[
    str | bool | int | float | list[str] | None,
    Field(union_mode="left_to_right"),
]


def count_entries(value: FeatureValue) -> int:
    """What one feature counts towards MAX_ENTRIES: a list its elements, everything at least 1."""
    return max(len(value), 1) if isinstance(value, list) else 1


def _check_features(features: dict[str, FeatureValue]) -> dict[str, FeatureValue]:
    n_entries = len(features)
    for name, value in features.items():
        kind = type(value)
        if kind is list:
            n_entries += count_entries(value) - 1
        elif kind is int and abs(value) > sys.float_info.max:  # type: ignore[arg-type]
            raise PydanticCustomError("feature_range", "{name}: an integer beyond float64", {"name": name})
    if n_entries > MAX_ENTRIES:
        raise PydanticCustomError(
            "too_many_entries", "{n} entries, at most {limit}", {"n": n_entries, "limit": MAX_ENTRIES}
        )
    return features


Identifier = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Features = Annotated[
    dict[Name, FeatureValue],
    Field(json_schema_extra={"maxProperties": MAX_ENTRIES}),
    AfterValidator(_check_features),
]
Number = Annotated[float, Field(ge=-MAX_MAGNITUDE, le=MAX_MAGNITUDE)]


class _Event(BaseModel):
    """What all events have."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    type: str
    id: Identifier = Field(description="Unique name of the event; of an item event, the item.")
    time: int = Field(
        ge=MIN_TIME_MS, le=MAX_TIME_MS, description="Milliseconds since 1970 UTC, years 2 to 2999."
    )


class Impression(_Event):
    """An item was shown to a user."""

    type: Literal["impression"] = "impression"
    user: str = Field(description="Who saw it.")
    item: str = Field(description="What was shown.")
    request: str | None = Field(None, description="The request that this impression answered.")
    arm: str | None = Field(
        None, description="The arm of an experiment that chose it, where its user was drawn by lot."
    )
    position: Annotated[int, Field(ge=0, le=MAX_POSITION)] | None = Field(
        None, description="Place in the list shown."
    )
    propensity: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Probability with which the policy showed this item, in (0, 1]."
    )
    features: Features = Field(
        description="Name → string, number, boolean, list of strings, or null (absent)."
    )


class Click(_Event):
    """A user reacted to an impression."""

    type: Literal["click"] = "click"
    impression: Identifier = Field(description="The id of the impression.")
    value: Number | None = Field(1.0, description="What the click is worth; 1 unless given.")


class Rating(_Event):
    """A user rated an item; an example by itself."""

    type: Literal["rating"] = "rating"
    user: str = Field(description="Who rated.")
    item: str = Field(description="What was rated.")
    rating: Number = Field(description="On the scale of the source.")
    features: Features = Field(
        description="Name → string, number, boolean, list of strings, or null (absent)."
    )


class Item(_Event):
    """An item of the catalogue is new, changed or deleted; `id` is the item."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["features"], "properties": {"features": {"type": "object"}}},
                {"required": ["deleted"], "properties": {"deleted": {"const": True}}},
            ]
        }
    )

    type: Literal["item"] = "item"
    deleted: bool | None = Field(False, description="The item is gone; needs no features.")
    features: Features | None = Field(None, description="All features of the item: an upsert replaces them.")

    @model_validator(mode="after")
    def _has_features(self) -> Self:
        if self.features is None and not self.deleted:
            raise PydanticCustomError(
                "no_features", "features: missing; an item needs them unless deleted is true"
            )
        return self


class Example(_Event):
    """An already labelled example."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["feedback"], "properties": {"feedback": {"enum": [*FEEDBACK[CORRECTION:]]}}},
            "then": {"required": ["impression"], "properties": {"impression": {"type": "string"}}},
        }
    )

    type: Literal["example"] = "example"
    label: Number = Field(description="What is learned: 0 or 1 for clicks, any number for ratings.")
    weight: Annotated[float, Field(ge=0, le=MAX_MAGNITUDE)] | None = Field(
        1.0, description="Importance; 1 unless given."
    )
    user: str | None = Field(None, description="Whom it is about.")
    item: str | None = Field(None, description="What it is about.")
    features: Features | None = Field(
        None, description="Name → string, number, boolean, list of strings, or null."
    )
    feedback: Literal["early", "correction", "confirmed", "arrival"] | None = Field(
        None,
        description="What it is to a click that may still come: early, a negative that one may correct; "
        "correction, the positive that does; confirmed, there was none; arrival, to be predicted only.",
    )
    impression: Identifier | None = Field(
        None, description="The id of the example that this one corrects, confirms or announces."
    )

    @model_validator(mode="after")
    def _has_impression(self) -> Self:
        if self.impression is None and self.feedback in FEEDBACK[CORRECTION:]:
            raise PydanticCustomError(
                "no_impression",
                "impression: missing; feedback {feedback} is about an example given before",
                {"feedback": self.feedback},
            )
        return self


Event = Impression | Click | Rating | Item | Example

#: The registry, in the order of `block.EVENT_TYPES`: a new type is its model above, one line here and one
#: there.
EVENT_MODELS: dict[str, type[Impression] | type[Click] | type[Rating] | type[Item] | type[Example]] = {
    "impression": Impression,
    "click": Click,
    "rating": Rating,
    "item": Item,
    "example": Example,
}
assert tuple(EVENT_MODELS) == EVENT_TYPES
