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
from streamrec.features.spec import Cross, FeatureSpec, Field
from streamrec.models.pipeline import Pipeline, _labelled
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


@pytest.fixture(params=list(KINDS))
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    pipeline = Pipeline(ModelSettings(kind=request.param), SPEC)
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    block, rejections = decoder.decode(lines(list(events(120))))
    assert not rejections
    pipeline.learn(_labelled(block), decoder.fields)
    return pipeline


def test_predictions_are_those_of_the_lines(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list(events(9))
    left_out = [["user", "item", *(f"features.{name}" for name in event["features"])] for event in asked]
    variants = [
        without(event, name) for event, its in zip(asked, left_out, strict=True) for name in ("", *its)
    ]
    expected = pipeline.score_lines(lines(variants))[0]
    assert len(set(expected.tolist())) > len(asked)
    before = pipeline.state_sha256()
    np.testing.assert_array_equal(pipeline.predict_without(lines(asked), left_out), expected, strict=True)
    monkeypatch.setattr(omission, "_MOST", 300)
    np.testing.assert_array_equal(pipeline.predict_without(lines(asked), left_out), expected, strict=True)
    assert pipeline.state_sha256() == before


def test_confidences_are_not_computed(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    (event,) = events(1)
    monkeypatch.setattr(pipeline.model, "score", None)
    seen = leave_one_out(pipeline, lines([event]), [["user", "item"]])
    assert len(seen.predictions) == 3


def test_effects_are_differences_of_log_odds_the_largest_first() -> None:
    predictions = np.array([0.5, 0.25, 0.9, 0.5, 0.125, 0.125], np.float32)
    seen = Occlusion([["user", "item", "features.x"], ["item"]], predictions, ratings=False)
    first, second = seen.effects()
    p = predictions.astype(np.float64)
    expected = [("item", logit(p[0]) - logit(p[2])), ("user", logit(p[0]) - logit(p[1])), ("features.x", 0.0)]
    assert [(its["feature"], its["contribution"]) for its in first] == expected
    assert second == [{"feature": "item", "contribution": 0.0}]
    (first, _) = seen._replace(ratings=True).effects()
    assert first[0] == {"feature": "item", "contribution": p[0] - p[2]}
