"""A model over a part: micro-batches by position, examples that wait, frame, roles, tasks."""

import math
from itertools import pairwise

import numpy as np
import pytest
from deep_batches import INPUTS, batch_of

from streamrec.events.feedback import CORRECTION, EARLY
from streamrec.layers.beside import BESIDE_FROM
from streamrec.models.deep import compiled, ranking
from streamrec.models.deep.build import deep_model, network_part
from streamrec.models.deep.model import DeepModel
from streamrec.models.deep.pending import Pending
from streamrec.models.settings import ModelSettings

CUTS = [(), (3,), (1, 2, 50), (64,), (63, 65, 128, 129), tuple(range(5, 200, 5))]


def model_of(micro_batch=16, kind="dcn", **more):
    deep = {"embedding": {"width": 4}, "top": (8,), "micro_batch": micro_batch, **more.pop("deep", {})}
    return deep_model(ModelSettings.model_validate({"kind": kind, "deep": deep, **more}), INPUTS)


def state(model):
    return {
        **{name: table.digest() for name, table in model.tables.items()},
        **{name: bytes(blob) for name, blob in model.blobs().items()},
    }


def learn_in_pieces(model, batch, cuts):
    edges = [0, *cuts, len(batch)]
    parts = [batch.part(a, b) for a, b in pairwise(edges)]
    return np.concatenate([model.learn(part) for part in parts])


def with_roles(batch, roles):
    return batch.of(role=np.asarray(roles, np.uint8))


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("kind", ["dcn", "fm"])
def test_it_does_not_matter_where_blocks_end(size, kind):
    batch = batch_of(200)
    whole = model_of(size, kind)
    expected = whole.learn(batch)
    for cuts in CUTS:
        model = model_of(size, kind)
        assert learn_in_pieces(model, batch, cuts).tobytes() == expected.tobytes()
        assert state(model) == state(whole)


@pytest.mark.parametrize("stop", [1, 15, 16, 33])
def test_a_copy_from_rows_and_blobs_goes_on_alike(stop):
    batch, model = batch_of(80), model_of()
    model.learn(batch.part(0, stop))
    copy = mirrored(model)
    assert state(copy) == state(model)
    rest = batch.part(stop, 80)
    assert model.score(rest).tobytes() == copy.score(rest).tobytes()
    assert model.learn(rest).tobytes() == copy.learn(rest).tobytes()
    assert state(copy) == state(model)


def mirrored(model):
    copy = model_of()
    for name, table in model.tables.items():
        for ids, rows in table.pieces():
            copy.tables[name].upsert(ids, rows, changed=False)
    copy.restore(model.blobs())
    return copy


def test_what_is_served_is_what_is_predicted_when_the_example_comes():
    """Between micro-batches, too: parameters stand, base rate and gain go on."""
    model, batch = model_of(5), batch_of(60)
    for b in range(60):
        one = batch.part(b, b + 1)
        served = model.score(one)[0]
        assert served.tobytes() == model.predict(one).tobytes() == model.learn(one).tobytes()


def test_scoring_changes_nothing():
    model, batch = model_of(), batch_of(50)
    model.learn(batch)
    before = state(model)
    scores = model.score(batch_of(30, seed=4))
    assert state(model) == before
    assert scores.shape == (2, 30)
    assert scores.dtype == np.float32
    assert (scores[1] > 0).all()
    assert model.score(batch.part(0, 0)).shape == (2, 0)


def test_a_step_is_one_of_the_sum_of_slopes():
    """The first micro-batch by hand: log loss at the base rate's offset, weights included."""
    model, batch = model_of(8), batch_of(8)
    part = network_part(
        ModelSettings.model_validate({"kind": "dcn", "deep": model_settings(8)}), INPUTS, "dcn"
    )
    evidence, tape = part.forward(batch)
    n = s = 0.0
    slopes = []
    for b in range(8):
        offset = math.log((s + 0.5) / (n - s + 0.5))
        p = 1 / (1 + math.exp(-offset - evidence[b]))
        slopes.append((p - batch.labels[b]) * batch.weights[b])
        n, s = n + batch.weights[b], s + batch.weights[b] * batch.labels[b]
    part.backward(tape, np.array(slopes))
    model.learn(batch)
    for name, array in part.dense_parameters.items():
        np.testing.assert_allclose(model.part.dense_parameters[name], array, rtol=1e-5, atol=1e-7)


def model_settings(micro_batch):
    return {"embedding": {"width": 4}, "top": (8,), "micro_batch": micro_batch}


def test_ratings_are_learned_by_squared_error():
    batch = batch_of(3000)
    stars = (3.0 + 1.5 * (batch.labels - 0.5)).astype(np.float32)
    batch = batch.of(labels=stars)
    model = model_of(8, task="rating")
    predictions = model.learn(batch)
    late = slice(2000, None)
    error = np.sqrt(np.mean((predictions[late] - stars[late]) ** 2))
    assert error < 0.97 * stars[late].std()
    assert model.predict(batch).mean() == pytest.approx(3.0, abs=0.1)
    assert (model.predict(batch) > 1).all()


