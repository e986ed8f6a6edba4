"""Occlusion asks a model for predictions only, of all items at once; they are those of the lines without each
field.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serving_fakes import without

from streamrec.events import omission
from streamrec.events.decoder import BlockDecoder
from streamrec.events.example_reader import labelled
from streamrec.features.batch import Batch
from streamrec.features.spec import Cross, FeatureSpec, Field
from streamrec.models import excerpt
from streamrec.models.calibration import CalibrationSettings
from streamrec.models.pipeline import Pipeline
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.serving.occlusion import Occlusion, leave_one_out, logit

SPEC = FeatureSpec(
    fields=(
        Field(name="user", kind="category", statistics=True),  # type: ignore[arg-type]
        Field(name="item", kind="category"),
        Field(name="age", kind="number", slope=True),
        Field(name="title", kind="text"),
        Field(name="rest", kind="category", source="features.*"),
    ),
    crosses=(Cross(fields=("user", "title")), Cross(fields=("age", "item"))),
)


def events(n: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(4)
    for i in range(n):
        features = {
            "age": float(rng.integers(20, 60)),
            "title": ["Big Fish", "Fish", "Big big"][rng.integers(3)],
            "tags": [["a", "b", "c"][k] for k in rng.integers(0, 3, rng.integers(0, 4))],
            "city": ["Köln", "Ulm", None][rng.integers(3)],
        }
        features = {name: its for name, its in features.items() if rng.random() < 0.9}
        event = {"type": "example", "id": "rank", "time": 1_700_000_000_000 + i, "features": features}
        named = {"user": f"u{rng.integers(5)}"} if rng.random() < 0.8 else {}
        yield event | named | {"item": f"i{rng.integers(9)}", "label": int(rng.random() < 0.3)}


def lines(made: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(event) + "\n" for event in made).encode()


def learn(pipeline: Pipeline, made: list[dict[str, Any]]) -> None:
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    block, rejections = decoder.decode(lines(made))
    assert not rejections
    pipeline.learn(labelled(block), decoder.fields)


@pytest.fixture(params=list(KINDS))
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    pipeline = Pipeline(ModelSettings(kind=request.param), SPEC)
    learn(pipeline, list(events(120)))
    return pipeline


def fields(event: dict[str, Any]) -> list[str]:
    return ["user", "item", *(f"features.{name}" for name in event["features"])]


def scored(pipeline: Pipeline, asked: list[dict[str, Any]]) -> np.ndarray:
    """Of each event itself, then without each field, by lines."""
    scores = pipeline.score_lines(lines([without(its, name) for its in asked for name in ("", *fields(its))]))
    predictions: np.ndarray = scores[0]
    return predictions


def test_predictions_are_those_of_the_lines(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list(events(9))
    expected = scored(pipeline, asked)
    assert len(set(expected.tolist())) > len(asked)
    before = pipeline.state_sha256()
    for most in (1 << 18, 300):
        monkeypatch.setattr(omission, "_MOST", most)
        predictions = pipeline.predict_without(lines(asked), [fields(event) for event in asked])()
        np.testing.assert_array_equal(predictions, expected, strict=True)
    assert pipeline.state_sha256() == before


def test_predictions_are_as_of_when_they_were_asked_for(pipeline: Pipeline) -> None:
    """Whatever is learned and asked meanwhile, and whichever are computed first."""
    asked, others = ([its | {"user": "new"} for its in list(events(60))[at:]] for at in (55, 40))
    expected = scored(pipeline, asked)
    first = pipeline.predict_without(lines(asked), [fields(event) for event in asked])
    learn(pipeline, [its | {"user": "new"} for its in events(200)])
    expected_others = scored(pipeline, others)
    second = pipeline.predict_without(lines(others), [fields(event) for event in others])
    learn(pipeline, list(events(60)))
    assert (scored(pipeline, asked) != expected).any()
    for _ in range(2):
        np.testing.assert_array_equal(second(), expected_others, strict=True)
        np.testing.assert_array_equal(first(), expected, strict=True)


def test_predictions_need_the_model_no_more(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    (event,) = events(1)
    expected = scored(pipeline, [event])
    compute = pipeline.predict_without(lines([event]), [fields(event)])
    calls: list[Any] = []
    monkeypatch.setattr(pipeline.model, "predict", calls.append)
    np.testing.assert_array_equal(compute(), expected, strict=True)
    assert calls == []
    pipeline.predict_without(lines([event]), [fields(event)])
    assert calls == []


@pytest.mark.parametrize("most", [5, 4])
def test_calibrations_of_many_values_are_predicted_with_at_once(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(ModelSettings(kind="dcn", calibration=CalibrationSettings(by="item")), SPEC)
    learn(pipeline, [its | {"item": f"i{i % most}"} for i, its in enumerate(events(120))])
    (event,) = events(1)
    expected = scored(pipeline, [event])
    monkeypatch.setattr(excerpt, "_MOST", 4)
    predictions, calls = pipeline.model.predict, []

    def predict(batch: Batch) -> np.ndarray:
        calls.append(batch)
        return predictions(batch)

    monkeypatch.setattr(pipeline.model, "predict", predict)
    compute = pipeline.predict_without(lines([event]), [fields(event)])
    assert bool(calls) == (most > 4)
    learn(pipeline, list(events(90)))
    np.testing.assert_array_equal(compute(), expected, strict=True)
    assert (scored(pipeline, [event]) != expected).any()


def test_confidences_are_not_computed(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    (event,) = events(1)
    monkeypatch.setattr(type(pipeline.model), "score", None)
    seen = leave_one_out(pipeline, lines([event]), [["user", "item"]])
    assert len(seen.predictions()) == 3


def test_effects_are_differences_of_log_odds_the_largest_first() -> None:
    predictions = np.array([0.5, 0.25, 0.9, 0.5, 0.125, 0.125], np.float32)
    seen = Occlusion([["user", "item", "features.x"], ["item"]], lambda: predictions, ratings=False)
    first, second = seen.effects()
    p = predictions.astype(np.float64)
    expected = [("item", logit(p[0]) - logit(p[2])), ("user", logit(p[0]) - logit(p[1])), ("features.x", 0.0)]
    assert [(its["feature"], its["contribution"]) for its in first] == expected
    assert second == [{"feature": "item", "contribution": 0.0}]
    (first, _) = seen._replace(ratings=True).effects()
    assert first[0] == {"feature": "item", "contribution": p[0] - p[2]}
