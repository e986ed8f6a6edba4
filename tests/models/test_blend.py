"""Models learned together: names, purity, what parts see, what they are judged by, settings."""

import functools
import itertools

import numpy as np
import pytest
from test_ftrl_model import batch_of, random_examples

from streamrec.events.feedback import CORRECTION, EARLY
from streamrec.models.blend import BlendModel, Voice
from streamrec.models.ftrl import FTRLModel
from streamrec.models.inputs import Inputs
from streamrec.models.registry import build_model
from streamrec.models.settings import ModelSettings

F = np.float32
INPUTS = Inputs(("a", "b"), ("a×b",), ("rate(a)",), 0)
LINEAR = {"parts": ["ftrl", "wide"]}


def built(**given):
    return build_model(ModelSettings.model_validate({"kind": "blend", "blend": LINEAR, **given}), INPUTS)


@functools.cache
def stream(n=400):
    """Negatives at once, corrections 30 examples later, ratings in between."""
    rng = np.random.default_rng(1)
    turns = []
    for i, (bags, label, weight) in enumerate(random_examples(n, 4, seed=2)):
        is_early = rng.random() < 0.7
        turns.append((i, (bags, 0 if is_early else label, weight), EARLY if is_early else 0, i + 1))
        if is_early and label:
            turns.append((i + 30, (bags, 1, weight), CORRECTION, i + 1))
    turns.sort(key=lambda turn: turn[0])
    batch = batch_of([turn[1] for turn in turns], 4)
    batch.role[:] = [turn[2] for turn in turns]
    times = 1_700_000_000_000 + 1000 * np.array([turn[0] for turn in turns], np.int64)
    return batch.of(time_ms=times, key=np.array([turn[3] for turn in turns], np.uint64))


def state(model):
    return {name: table.digest() for name, table in model.tables.items()}, dict(model.blobs())


@pytest.mark.parametrize("cuts", [[1], [100, 101, 250], list(range(1, 400, 7))])
def test_where_a_batch_ends_changes_nothing(cuts):
    whole, parted, batch = (
        built(blend={**LINEAR, "keep_s": 40}),
        built(blend={**LINEAR, "keep_s": 40}),
        stream(),
    )
    together = whole.learn(batch)
    pieces = [parted.learn(batch.part(a, b)) for a, b in itertools.pairwise([0, *cuts, len(batch)])]
    np.testing.assert_array_equal(np.concatenate(pieces), together)
    assert state(parted) == state(whole)


def test_prediction_is_pure_and_is_what_learning_returns():
    model, batch = built(), stream()
    model.learn(batch.part(0, 300))
    for b in range(300, 340):
        before, one = state(model), batch.part(b, b + 1)
        predicted = model.predict(one)
        assert state(model) == before
        assert model.score(one)[0] == predicted == model.learn(one)


def test_parts_see_what_they_would_see_alone():
    model, batch = built(), stream()
    model.learn(batch)
    plain, rich = FTRLModel(ModelSettings(kind="ftrl")), FTRLModel(ModelSettings(kind="wide"))
    plain.learn(batch.leading(2))
    rich.learn(batch)
    assert model.tables["ftrl.linear"].digest() == plain.table.digest()
    assert model.tables["wide.linear"].digest() == rich.table.digest()


def test_the_first_bags_are_those_of_every_example():
    batch = stream().leading(3)
    for b, (bags, *_) in zip(range(50), random_examples(400, 4, seed=2), strict=False):
        if not stream().role[: b + 1].any():
            one = batch.part(b, b + 1)
            assert one.ids.tolist() == [i for bag in bags[:3] for i, _ in bag]
    assert batch.n_fields == 3
    assert stream().leading(4) is stream()


def test_state_goes_by_commits_into_a_copy():
    model, copy, batch = built(), built(), stream()
    for part in (batch.part(0, 200), batch.part(200, len(batch))):
        model.learn(part)
        for name, table in model.tables.items():
            ids, rows, gone = table.take_changed()
            copy.tables[name].delete(gone, changed=False)
            copy.tables[name].upsert(ids, rows, changed=False)
    copy.restore(model.blobs())
    assert state(copy) == state(model)
    np.testing.assert_array_equal(copy.score(batch), model.score(batch))


def test_readers_get_what_influences_a_prediction():
    model = built(ftrl={"l1": 0.5})
    rows = np.array([[0.4, 1.0], [2.0, 1.0]], F)
    assert model.shadow("wide.linear", rows).tolist() == [True, False]
    assert model.shadow("recall", np.zeros((2, 3), F)).tolist() == [True, True]


