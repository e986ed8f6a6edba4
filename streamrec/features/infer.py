"""A feature spec from the first events of a stream: no configuration is a working configuration (DESIGN 3).

Style "plain" takes the event's own features as they are: what `--model ftrl` learns from. Style "rich" adds
what makes a strong model without anybody asking: target statistics of user and item, crosses of the user with
what belongs to the item, the hour. Style "deep" is that without the crosses, which a network finds by itself.
The constants are those that did well on ratings, impressions, logged ads and noise alike; none is tuned to
one data set.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from streamrec.events.feedback import CORRECTION, FEEDBACK
from streamrec.events.model import Event, Example, FeatureValue, Impression, Rating
from streamrec.features.spec import BUILTIN, REST, Cross, FeatureSpec, Field, Kind, Statistics

__all__ = ["SAMPLE", "Style", "infer_spec"]

Style = Literal["plain", "rich", "deep"]

#: Examples that are looked at.
SAMPLE = 1000
#: Most fields; further features are learned together in one field for the rest, under the same ids.
_MAX_FIELDS = 200
#: Text has at least this many words (median) and this many distinct values; fewer are names of categories.
_TEXT_WORDS, _TEXT_DISTINCT, _TEXT_SHARE = 2, 16, 0.05
#: A number is cut into so many intervals, as many values of the sample in each.
_INTERVALS = 16
#: Most crosses: of noise, each further one costs log loss.
_MAX_CROSSES = 4
#: A feature belongs to the item if it is what it was for this share of the item's later examples, of so many.
_SAME, _REPEATS = 0.95, 20
#: Labels of events that come further apart than this are out of order for another reason than joining.
_MAX_LAG_MS = 86_400_000

_Sample = Impression | Rating | Example


class _Feature(NamedTuple):
    """What the sample says about one feature."""

    name: str
    kind: Kind
    edges: tuple[float, ...]  # of a number
    of_item: bool  # depends on the item

    @property
    def field(self) -> Field:
        """The field that reads it; its own name unless a field of another source has or could have it."""
        taken = self.name in BUILTIN or self.name.startswith("features.")
        name = f"features.{self.name}" if taken else self.name
        source = f"features.{self.name}"
        return Field(name=name, kind=self.kind, source=source, edges=self.edges, of_item=self.of_item)


def infer_spec(
    events: Iterable[Event],
    style: Style = "plain",
    window_ms: int = 0,
    link: Literal["logit", "identity"] = "logit",
) -> FeatureSpec:
    """The spec that the first `SAMPLE` examples among these events suggest.

    Args:
        events: decoded events in stream order; clicks and catalogue items are passed over.
        style: "plain", "rich" or "deep".
        window_ms: of joining: impressions are learned by so much out of order.
        link: of target statistics: "identity" where labels are numbers.

    """
    examples = list(islice(_examples(events), SAMPLE))
    with_user = any(event.user is not None for event in examples) or not examples
    with_item = any(event.item is not None for event in examples) or not examples
    builtin = [name for name, present in (("user", with_user), ("item", with_item)) if present]
    features = _observe(examples)
    rest = Field(name=REST, kind="category", source=REST)
    statistics = Statistics(link=link) if style != "plain" else None
    fields = [Field(name=name, kind="category", statistics=statistics) for name in builtin]
    fields += [feature.field for feature in features]
    if style == "plain":
        return FeatureSpec(fields=(*fields, rest))
    fields.append(Field(name="time", kind="time", parts=("hour",)))
    crossed = [f.field.name for f in features if f.of_item and f.kind != "text" and with_user]
    if style == "deep":
        crossed = []
    crosses = tuple(Cross(fields=("user", name)) for name in crossed[:_MAX_CROSSES])
    return FeatureSpec(fields=(*fields, rest), crosses=crosses, lag_ms=_lag(examples, window_ms))


def _examples(events: Iterable[Event]) -> Iterator[_Sample]:
    """What is new to the model: a correction or a confirmation is about an example that came before."""
    repeats = FEEDBACK[CORRECTION:]
    samples = (event for event in events if isinstance(event, _Sample))
    return (event for event in samples if event.type != "example" or event.feedback not in repeats)


def _lag(examples: Sequence[_Sample], window_ms: int) -> int:
    """The window of joining where there are impressions, else by how much the sample is out of order."""
    if any(event.type == "impression" or (event.type == "example" and event.feedback) for event in examples):
        return max(window_ms, 1)
    latest = lag = 0
    for event in examples:
        latest = max(latest, event.time)
        lag = max(lag, latest - event.time)
    return lag if 1 < lag <= _MAX_LAG_MS else 1


def _observe(examples: Sequence[_Sample]) -> list[_Feature]:
    """The features that get a field, in the order in which they were first seen."""
    present: dict[str, int] = {}
    for event in examples:
        for name, value in (event.features or {}).items():
            if value is not None and name not in ("", "*"):
                present[name] = present.get(name, 0) + 1
    frequent = set(sorted(present, key=lambda name: -present[name])[:_MAX_FIELDS])
    return [_summarise(name, examples) for name in present if name in frequent]


def _summarise(name: str, examples: Sequence[_Sample]) -> _Feature:
    column = [(event.features or {}).get(name) for event in examples]
    kind = _kind([value for value in column if value is not None])
    of_item = _constancy([event.item for event in examples], column)
    of_user = _constancy([event.user for event in examples], column)
    return _Feature(
        name=name,
        kind=kind,
        edges=_edges(_numbers(column)) if kind == "number" else (),
        of_item=of_item >= max(_SAME, of_user),
    )


def _kind(values: Sequence[FeatureValue]) -> Kind:
    if any(isinstance(value, list) for value in values):
        return "bag"
    numbers = _numbers(values)
    if 2 * len(numbers) >= len(values):
        return "number"
    strings = [value for value in values if isinstance(value, str)]
    few = len(set(strings)) <= max(_TEXT_DISTINCT, _TEXT_SHARE * len(values))
    if few or numbers or median(len(text.split()) for text in strings) < _TEXT_WORDS:
        return "category"
    return "text"


def _numbers(values: Sequence[FeatureValue]) -> list[float]:
    return [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


def _edges(numbers: Sequence[float]) -> tuple[float, ...]:
    edges = np.unique(np.quantile(numbers, np.arange(1, _INTERVALS) / _INTERVALS))
    return tuple(float(edge) for edge in edges)


def _constancy(keys: Sequence[str | None], values: Sequence[FeatureValue]) -> float:
    """The share of a key's later examples that have the value of the one before; 0 where they are few."""
    last: dict[str, FeatureValue] = {}
    again = same = 0
    for key, value in zip(keys, values, strict=True):
        if key is None:
            continue
        if key in last:
            again += 1
            same += last[key] == value
        last[key] = value
    return same / again if again >= _REPEATS else 0.0
