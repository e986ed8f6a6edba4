"""The calibration layer: its steps are the equation's, it mends what is distorted, and is absent where not asked for."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from streamrec.errors import UsageError
from streamrec.events.feedback import CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.features.batch import Batch
from streamrec.features.spec import FeatureSpec
from streamrec.models.calibration import TABLE, CalibratedModel, CalibrationSettings
from streamrec.models.feedback import FeedbackSettings
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings

FIELDS = ("side", "topic")
PLAIN = FeedbackSettings(policy="plain").parameters()
TOPICS = np.array([11, 22, 33], np.uint64)


class Distorted:
    """A model whose logits are off; what it says stands in the dense column."""

    kind = "distorted"

    def __init__(self) -> None:
        self.tables: dict = {}

    def predict(self, batch: Batch) -> np.ndarray:
        return batch.dense[:, 0].copy()

    learn = predict

    def score(self, batch: Batch) -> np.ndarray:
        return np.stack([self.predict(batch), np.full(len(batch), 0.5, np.float32)])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def batch_of(predictions: np.ndarray, labels: np.ndarray, topics: np.ndarray, role: object = FINAL) -> Batch:
    """Two bags: one of two ids, one with the topic, empty where that is 0."""
    n = len(labels)
    sizes = np.stack([np.full(n, 2), topics != 0], axis=1).ravel()
    ids = np.concatenate([[1, 2, topic] if topic else [1, 2] for topic in topics.tolist()] or [[]])
    return Batch(
        ids.astype(np.uint64),
        np.ones(len(ids), np.float32),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        predictions.astype(np.float32)[:, None],
        labels.astype(np.float32),
        np.ones(n, np.float32),
        np.zeros(n, np.int64),
        np.broadcast_to(np.asarray(role, np.uint8), n).copy(),
    )


def made(by: str | None = None, feedback=PLAIN, precision: float = 10.0) -> CalibratedModel:
    return CalibratedModel(Distorted(), CalibrationSettings(by=by, precision=precision), FIELDS, feedback)


def stream(n: int, seed: int = 0) -> Batch:
    """Logits doubled and moved in one topic, right in another, without a topic halved."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1.5, n)
    topics = rng.choice(np.array([0, 11, 22], np.uint64), n)
    labels = rng.random(n) < sigmoid(logits)
    said = np.select([topics == 11, topics == 22], [2 * logits + 1, logits], 0.5 * logits)
    return batch_of(sigmoid(said), labels, topics)


def loss(p: np.ndarray, y: np.ndarray) -> float:
    p = np.clip(p.astype(float), 1e-6, 1 - 1e-6)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


@pytest.mark.parametrize("by", [None, "topic"])
@pytest.mark.parametrize("precision", [10.0, 100.0])
def test_each_step_is_newton_s(by: str | None, precision: float) -> None:
    batch, model = stream(300), made(by, precision=precision)
    got = model.learn(batch)
    lines: dict[int, np.ndarray] = {}
    curvatures: dict[int, np.ndarray] = {}
    topics = batch.ids[batch.offsets[1:-1:2].clip(max=len(batch.ids) - 1)]
    for i, p in enumerate(batch.dense[:, 0].astype(float)):
        has = batch.offsets[2 * i + 2] > batch.offsets[2 * i + 1]
        key = int(topics[i]) if by and has else 0
        line = lines.setdefault(key, np.array([0.0, 1.0]))
        x = np.array([1.0, math.log(p / (1 - p))])
        q = sigmoid(line @ x)
        assert got[i] == pytest.approx(q, rel=2e-4)
        curvatures[key] = curvatures.get(key, precision * np.eye(2)) + q * (1 - q) * np.outer(x, x)
        lines[key] = line - np.linalg.solve(curvatures[key], x) * (q - float(batch.labels[i]))
    assert len(model.tables[TABLE]) == len(lines)