class Forgetful:
    """Predicts p where it has not learned a negative of this key yet, then something else."""

    def __init__(self, p, then):
        self.p, self.then, self.seen, self.kind, self.tables = p, then, set(), "fake", {}

    def predict(self, batch):
        return np.array([self.then if key in self.seen else self.p for key in batch.key.tolist()], F)

    def learn(self, batch):
        predictions = np.empty(len(batch), F)
        for b in range(len(batch)):
            predictions[b] = self.predict(batch.part(b, b + 1))[0]
            self.seen.add(int(batch.key[b]))
        return predictions

    def blobs(self):
        return {}


def test_parts_are_judged_by_what_they_said_before_they_learned_the_negative():
    """One is right on arrival and remembers the negative; one is wrong and remembers nothing."""
    rng = np.random.default_rng(3)
    settings = ModelSettings(kind="blend", blend=LINEAR, feedback={"policy": "fn_weighted"})
    model = BlendModel(
        settings, {"fast": Voice(Forgetful(0.3, 0.05), 1), "slow": Voice(Forgetful(0.2, 0.2), 1)}
    )
    turns = []
    for i in range(3000):
        turns.append((i, EARLY))
        if rng.random() < 0.3:
            turns.append((i, CORRECTION))
    examples = [([[(1, 1.0)]], int(role == CORRECTION), 1.0) for _, role in turns]
    batch = batch_of(examples, 1).of(key=np.array([i + 1 for i, _ in turns], np.uint64))
    batch.role[:] = [role for _, role in turns]
    model.learn(batch)
    assert model.mixture.shares[0] > 20 * model.mixture.shares[1]


def test_predictions_wait_for_their_correction_no_longer_than_asked_for():
    model, batch = built(blend={**LINEAR, "keep_s": 40}), stream()
    model.learn(batch)
    early = int((batch.role == EARLY).sum())
    assert 0 < len(model.tables["recall"]) < early / 2
    for_ever = built(blend={**LINEAR, "keep_s": 1e9})
    for_ever.learn(batch)
    assert len(for_ever.tables["recall"]) == early - int((batch.role == CORRECTION).sum())


def test_parts_take_what_they_do_not_set_from_the_blend():
    settings = ModelSettings.model_validate(
        {
            "kind": "blend",
            "ftrl": {"l1": 0.5},
            "expire_after_s": 60.0,
            "blend": {"parts": ["wide", {"kind": "wide", "ftrl": {"learning_rate": 0.1}}, "dcn"]},
        }
    )
    parts = settings.blend.named_parts()
    assert list(parts) == ["wide", "wide2", "dcn"]
    assert (parts["wide"].ftrl.l1, parts["wide2"].ftrl.l1, parts["wide2"].ftrl.learning_rate) == (
        0.5,
        0.0,
        0.1,
    )
    assert {part.expire_after_s for part in parts.values()} == {60.0}
    assert ModelSettings.model_validate_json(settings.model_dump_json()) == settings
    again = ModelSettings.model_validate({**settings.model_dump(exclude_unset=True), "kind": "blend"})
    assert again == settings


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"parts": ["blend"]}, "expected parts that are models of task 'click', got a blend"),
        ({"parts": [{"kind": "wide", "task": "rating"}]}, "got wide of task 'rating'"),
        ({"parts": ["wider"]}, "Input should be 'ftrl'"),
        ({"parts": ["wide"], "share": 0}, "greater than 0"),
        ({"parts": ["wide"], "keep_s": float("inf")}, "finite"),
        ({"parts": ["wide"] * 9}, "at most 8"),
    ],
)
def test_wrong_parts_are_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        ModelSettings.model_validate({"kind": "blend", "blend": wrong})


def test_ratings_are_blended_by_squared_error():
    rng = np.random.default_rng(5)
    examples = [([[(int(i) + 1, 1.0)]] + [[]] * 3, float(i % 5), 1.0) for i in rng.integers(0, 50, 4000)]
    batch, model = batch_of(examples, 4), built(task="rating")
    mixed = model.learn(batch)
    alone = [build_model(part, INPUTS) for part in model_parts("rating")]
    errors = [((part.learn(batch) - batch.labels) ** 2).mean() for part in alone]
    assert ((mixed - batch.labels) ** 2).mean() < 1.01 * min(errors)


def model_parts(task):
    return ModelSettings.model_validate({"kind": "blend", "task": task, "blend": LINEAR}).blend.parts
