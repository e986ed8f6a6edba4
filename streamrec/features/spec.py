"""What the features are, as data: fields of a kind, and crosses of fields (DESIGN 3).

A spec is frozen with its model, so everything here is immutable, comparable and has one JSON form. The same
models validate the `[features]` section of a settings file.
"""

from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator, model_validator
from pydantic import Field as Setting
from pydantic_core import PydanticCustomError

__all__ = ["BUILTIN", "REST", "Cross", "FeatureSpec", "Field", "Kind", "Statistics", "TimePart"]

Kind = Literal["category", "bag", "number", "text", "time"]
TimePart = Literal["hour", "weekday", "hour_of_week", "day"]

#: Fields of an example that are not features; a field with such a name reads them unless its `source` says
#: otherwise.
BUILTIN = ("user", "item", "time")
#: The source that takes every feature which no other field reads.
REST = "features.*"

#: Which kinds an option of `Field` belongs to.
_OPTION_KINDS: dict[str, tuple[Kind, ...]] = {
    "buckets": ("number",),
    "edges": ("number",),
    "normalise": ("number",),
    "slope": ("number",),
    "parts": ("time",),
    "pooling": ("category", "bag", "text"),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Statistics(_Frozen):
    """Streaming target statistics of a field or cross, two numbers a value, known before the example.

    Of the labels y of all examples so far p0 = (Σy + ½)/(N + 1), and of the n examples of this value s = Σy:

        rate = logit((s + prior·p0)/(n + prior)) − logit(p0)
        recent = e/√(p0·(1 − p0)), where e += .2·(y − p0 − e) after each example

    Of a bag, the mean over its values. What "so far" means is `FeatureSpec.lag_ms`.

    Attributes:
        prior: how many examples at the rate p0 every value starts with, above 0.
        half_life_s: seconds of event time in which s and n halve; None never.
        link: "logit" for labels of 0 and 1; "identity" for any number: rate and p0 without logit, recent = e.

    """

    prior: float = Setting(5.0, gt=0)
    half_life_s: float | None = Setting(None, gt=0)
    link: Literal["logit", "identity"] = "logit"


class _Counted(_Frozen):
    """What may carry target statistics; `statistics = true` means the default ones."""

    statistics: Statistics | None = None

    @field_validator("statistics", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {} if value else None
        return value


class Field(_Counted):
    """One field: where its values come from and what they become.

    Attributes:
        name: unique; its hash is half of every id, so renaming a field forgets what it learned.
        kind: category (one id), bag (an id per element), number, text (an id per word), time.
        source: "user", "item", "time", "features.NAME", or "features.*" for all features that no other field
            reads.
        buckets: number: an id per interval between `edges` and an id per sign·⌊log2(1 + |x|)⌋.
        edges: number: ascending lower edges of the intervals; without any, there are only logarithmic ids.
        normalise: number: a dense column with (x − mean) / deviation, both of the stream so far.
        slope: number: also one id with that value, which makes a linear model linear in x.
        parts: time (UTC): what to take, an id each.
        pooling: values of n ids of a bag: 1 (sum), 1/n (mean; what bags and texts take) or 1/√n (sqrt).
        statistics: target statistics per value, or true.
        of_item: the value belongs to the item, whoever sees it: what retrieval knows an item by.

    """

    name: str = Setting(min_length=1, max_length=1000)
    kind: Kind
    source: str = ""
    buckets: bool = True
    edges: tuple[float, ...] = Setting((), max_length=1000)
    normalise: bool = True
    slope: bool = False
    parts: tuple[TimePart, ...] = Setting(("hour", "weekday"), min_length=1)
    pooling: Literal["sum", "mean", "sqrt"] = "sum"
    of_item: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Defaults that depend on other keys."""
        if not isinstance(data, dict):
            return data
        name, kind = data.get("name"), data.get("kind")
        filled: dict[str, Any] = {}
        if not data.get("source") and isinstance(name, str):
            filled["source"] = name if name in BUILTIN else f"features.{name}"
        if kind in ("bag", "text") and "pooling" not in data:
            filled["pooling"] = "mean"
        # a settings file is checked strictly, where a list is no tuple
        tuples = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
        return {**data, **tuples, **filled}

    @model_validator(mode="after")
    def _check(self) -> "Field":
        for option, kinds in _OPTION_KINDS.items():
            if self.kind not in kinds and getattr(self, option) != type(self).model_fields[option].default:
                raise ValueError(
                    f"{option} belongs to kind {' or '.join(kinds)}, not to {self.kind} ({self.name!r})"
                )
        if self.source not in BUILTIN and not (self.source.startswith("features.") and len(self.source) > 9):
            expected = "'user', 'item', 'time' or 'features.NAME'"
            raise ValueError(f"source of {self.name!r}: expected {expected}, got {self.source!r}")
        allowed: dict[str, tuple[Kind, ...]] = {
            "user": ("category",),
            "item": ("category",),
            "time": ("time", "number"),
            REST: ("category",),
        }
        if self.kind not in allowed.get(self.source, get_args(Kind)):
            expected = " or ".join(allowed[self.source])
            raise ValueError(
                f"kind of {self.name!r}: expected {expected} from {self.source!r}, got {self.kind!r}"
            )
        if self.kind == "number" and not (self.buckets or self.normalise):
            raise ValueError(f"number {self.name!r}: expected buckets, normalise or both, got neither")
        if self.slope and not self.normalise:
            raise ValueError(
                f"number {self.name!r}: slope is the normalised number and needs normalise = true"
            )
        if any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError(f"edges of {self.name!r}: expected ascending numbers, got {list(self.edges)}")
        if self.kind == "number" and self.statistics is not None and not self.buckets:
            raise ValueError(f"number {self.name!r}: statistics are per bucket and need buckets = true")
        if self.source == REST and self.statistics is not None:
            raise ValueError(f"{self.name!r}: statistics need a field of their own, not {REST!r}")
        return self


class Cross(_Counted):
    """Every combination of the values of two or three fields is a value of its own.

    Its value is 1/√n for each part that is a bag of n. Of a number, the interval is crossed.

    Attributes:
        fields: names of two or three different fields; their order is part of the id.
        limit: most combinations of one example, 1 to 4096; further ones are left out, last field first.
        statistics: target statistics per combination, or true.

    """

    fields: tuple[str, ...] = Setting(min_length=2, max_length=3)
    limit: int = Setting(64, ge=1, le=4096)

    @property
    def name(self) -> str:
        """The names of its fields, joined by ×."""
        return "×".join(self.fields)

    @model_validator(mode="after")
    def _check(self) -> "Cross":
        if len(set(self.fields)) < len(self.fields):
            raise ValueError(f"cross {list(self.fields)}: expected different fields")
        return self


class FeatureSpec(_Frozen):
    """All fields and crosses of a model.

    Attributes:
        fields: at least one.
        crosses: of these fields.
        lag_ms: the longest by which labels come out of the order of their examples. Target statistics are
            those from before the example's epoch of this length. Where clicks are learned at once and the
            rest later, statistics as of now would tell the label: what came since was clicked. 1 where
            examples come in time order: statistics of strictly earlier times.

    >>> spec = FeatureSpec(fields=[Field(name="user", kind="category")])
    >>> FeatureSpec.from_json(spec.to_json()) == spec
    True
    """

    fields: tuple[Field, ...]
    crosses: tuple[Cross, ...] = ()
    lag_ms: int = Setting(1, ge=1, le=2**53)

    @model_validator(mode="after")
    def _check(self) -> "FeatureSpec":
        if not self.fields:
            raise _fault("fields: expected at least one field, got none")
        fields = {field.name: field for field in self.fields}
        _check_unique("fields", "field", [field.name for field in self.fields])
        _check_unique("crosses", "cross", [cross.name for cross in self.crosses])
        sources = [field.source if field.source == REST else field.name for field in self.fields]
        _check_unique("fields", "field with the source", sources)
        for i, cross in enumerate(self.crosses):
            for name in cross.fields:
                if name not in fields:
                    near = get_close_matches(name, fields, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
                    raise _fault(f"cross {list(cross.fields)}: no field {name!r}; {hint}", "crosses", i)
                if fields[name].kind == "number" and not fields[name].buckets:
                    text = f"cross {list(cross.fields)}: of a number, buckets are crossed; {name!r} has none"
                    raise _fault(text, "crosses", i)
        return self

    def without_sides(self) -> "FeatureSpec":
        """The same for a model to which it is all one what belongs to the item."""
        if not any(field.of_item for field in self.fields):
            return self
        fields = tuple(field.model_copy(update={"of_item": False}) for field in self.fields)
        return self.model_copy(update={"fields": fields})

    def to_json(self) -> str:
        """The form that is frozen with a model: every option written out, so new defaults change nothing."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> "FeatureSpec":
        """What `to_json` gave."""
        return cls.model_validate_json(text)


def _fault(text: str, *at: str | int) -> PydanticCustomError:
    """An error of the whole spec, and the place in it that a settings file should be mended at."""
    return PydanticCustomError("feature_spec", "{text}", {"text": text, "at": at})


def _check_unique(section: str, what: str, names: list[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise _fault(f"expected one {what} {name!r}, got another", section, i)
