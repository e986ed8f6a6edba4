"""Networks of every kind: gradients by finite differences, pieces of one's own, single examples, parameters."""

import numpy as np
import pytest
from deep_batches import INPUTS, batch_of

from streamrec.errors import ConfigError
from streamrec.layers.mlp import MLP
from streamrec.models.deep.build import INTERACTIONS, deep_model, ranking_model
from streamrec.models.deep.embedding import BagEmbedding
from streamrec.models.deep.ranking import RankingModel
from streamrec.models.deep.settings import DeepSettings, filled
from streamrec.models.deep.stacks import Stacks
from streamrec.models.inputs import Inputs
from streamrec.models.settings import ModelSettings
from streamrec.optim.adagrad import AdagradSettings

SGD = {"name": "momentum", "learning_rate": 1.0, "momentum": 0.0}
NETWORKS = [(kind, bottom) for kind in INTERACTIONS for bottom in ((), (5, 6))]


def settings_of(kind="dcn", bottom=(), **more):
    embedding = {"width": 6, "scale": 0.5, **more.pop("embedding", {})}
    given = {"embedding": embedding, "bottom": bottom, "top": (8,), **more}
    return filled(DeepSettings.model_validate(given), kind)


def model_of(kind="dcn", bottom=(), **more):
    return ranking_model(INPUTS, kind, settings_of(kind, bottom, **more))


def content(model):
    return {name: array.copy() for name, array in model.dense_parameters.items()}


