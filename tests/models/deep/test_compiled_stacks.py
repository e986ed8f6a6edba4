"""The program of a network against its layers, one after another."""

import numpy as np
import pytest
from deep_batches import INPUTS, batch_of

from streamrec.layers.activation import Activation
from streamrec.layers.base import Factors
from streamrec.layers.cross import CrossStack
from streamrec.layers.dense import Dense
from streamrec.layers.mlp import MLP
from streamrec.models.deep.build import ranking_model
from streamrec.models.deep.compiled import CompiledStacks
from streamrec.models.deep.settings import DeepSettings
from streamrec.models.deep.stacks import LayeredStacks
from streamrec.models.inputs import Inputs

OWN = Activation(np.tanh, lambda y: 1 - y * y)
#: interaction of so many columns, bottom's units, top's inputs.
NETWORKS = {
    "dcn": lambda n: {"interaction": CrossStack(n, 2)},
    "options": lambda n: {"interaction": CrossStack(n, 1, diag_scale=0.5, preactivation="tanh")},
    "no biases": lambda n: {"interaction": CrossStack(n, 3, bias=False)},
    "dense": lambda n: {"interaction": Dense(n, 7, "sigmoid")},
    "of vectors only": lambda n: {"interaction": CrossStack(18, 1)},
    "a top without hidden layers": lambda n: {"interaction": CrossStack(n, 1), "deep": {"top": ()}},
}


def network_of(name, bottom, inputs=INPUTS):
    beside = bottom[-1] if bottom else inputs.n_dense
    pieces = NETWORKS[name](18 + beside)
    deep = DeepSettings.model_validate(
        {"embedding": {"width": 6}, "bottom": bottom, "top": (8, 5), **pieces.pop("deep", {})}
    )
    model = ranking_model(inputs, settings=deep, **pieces)
    rng = np.random.default_rng(2)
    for array in model.dense_parameters.values():
        array[...] += rng.standard_normal(array.shape).astype(np.float32) * np.float32(0.2)
    return model, LayeredStacks(model.stacks, model.stacks.interaction.inputs > 18)


def multiplied(gradient):
    return gradient.product() if isinstance(gradient, Factors) else gradient


@pytest.mark.parametrize("bottom", [(), (5, 6)])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n", [1, 3, 40, 700])
def test_it_is_the_layers_forward_to_the_last_bit_and_back(name, bottom, n):
    model, layers = network_of(name, bottom)
    program, batch = model._network, batch_of(n)
    assert isinstance(program, CompiledStacks)
    e, _ = model.embedding.forward(batch)
    s, tape = program.forward(e, batch.dense)
    expected, its = layers.forward(e, batch.dense)
    assert s.tobytes() == expected.tobytes()
    slopes = np.random.default_rng(3).standard_normal(n)
    (of_e, gradients), (of_e2, gradients2) = program.backward(tape, slopes), layers.backward(its, slopes)
    np.testing.assert_allclose(of_e, of_e2, rtol=2e-4, atol=2e-5)
    assert {k: set(v) for k, v in gradients.items()} == {k: set(v) for k, v in gradients2.items()}
    for stack, expected_gradients in gradients2.items():
        for parameter, gradient in expected_gradients.items():
            got = multiplied(gradients[stack][parameter])
            np.testing.assert_allclose(got, multiplied(gradient), rtol=3e-4, atol=1e-4)
    assert program.forward(e, batch.dense)[0].tobytes() == s.tobytes()


def test_without_dense_columns():
    inputs = Inputs(("user", "item", "tags"))
    model, layers = network_of("dcn", (), inputs)
    batch = batch_of(4, inputs=inputs)
    e, _ = model.embedding.forward(batch)
    assert model._network.forward(e, batch.dense)[0].tobytes() == layers.forward(e, batch.dense)[0].tobytes()


@pytest.mark.parametrize(
    "pieces",
    [
        {"interaction": "dlrm"},
        {"interaction": "fm"},
        {"interaction": "dcn_v1"},
        {"interaction": CrossStack(22, 1, rank=2)},
        {"interaction": "dcn", "top": MLP(26, [3, 1], OWN)},
    ],
)
def test_other_layers_go_one_by_one(pieces):
    deep = DeepSettings.model_validate({"embedding": {"width": 6}, "top": (8,)})
    assert isinstance(ranking_model(INPUTS, settings=deep, **pieces)._network, LayeredStacks)
