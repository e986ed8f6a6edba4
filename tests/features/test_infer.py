"""Specs inferred from the first events: made-up ones that look like MovieLens, MIND and rows of a log."""

from typing import Any

import numpy as np
import pytest

from streamrec.events.model import Click, Event, Example, Impression, Item, Rating
from streamrec.features.infer import SAMPLE, infer_spec
from streamrec.features.spec import REST, FeatureSpec

GENRES = ["Drama", "Comedy", "War", "Noir"]
WORDS = ["red", "blue", "night", "day", "river", "moon", "house", "road"]


def ratings(n: int = 400) -> list[Event]:
    rng = np.random.default_rng(1)
    events: list[Event] = []
    for i in range(n):
        user, item = int(rng.integers(40)), int(rng.integers(60))
        features: dict[str, Any] = {
            "title": f"The {WORDS[item % 8]} {WORDS[item // 8]} ({1950 + item})",
            "genres": [GENRES[item % 4], GENRES[item % 3]],
            "year": 1950 + item,
            "gender": "FM"[user % 2],
            "age": [1, 18, 25, 35][user % 4],
        }
        events.append(
            Rating(
                id=f"r{i}",
                time=1_000_000 * i,
                user=f"u{user}",
                item=f"i{item}",
                rating=3.5,
                features=features,
            )
        )
    return events


def impressions(n: int = 400) -> list[Event]:
    rng = np.random.default_rng(2)
    events: list[Event] = [Item(id="N1", time=0, features={"catalogue only": "x"})]
    for i in range(n):
        item = int(rng.integers(80))
        features: dict[str, Any] = {
            "category": ["news", "sports", "finance"][item % 3],
            "history": [f"N{h}" for h in rng.integers(300, size=int(rng.integers(6)))],
            "position": int(rng.integers(20)),
        }
        events.append(
            Impression(id=f"s{i}", time=i, user=f"U{rng.integers(50)}", item=f"N{item}", features=features)
        )
        events.append(Click(id=f"c{i}", time=i, impression=f"s{i}"))
    return events


def example(features: dict[str, Any], **more: Any) -> Example:
    return Example(id="e", time=1, label=1.0, features=features, **more)


def kinds(spec: FeatureSpec) -> dict[str, str]:
    return {field.name: field.kind for field in spec.fields}


def test_plain_takes_what_is_there() -> None:
    spec = infer_spec(ratings(), "plain")
    assert kinds(spec) == {
        "user": "category",
        "item": "category",
        "title": "text",
        "genres": "bag",
        "year": "number",
        "gender": "category",
        "age": "number",
        REST: "category",
    }
    assert spec.crosses == ()
    assert spec.lag_ms == 1
    assert all(field.statistics is None and not field.slope for field in spec.fields)
    assert {field.name for field in spec.fields if field.pooling == "mean"} == {"title", "genres"}
    year = next(field for field in spec.fields if field.name == "year")
    assert year.edges[0] > 1950
    assert len(year.edges) == 15


def test_plain_of_impressions() -> None:
    spec = infer_spec(impressions(), "plain")
    assert kinds(spec) == {
        "user": "category",
        "item": "category",
        "category": "category",
        "history": "bag",
        "position": "number",
        REST: "category",
    }


def test_rich_of_ratings() -> None:
    spec = infer_spec(ratings(), "rich", window_ms=600_000)
    assert kinds(spec)["title"] == "text"
    assert [field.parts for field in spec.fields if field.kind == "time"] == [("hour",)]
    assert {field.name for field in spec.fields if field.statistics} == {"user", "item"}
    # what belongs to the item, without text: gender and age belong to the user
    assert [cross.fields for cross in spec.crosses] == [("user", "genres"), ("user", "year")]
    assert spec.lag_ms == 1


def test_rich_of_impressions() -> None:
    spec = infer_spec(impressions(), "rich", window_ms=600_000)
    assert {field.name for field in spec.fields if field.statistics} == {"user", "item"}
    assert [cross.fields for cross in spec.crosses] == [("user", "category")]
    assert spec.lag_ms == 600_000
    assert infer_spec(impressions(), "rich", window_ms=0).lag_ms == 1