@pytest.mark.parametrize(("kind", "bottom"), NETWORKS)
def test_one_step_of_plain_descent_is_the_derivative(kind, bottom):
    """lr 1, no momentum: what a parameter moves by is its gradient, against finite differences of Σ slope·s."""
    model, rng, batch = smooth(kind, bottom), np.random.default_rng(5), batch_of(6)
    for array in model.dense_parameters.values():
        array[...] += rng.standard_normal(array.shape).astype(np.float32) * np.float32(0.3)
    slopes = rng.standard_normal(len(batch))
    before, tables = content(model), model.embedding._table
    ids = np.unique(np.concatenate(list(bags_of(batch))))
    vectors = tables.acquire(ids)

    def loss():
        return float(model.forward(batch)[0] @ slopes)

    expected = {name: [] for name in before}
    for name, array in model.dense_parameters.items():
        for index in list(np.ndindex(array.shape))[:: max(1, array.size // 7)]:
            expected[name].append((index, difference(loss, array, index)))
    of_vectors = [
        (i, j, vector_difference(loss, tables, ids[i], j)) for i in range(0, len(ids), 5) for j in (0, 3)
    ]
    _, tape = model.forward(batch)
    model.backward(tape, slopes)
    for name, each in expected.items():
        for index, slope in each:
            moved = before[name][index] - model.dense_parameters[name][index]
            assert moved == pytest.approx(slope, rel=2e-2, abs=4e-3), (name, index)
    after = tables.lookup(ids)
    for i, j, slope in of_vectors:
        assert vectors[i, j] - after[i, j] == pytest.approx(slope, rel=2e-2, abs=4e-3)
    assert max(abs(slope) for _, _, slope in of_vectors) > 0.1


def smooth(kind, bottom):
    """With tanh in place of ReLU, whose kinks differences would see."""
    settings = settings_of(kind, bottom, optimizers={"": SGD}, embedding={"optimizer": SGD})
    usual = ranking_model(INPUTS, kind, settings)
    stack = MLP(4, bottom, "tanh", "tanh") if bottom else None
    top = MLP(usual.stacks.top.inputs, [8, 1], "tanh")
    return ranking_model(INPUTS, kind, settings, bottom=stack, top=top)


def bags_of(batch):
    for b in range(len(batch)):
        first = b * INPUTS.n_bags
        yield batch.ids[batch.offsets[first] : batch.offsets[first + 3]]


def difference(loss, array, index, h=1e-2):
    kept = array[index]
    array[index] = kept + h
    up = loss()
    array[index] = kept - h
    down = loss()
    array[index] = kept
    return (up - down) / (2 * h)


def vector_difference(loss, tables, identity, column, h=1e-2):
    one = np.array([identity], np.uint64)
    row, losses = tables.table.get(one)[0], []
    for step in (h, -h):
        moved = row.copy()
        moved[0, column] += step
        tables.table.upsert(one, moved)
        losses.append(loss())
    tables.table.upsert(one, row)
    return (losses[0] - losses[1]) / (2 * h)


@pytest.mark.parametrize(("kind", "bottom"), NETWORKS)
def test_an_example_alone_has_the_bits_it_has_in_a_batch(kind, bottom):
    model, batch = model_of(kind, bottom), batch_of(90)
    for part in range(3):
        learn(model, batch.part(part * 30, part * 30 + 30))
    together = model.forward(batch)[0]
    for b in (0, 1, 45, 89):
        assert model.forward(batch.part(b, b + 1))[0].tobytes() == together[b : b + 1].tobytes()
    assert np.abs(together).max() > 0
    assert len(model.forward(batch.part(0, 0))[0]) == 0


def learn(model, batch):
    evidence, tape = model.forward(batch)
    model.backward(tape, 1 / (1 + np.exp(-evidence)) - batch.labels)
    return evidence


@pytest.mark.parametrize("kind", INTERACTIONS)
def test_it_learns_what_there_is(kind):
    """Odd users click: .3 and .7, an entropy of .61."""
    fast = {"name": "adagrad", "learning_rate": 0.2}
    model, batch = model_of(kind, embedding={"scale": 0.3, "optimizer": fast}), batch_of(8000)
    losses = []
    for start in range(0, 8000, 8):
        part = batch.part(start, start + 8)
        s = learn(model, part)
        losses.append(np.logaddexp(0, s) - part.labels * s)
    assert np.mean(losses[-250:]) < 0.67
    assert np.mean(losses[:20]) > 0.68


def test_forward_changes_nothing():
    model, batch = model_of(), batch_of(20)
    before = {name: table.digest() for name, table in model.tables.items()}
    _, tape = model.forward(batch)
    model.bound(tape)
    assert {name: table.digest() for name, table in model.tables.items()} == before


def test_bags_of_statistics_have_no_vectors():
    model, batch = model_of(), batch_of(50)
    learn(model, batch)
    expected = np.unique(np.concatenate(list(bags_of(batch))))
    ids = np.sort(np.concatenate([ids for ids, _ in model.embedding_parameters["embedding"].pieces()]))
    np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("optimizer", ["adagrad", SGD])
def test_the_bound_is_what_a_step_of_slope_one_moves_by(optimizer):
    """Of vectors only, to first order: of small steps nothing else is left."""
    small = optimizer if isinstance(optimizer, dict) else {"name": optimizer}
    small = {**small, "learning_rate": 1e-4}
    frozen = {"name": "momentum", "learning_rate": 1e-30, "momentum": 0.0}
    model = model_of(embedding={"optimizer": small}, optimizers={"": frozen})
    batch = batch_of(1)
    learn(model, batch)
    evidence, tape = model.forward(batch)
    (bound,) = model.bound(tape)
    model.backward(tape, np.ones(1))
    assert bound == pytest.approx(evidence[0] - model.forward(batch)[0][0], rel=2e-2)
    assert bound > 1e-6


def test_of_known_values_a_score_is_surer_than_of_new_ones():
    slow = {"optimizer": {"name": "adagrad", "learning_rate": 0.05}}
    model, batch, new = model_of(embedding=slow), batch_of(2000), batch_of(50, seed=8, distinct=10**6)
    for start in range(0, 2000, 20):
        learn(model, batch.part(start, start + 20))
    known = batch.part(0, 50)
    assert model.bound(model.forward(known)[1]).mean() < model.bound(model.forward(new)[1]).mean() / 2


def test_defaults_are_those_of_the_configurable_model():
    model = ranking_model(INPUTS)
    shapes = {name: array.shape for name, array in model.dense_parameters.items() if name.endswith("kernel")}
    assert shapes == {
        "bottom.0.kernel": (4, 256),
        "bottom.1.kernel": (256, 64),
        "bottom.2.kernel": (64, 16),
        "top.0.kernel": (16 + 4 * 3 // 2, 512),
        "top.1.kernel": (512, 256),
        "top.2.kernel": (256, 1),
    }
    assert ranking_model(INPUTS, "dcn").dense_parameters["interaction.1.kernel"].shape == (64, 64)
    assert list(model.embedding_parameters) == ["embedding"]
    assert set(model.tables) == {"dense", "embedding"}


class Doubling:
    """A layer of one's own."""

    def __init__(self, width):
        self.inputs = self.units = width
        self.parameters = {"factor": np.full(1, 2, np.float32)}

    def forward(self, x):
        return x * self.parameters["factor"], (x,)

    def backward(self, tape, dy, gradients):
        gradients["factor"] = (tape[0] * dy).sum(keepdims=True).reshape(1).astype(np.float32)
        return dy * self.parameters["factor"]


def test_pieces_of_ones_own():
    wide = BagEmbedding(3, settings_of(embedding={"width": 2}).embedding, seed=4)
    model = ranking_model(
        INPUTS, Doubling(10), settings_of(), embedding=wide, bottom=Doubling(4), top=MLP(14, [3, 1])
    )
    before = content(model)
    assert {"bottom.factor", "interaction.factor", "top.0.kernel", "top.1.bias"} <= set(before)
    for _ in range(5):
        learn(model, batch_of(30))
    after = model.dense_parameters
    assert after["bottom.factor"][0] != 2 != after["interaction.factor"][0]
    assert model.stacks.bottom.parameters["factor"] is after["bottom.factor"]


@pytest.mark.parametrize(
    ("stacks", "text"),
    [
        (lambda e: Stacks(MLP(3, [2]), Doubling(20), MLP(22, [1])), "bottom: expected 4 inputs.* got 3"),
        (lambda e: Stacks(None, Doubling(19), MLP(22, [1])), "interaction: expected 18 inputs.* 22, got 19"),
        (lambda e: Stacks(None, Doubling(22), MLP(22, [1])), "top: expected 26 inputs.* got 22 inputs"),
        (lambda e: Stacks(None, Doubling(22), MLP(26, [2])), "1 unit, got 26 inputs and 2 units"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(stacks, text):
    embedding = BagEmbedding(3, settings_of().embedding)
    with pytest.raises(ValueError, match=text):
        RankingModel(embedding, stacks(embedding), 4, {"": AdagradSettings()})


def test_optimizers_by_group():
    fast, slow = ({**SGD, "learning_rate": rate} for rate in (1.0, 0.5))
    one = model_of(optimizers={"": fast})
    two = model_of(optimizers={"top": slow, "interaction.0": fast, "interaction.1": slow})
    starts = content(one)
    for model in (one, two):
        _, tape = model.forward(batch_of(5))
        model.backward(tape, np.ones(5))
    for name, start in starts.items():
        share = 1.0 if name.startswith("interaction.0") else 0.5
        moved = one.dense_parameters[name] - start
        np.testing.assert_allclose(two.dense_parameters[name] - start, share * moved, rtol=1e-3, atol=1e-6)
        assert moved.any()


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (["top"], "'interaction.0.kernel' is in none"),
        (["top", "interaction", "interaction.0"], "'interaction.0.kernel' is in two, 'interaction' and"),
        (["", "bottom"], "no parameter is in group 'bottom'"),
        (["top", "interactio"], "'interaction.0.kernel' is in none"),
    ],
)
def test_gaps_and_overlaps_of_groups_are_errors(groups, text):
    with pytest.raises(ValueError, match=text):
        model_of(optimizers=dict.fromkeys(groups, "adagrad"))


@pytest.mark.parametrize("kind", [kind for kind in INTERACTIONS if kind != "dlrm"])
def test_without_dense_columns_and_with_a_single_field(kind):
    inputs = Inputs(("item",))
    learn(ranking_model(inputs, kind, settings_of(kind)), batch_of(5, inputs=inputs))


def test_of_one_field_there_is_no_product():
    with pytest.raises(ConfigError, match="model of kind dlrm: expected two fields or a dense column"):
        deep_model(ModelSettings(kind="dlrm"), Inputs(("item",)))
