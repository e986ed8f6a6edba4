"""A feature spec from the first events of a stream: no configuration is a working configuration (DESIGN 3).

Style "plain" takes every field as it is: what `--model ftrl` learns from. Style "rich" adds what makes a
strong model
without anybody asking: text, time, target statistics, crosses. What "rich" adds is decided by the constants
below.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from statistics import median
from typing import Literal, NamedTuple

from streamrec.events.model import Event, Example, FeatureValue, Impression, Rating
from streamrec.features.spec import BUILTIN, REST, Cross, FeatureSpec, Field, Statistics

__all__ = ["SAMPLE", "Style", "infer_spec"]

Style = Literal["plain", "rich"]

#: Events that are looked at.
SAMPLE = 1000
#: Most fields; further features are learned together in one field for the rest, under the same ids.
_MAX_FIELDS = 200
#: Text has at least this many words (median) and this many distinct values a present value.
_TEXT_WORDS, _TEXT_DISTINCT = 2, 0.05
#: Whole numbers with at most this many distinct values are taken as categories too.
_FEW_NUMBERS = 32
#: A category with at least this many distinct values gets target statistics.
_MANY_VALUES = 16
#: Most crosses.
_MAX_CROSSES = 12
#: A feature belongs to the item (user) if it changes in at most this share of the item's (user's) later
#: events.
_CHANGES = 0.02

_STATISTICS = Statistics(count_buckets=True)


class _Feature(NamedTuple):
    """What the sample says about one feature."""

    name: str
    n_present: int
    n_lists: int
    n_numbers: int
    n_distinct: int
    words: float  # median of the words of its strings
    whole: bool  # every number is an integer
    owner: str  # "item" or "user" if it depends on that alone, else ""


def infer_spec(events: Iterable[Event], style: Style = "plain") -> FeatureSpec:
    """The spec that the first `SAMPLE` examples among these events suggest.

    Args:
        events: decoded events in stream order; clicks and catalogue items are passed over.
        style: "plain" or "rich".

    """
    examples = list(islice(_examples(events), SAMPLE))
    with_user = any(event.user is not None for event in examples) or not examples
    with_item = any(event.item is not None for event in examples) or not examples
    builtin = [name for name, present in (("user", with_user), ("item", with_item)) if present]
    features = _observe(examples)
    rest = Field(name=REST, kind="category", source=REST)
    if style == "plain":
        fields = [Field(name=name, kind="category") for name in builtin] + [_plain(f) for f in features]
        return FeatureSpec(fields=(*fields, rest))
    fields = [Field(name=name, kind="category", statistics=_STATISTICS) for name in builtin]
    fields.append(Field(name="time", kind="time"))
    for feature in features:
        fields += _rich(feature)
    return FeatureSpec(fields=(*fields, rest), crosses=tuple(_crosses(builtin, features)))


def _examples(events: Iterable[Event]) -> Iterator[Impression | Rating | Example]:
    return (event for event in events if isinstance(event, Impression | Rating | Example))


def _plain(feature: _Feature) -> Field:
    kind: Literal["bag", "number", "category"] = "category"
    if feature.n_lists:
        kind = "bag"
    elif 2 * feature.n_numbers >= feature.n_present:
        kind = "number"
    return Field(name=_field_name(feature.name), kind=kind, source=f"features.{feature.name}")


def _rich(feature: _Feature) -> list[Field]:
    """The fields of one feature: its plain one made better, and another where its kind is in doubt."""
    plain = _plain(feature)
    if plain.kind == "number":
        if feature.whole and feature.n_distinct <= _FEW_NUMBERS:
            return [plain, Field(name=f"features.{feature.name}.value", kind="category", source=plain.source)]
        return [plain]
    if _is_text(feature):
        return [Field(name=plain.name, kind="text", source=plain.source)]
    if feature.n_distinct >= _MANY_VALUES:
        return [plain.model_copy(update={"statistics": _STATISTICS})]
    return [plain]


def _crosses(builtin: Sequence[str], features: Sequence[_Feature]) -> Iterator[Cross]:
    """User × what belongs to the item, item × what belongs to the user, and both sides' features."""
    sides = {"user": list(builtin[:1]), "item": []} if builtin[:1] == ["user"] else {"user": [], "item": []}
    if "item" in builtin:
        sides["item"].append("item")
    for feature in features:
        if feature.owner and _plain(feature).kind != "number" and not _is_text(feature):
            sides[feature.owner].append(_field_name(feature.name))
    pairs = [(u, i) for u in sides["user"] for i in sides["item"] if (u, i) != ("user", "item")]
    return (Cross(fields=pair) for pair in pairs[:_MAX_CROSSES])


def _is_text(feature: _Feature) -> bool:
    only_strings = not feature.n_lists and not feature.n_numbers
    many = feature.n_distinct > max(_MANY_VALUES, _TEXT_DISTINCT * feature.n_present)
    return only_strings and many and feature.words >= _TEXT_WORDS


def _field_name(feature: str) -> str:
    """The feature's own name unless a field of another source has or could have it."""
    taken = feature in BUILTIN or feature.startswith("features.")
    return f"features.{feature}" if taken else feature


def _observe(examples: Sequence[Impression | Rating | Example]) -> list[_Feature]:
    """The features that get a field, in the order in which they were first seen."""
    values: dict[str, list[tuple[Impression | Rating | Example, FeatureValue]]] = {}
    for event in examples:
        for name, value in (event.features or {}).items():
            if value is not None and name not in ("", "*"):
                values.setdefault(name, []).append((event, value))
    frequent = sorted(values, key=lambda name: -len(values[name]))[:_MAX_FIELDS]
    chosen = set(frequent)
    return [_summarise(name, pairs) for name, pairs in values.items() if name in chosen]


def _summarise(name: str, pairs: Sequence[tuple[Impression | Rating | Example, FeatureValue]]) -> _Feature:
    values = [value for _, value in pairs]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    strings = [v for v in values if isinstance(v, str)]
    lists = [v for v in values if isinstance(v, list)]
    distinct = {element for v in lists for element in v} | {
        (type(v), v) for v in values if not isinstance(v, list)
    }
    return _Feature(
        name=name,
        n_present=len(values),
        n_lists=len(lists),
        n_numbers=len(numbers),
        n_distinct=len(distinct),
        words=median(len(text.split()) for text in strings) if strings else 0,
        whole=all(float(number).is_integer() for number in numbers),
        owner=_owner([(event.item, value) for event, value in pairs], "item")
        or _owner([(event.user, value) for event, value in pairs], "user"),
    )


def _owner(pairs: Sequence[tuple[str | None, FeatureValue]], side: str) -> str:
    """`side` if the value is (nearly) a function of the key, and some key occurs more than once."""
    last: dict[str, FeatureValue] = {}
    again = changed = 0
    for key, value in pairs:
        if key is None:
            continue
        if key in last:
            again += 1
            changed += last[key] != value
        last[key] = value
    return side if again and changed <= _CHANGES * again else ""