def test_weight_zero_teaches_nothing_but_gives_rows():
    batch = batch_of(16)
    silent = batch.of(weights=np.zeros(16, np.float32))
    model, fresh = model_of(), model_of()
    model.learn(silent)
    assert model.predict(batch).tobytes() == fresh.predict(batch).tobytes()
    np.testing.assert_allclose(model.score(batch)[1], fresh.score(batch)[1], rtol=1e-5)
    assert len(model.tables["embedding"]) > 0


def test_early_negatives_and_their_corrections_are_weighed():
    """FN-weighted: a negative by (1 − p)(1 + p), its correction by 1 + p; the count takes the negative back."""
    batch = batch_of(2)
    batch = batch.of(labels=np.array([0, 1], np.float32), weights=np.ones(2, np.float32))
    model, plain = model_of(1), model_of(1, feedback={"policy": "plain"})
    early = with_roles(batch, [EARLY, CORRECTION])
    assert model.learn(early).tobytes() != plain.learn(early).tobytes()
    frame = np.frombuffer(model.blobs()["frame"], "<f8")
    assert frame[:2].tolist() == [1.0, 1.0]
    assert np.frombuffer(plain.blobs()["frame"], "<f8")[:2].tolist() == [2.0, 1.0]


def test_calibrated_feedback_changes_what_is_served():
    batch = batch_of(400)
    model = model_of(4, feedback={"policy": "fn_calibrated"})
    model.learn(with_roles(batch, np.where(batch.labels > 0, CORRECTION, EARLY)))
    evidence = model.part.forward(batch)[0]
    frame = np.frombuffer(model.blobs()["frame"], "<f8")
    learned = 1 / (1 + np.exp(-np.log((frame[1] + 0.5) / (frame[0] - frame[1] + 0.5)) - frame[2] * evidence))
    expected = np.minimum(learned / (1 - learned), 1)
    np.testing.assert_allclose(model.predict(batch), expected, rtol=1e-5)


def test_a_task_of_ones_own():
    class Always:
        def predict(self, evidence):
            return np.full(len(evidence), 0.25, np.float32)

        def take(self, evidence, batch):
            return self.predict(evidence), np.ones(len(evidence))

        def gain(self):
            return 2.0

        def blobs(self):
            return {}

        def restore(self, blobs):
            pass

    settings = ModelSettings(kind="dcn", deep={"micro_batch": 4})
    model = DeepModel(settings, network_part(settings, INPUTS, "dcn"), Always())
    batch = batch_of(40)
    before = model.part.forward(batch)[0]
    assert (model.learn(batch) == 0.25).all()
    assert (model.part.forward(batch)[0] < before).mean() > 0.9


def test_pending_examples_survive_as_bytes():
    pending, batch = Pending(), batch_of(9)
    assert pending.to_bytes() == b""
    pending.add(batch.part(0, 4), np.arange(4.0))
    pending.add(batch.part(4, 5), np.array([9.0]))
    again = Pending.from_bytes(pending.to_bytes())
    assert len(again) == len(pending) == 5
    (one, slopes), (other, others) = pending.take(), again.take()
    for a, b, expected in zip(one, other, batch.part(0, 5), strict=True):
        np.testing.assert_array_equal(a, expected)
        np.testing.assert_array_equal(b, expected)
        assert b.dtype == expected.dtype
        assert b.flags.writeable
    assert slopes.tolist() == others.tolist() == [0.0, 1.0, 2.0, 3.0, 9.0]
    assert len(pending) == 0


def test_settings_of_a_kind_are_written_out_and_what_was_set_is_known():
    given = ModelSettings.model_validate({"kind": "dlrm", "deep": {"embedding": {"width": 8}}})
    assert given.deep.bottom == (64, 16)
    assert given.deep.embedding.width == 8
    assert given.model_dump(exclude_unset=True) == {"kind": "dlrm", "deep": {"embedding": {"width": 8}}}
    stored = ModelSettings.model_validate(given.model_dump(mode="json"))
    assert stored == given
    other = ModelSettings.model_validate({**given.model_dump(exclude_unset=True), "kind": "dcn"})
    assert other.deep.bottom == ()
    assert (other.deep.embedding.width, other.deep.embedding.scale) == (8, 0.05)


def test_large_micro_batches_are_the_same_with_one_thread(monkeypatch):
    """Halves are summed by halves, whoever computes them."""

    def in_turn(here, there):
        return here(), there()

    batch = batch_of(BESIDE_FROM * 2 + 10, distinct=3000)
    with_two, alone = model_of(micro_batch=BESIDE_FROM), model_of(micro_batch=BESIDE_FROM)
    predictions = with_two.learn(batch)
    for module in (compiled, ranking):
        monkeypatch.setattr(module, "beside", in_turn)
    assert alone.learn(batch).tobytes() == predictions.tobytes()
    assert state(alone) == state(with_two)