@pytest.mark.parametrize(("by", "share"), [(None, (0.2, 0.6)), ("topic", (0.9, 1.02))])
def test_what_is_distorted_is_mended(by: str | None, share: tuple[float, float]) -> None:
    batch, model = stream(6000), made(by)
    model.learn(batch)
    new = stream(6000, seed=1)
    said, mended = new.dense[:, 0], model.predict(new)
    rng = np.random.default_rng(1)
    best = sigmoid(rng.normal(-1, 1.5, 6000))
    gained = (loss(said, new.labels) - loss(mended, new.labels)) / (
        loss(said, new.labels) - loss(best, new.labels)
    )
    assert share[0] < gained < share[1]


def test_a_batch_is_the_loop_and_predicting_changes_nothing() -> None:
    batch, whole, single = stream(400), made("topic"), made("topic")
    expected = whole.learn(batch)
    for i in range(len(batch)):
        one = batch.part(i, i + 1)
        before = single.predict(one)
        scores = single.score(one)
        assert single.learn(one)[0] == expected[i] == before[0] == scores[0, 0]
    assert single.tables[TABLE].digest() == whole.tables[TABLE].digest()
    single.score(batch_of(np.array([0.3]), np.array([0]), np.array([99])))
    assert single.tables[TABLE].digest() == whole.tables[TABLE].digest()


def test_a_new_slice_says_what_the_model_says_and_the_bound_has_the_slope() -> None:
    model = made("topic", precision=1.0)
    model.learn(stream(3000))
    batch = batch_of(np.array([0.3, 0.3]), np.zeros(2), np.array([99, 11]))
    p, bounds = model.score(batch)
    assert p[0] == pytest.approx(0.3)
    assert bounds[0] == pytest.approx(0.5)
    assert bounds[1] == pytest.approx(0.25, abs=0.05)  # that topic's logits are doubled


@pytest.mark.parametrize("policy", ["plain", "fn_weighted", "fn_calibrated"])
@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_early_and_sampled_negatives_are_learned_as_the_model_does(policy: str, rate: float) -> None:
    feedback = FeedbackSettings(policy=policy, negative_rate=rate).parameters()
    n, p = 4000, 0.04
    rng = np.random.default_rng(0)
    clicks = rng.random(n) < p
    roles = np.concatenate([[EARLY, CORRECTION] if click else [EARLY, CONFIRMED] for click in clicks])
    kept = (roles != EARLY) | (rng.random(len(roles)) < rate)
    roles = roles[kept]
    labels = (roles == CORRECTION).astype(np.float32)
    batch = batch_of(np.full(len(roles), p), labels, np.zeros(len(roles), np.uint64), roles)
    batch = batch.of(weights=np.where(labels, 1, 1 / rate).astype(np.float32))
    model = made(feedback=feedback, precision=100.0)
    start = model.predict(batch)[0]
    assert start == pytest.approx(p, rel=1e-5)
    model.learn(batch)
    expected = p / (1 + p) if policy == "plain" else p
    assert model.predict(batch)[0] == pytest.approx(expected, rel=0.15)


SPEC = FeatureSpec.model_validate(
    {"fields": [{"name": "topic", "kind": "category", "source": "features.topic"}]}
)


def test_a_model_without_it_is_described_as_before() -> None:
    plain = json.loads(Pipeline(ModelSettings(), SPEC).describe())
    assert "calibration" not in plain["settings"]
    blend = ModelSettings.model_validate({"kind": "blend", "calibration": {}})
    assert [part.calibration for part in blend.blend.parts] == [None, None]
    settings = ModelSettings.model_validate({"calibration": {"by": "topic"}})
    pipeline = Pipeline.from_blob(Pipeline(settings, SPEC).describe())
    assert pipeline.settings == settings
    assert TABLE in pipeline.tables


def test_mistakes_are_told() -> None:
    with pytest.raises(UsageError, match=r"by = 'topics': expected one of topic"):
        Pipeline(ModelSettings.model_validate({"calibration": {"by": "topics"}}), SPEC)
    with pytest.raises(ValidationError, match="only predictions of clicks can be calibrated"):
        ModelSettings.model_validate({"task": "rating", "calibration": {}})