def test_numbers_as_labels_have_no_log_odds() -> None:
    spec = infer_spec(ratings(), "rich", link="identity")
    assert {f.statistics.link for f in spec.fields if f.statistics} == {"identity"}


@pytest.mark.parametrize(("late_ms", "lag_ms"), [(0, 1), (1, 1), (90_000, 90_000), (10**9, 1)])
def test_lag_of_examples_is_what_the_sample_shows(late_ms: int, lag_ms: int) -> None:
    times = [10**12, 10**12 + 5, 10**12 + 5 - late_ms, 10**12 + 9]
    events = [Example(id=f"e{i}", time=t, label=0.0, features={"a": "x"}) for i, t in enumerate(times)]
    assert infer_spec(events, "rich").lag_ms == lag_ms


def test_at_most_four_crosses_and_none_without_a_user() -> None:
    def events(user: str | None) -> list[Event]:
        return [
            example({f"c{f}": f"{i % 9} {f}" for f in range(7)}, user=user, item=f"i{i % 9}")
            for i in range(90)
        ]

    crosses = infer_spec(events("u"), "rich").crosses
    assert [cross.fields for cross in crosses] == [("user", f"c{f}") for f in range(4)]
    assert infer_spec(events(None), "rich").crosses == ()
    assert infer_spec(events("u")[:28], "rich").crosses == ()  # 19 repeats tell nothing


def test_absent_is_a_value() -> None:
    events = [
        example({"sometimes": "x"} if i % 2 else {"always": "y"}, user=f"u{i}", item=f"i{i % 3}")
        for i in range(90)
    ]
    assert infer_spec(events, "rich").crosses == ()


def test_log_rows_without_user_and_item() -> None:
    events = [example({f"C{i}": f"{i % 3}" for i in range(5)} | {"I1": float(row)}) for row in range(50)]
    for style in ("plain", "rich"):
        spec = infer_spec(events, style)  # type: ignore[arg-type]
        assert not {"user", "item"} & {field.source for field in spec.fields}
        assert {"C0", "C4", "I1"} <= set(kinds(spec))


def test_names_of_builtin_fields_and_of_sources() -> None:
    events = [example({"user": "x", "time": 3.0, "features.user": "y", "": "z", "*": "w"}, user="u")]
    for style in ("plain", "rich"):
        spec = infer_spec(events, style)  # type: ignore[arg-type]
        sources = {field.name: field.source for field in spec.fields}
        assert sources["user"] == "user"
        assert sources["features.user"] == "features.user"
        assert sources["features.features.user"] == "features.features.user"
        assert sources["features.time"] == "features.time"
        assert [field.source for field in spec.fields].count(REST) == 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", True, None], "category"),
        ([True, False], "category"),
        ([1, 2.5, None], "number"),
        ([1, 2, "NA"], "number"),
        ([1, "a", "b"], "category"),
        ([["a"], "a", 3], "bag"),
        ([[], []], "bag"),
    ],
)
def test_kind_of_mixed_values(values: list[Any], kind: str) -> None:
    assert kinds(infer_spec([example({"x": value}) for value in values]))["x"] == kind


def test_always_null_gets_no_field() -> None:
    assert "x" not in kinds(infer_spec([example({"x": None})]))


def test_nothing_at_all() -> None:
    assert set(kinds(infer_spec([]))) == {"user", "item", REST}
    assert {"user", "item", REST} <= set(kinds(infer_spec([Click(id="c", time=1, impression="s")], "rich")))


def test_many_features_share_the_rest() -> None:
    events = [example({f"f{i}": "x" for i in range(3000)}), example({"f2999": "y"})]
    for style in ("plain", "rich"):
        spec = infer_spec(events, style)  # type: ignore[arg-type]
        assert len(spec.fields) < 500
        assert "f2999" in kinds(spec)


def test_only_the_first_events_count() -> None:
    events = [*ratings(SAMPLE), example({"later": "x"})]
    assert "later" not in kinds(infer_spec(events))


def test_a_click_more_or_less_changes_nothing() -> None:
    events = impressions()
    only = [event for event in events if not isinstance(event, Click | Item)]
    assert infer_spec(events, "rich") == infer_spec(only, "rich")
