"""Specs: what is valid, their JSON, and ids that never change."""

import numpy as np
import pytest
from feature_oracle import Row, bags_of, columns
from pydantic import ValidationError

from streamrec.features.extract import Extractor
from streamrec.features.spec import REST, Cross, FeatureSpec, Field, Statistics

FULL = FeatureSpec(
    fields=(
        Field(name="user", kind="category"),
        Field(
            name="item",
            kind="category",
            statistics=Statistics(half_life_s=60),
        ),
        Field(name="time", kind="time", parts=("hour", "weekday", "hour_of_week", "day")),
        Field(name="genres", kind="bag"),
        Field(name="price", kind="number", edges=(1.5, 9.99, 20.0), slope=True),
        Field(name="title", kind="text"),
        Field(name="zip", kind="category"),
        Field(name=REST, kind="category", source=REST),
    ),
    crosses=(Cross(fields=("user", "genres")), Cross(fields=("item", "price", "genres"))),
)

#: The ids of FULL for the row below, as the first version made them. Stored models depend on every one:
#: if this test fails, it is not the expectation that is wrong.
GOLDEN = [
    [9009828218259296693],
    [167016747727056749],
    [10830418430255544159, 14769566091760768421, 13625040275186476502, 9383712560599609646],
    [7307063940442173768, 1456635959872447815],
    [10024697865474233967, 5054805819304256861, 10870166724667147560],
    [13941593734289878368, 3272754586011216082, 13344400357920236535],
    [149174769761445812],
    [11162350089162645370, 11360407175499548274],
    [2490118466286820702, 6166134673259096245],
    [18080171588800279309, 3672578835232950467],
    [13503701316842772799, 18165453471043011974],
]


def test_ids_never_change() -> None:
    features = {
        "genres": ["Drama", "War"],
        "price": 9.99,
        "title": "The Thin Line",
        "zip": 1234,
        "flag": True,
        "new": 0,
    }
    row = Row(features, "u1", "i1", 1_700_000_000_123)
    names: list[str] = []
    extractor = Extractor(FULL)
    batch = extractor.extract(columns([row], names, extractor.text_fields), names)
    assert [[identity for identity, _ in bag] for bag in bags_of(batch)[0]] == GOLDEN


def test_json_comes_back_the_same() -> None:
    assert FeatureSpec.from_json(FULL.to_json()) == FULL
    assert FeatureSpec.from_json(FULL.to_json()).to_json() == FULL.to_json()
    assert hash(FULL) == hash(FeatureSpec.from_json(FULL.to_json().encode()))


def test_defaults_are_written_out() -> None:
    """So that a new default does not change a stored model."""
    assert '"prior":5.0' in FULL.to_json()
    assert '"source":"features.genres"' in FULL.to_json()
    assert Field(name="t", kind="text").pooling == "mean"


C = {"kind": "category"}
WRONG = {
    "no fields": ({"fields": []}, "at least one field"),
    "two of a name": (
        {"fields": [{"name": "a", **C}, {"name": "a", **C}]},
        "expected one field 'a', got another",
    ),
    "two rests": (
        {"fields": [{"name": "a", "source": REST, **C}, {"name": "b", "source": REST, **C}]},
        "one field with the source 'features.*'",
    ),
    "two crosses of a name": (
        {
            "fields": [{"name": "a", **C}, {"name": "b", **C}],
            "crosses": [{"fields": ["a", "b"]}, {"fields": ["a", "b"]}],
        },
        "expected one cross 'a×b'",
    ),
    "near name": (
        {"fields": [{"name": "genre", **C}, {"name": "b", **C}], "crosses": [{"fields": ["b", "gener"]}]},
        "no field 'gener'; did you mean 'genre'?",
    ),
    "no near name": (
        {"fields": [{"name": "a", **C}, {"name": "b", **C}], "crosses": [{"fields": ["a", "zzz"]}]},
        "no field 'zzz'; there are a, b",
    ),
    "cross with itself": (
        {"fields": [{"name": "a", **C}], "crosses": [{"fields": ["a", "a"]}]},
        "different fields",
    ),
    "cross of a slope": (
        {
            "fields": [{"name": "a", **C}, {"name": "n", "kind": "number", "buckets": False}],
            "crosses": [{"fields": ["a", "n"]}],
        },
        "buckets are crossed; 'n' has none",
    ),
    "odd source": (
        {"fields": [{"name": "a", "source": "feature.a", **C}]},
        "'features.NAME', got 'feature.a'",
    ),
    "user as a number": (
        {"fields": [{"name": "user", "kind": "number"}]},
        "expected category from 'user', got 'number'",
    ),
    "bare time": ({"fields": [{"name": "time", "kind": "category"}]}, "expected time or number from 'time'"),
    "nothing of a number": (
        {"fields": [{"name": "n", "kind": "number", "buckets": False, "normalise": False}]},
        "buckets, normalise or both",
    ),
    "statistics without buckets": (
        {"fields": [{"name": "n", "kind": "number", "buckets": False, "statistics": True}]},
        "need buckets = true",
    ),
    "slope of nothing": (
        {"fields": [{"name": "n", "kind": "number", "slope": True, "normalise": False}]},
        "needs normalise = true",
    ),
    "edges out of order": (
        {"fields": [{"name": "n", "kind": "number", "edges": [1, 3, 3]}]},
        "expected ascending numbers, got [1.0, 3.0, 3.0]",
    ),
    "edges of words": ({"fields": [{"name": "a", "edges": [1], **C}]}, "edges belongs to kind number"),
    "no lag": ({"fields": [{"name": "a", **C}], "lag_ms": 0}, "greater than or equal to 1"),
    "prior": ({"fields": [{"name": "a", "statistics": {"prior": 0}, **C}]}, "greater than 0"),
    "not finite": ({"fields": [{"name": "a", "statistics": {"prior": float("nan")}, **C}]}, "finite number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_specs(name: str) -> None:
    data, expected = WRONG[name]
    with pytest.raises(ValidationError) as caught:
        FeatureSpec.model_validate(data)
    assert expected in str(caught.value)


def test_statistics_can_be_switched() -> None:
    assert Field.model_validate({"name": "a", **C, "statistics": True}).statistics == Statistics()
    assert Field.model_validate({"name": "a", **C, "statistics": False}).statistics is None


def test_names_of_bags_and_columns() -> None:
    extractor = Extractor(FULL)
    crossed = ("user×genres", "item×price×genres", "rate(item)")
    assert extractor.field_names == tuple(field.name for field in FULL.fields) + crossed
    assert extractor.n_fields == 11
    assert extractor.n_dense == 4
    assert extractor.text_fields == ("title",)
    assert set(extractor.tables) == {"statistics"}
    batch = extractor.extract(columns([Row({})], []), [])
    assert batch.n_fields == extractor.n_fields
    assert batch.dense.shape == (1, 4)
    assert batch.dense.dtype == np.float32
