"""The Deep & Cross walk-through on a tenth of its rows, learned once."""

import numpy as np
import pytest

from streamrec.cli.bench import dcn_walkthrough as walk
from streamrec.cli.bench.figure import Figure
from streamrec.layers.strength import pair_strengths, ranked_pairs

ROWS, OTHERS = walk.data(7_000, 11), walk.data(5_000, 12)


def rmse(crosses):
    return float(np.sqrt(np.mean((crosses.predict(OTHERS.x) - OTHERS.y) ** 2)))


def test_one_layer_of_36_parameters_finds_the_planted_pairs():
    crosses = walk.learn_crosses(ROWS, 1, seed=5)
    assert crosses.parameters == 36
    assert rmse(crosses) <= 0.0281  # .0175 is the least that products of two can do
    kernel = crosses.stack.parameters["0.kernel"]
    pairs = ranked_pairs(
        pair_strengths(kernel, [1] * 5, crosses.logit.parameters["logit.kernel"]), walk.FIELDS
    )
    found = {(a, b): round(strength, 1) for a, b, strength in pairs[:3]}
    # planted 3.1, 1.8, 1.5; the product of all four adds an eighth to each
    assert found == {
        ("employed", "almond"): pytest.approx(3.2, abs=0.15),
        ("employed", "rum"): pytest.approx(1.9, abs=0.15),
        ("rum", "almond"): pytest.approx(1.6, abs=0.15),
    }


def test_three_layers_are_all_but_exact_and_repeatable():
    three, again = (walk.learn_crosses(ROWS, 3, seed=5) for _ in range(2))
    assert rmse(three) <= 0.002
    for name, value in three.stack.parameters.items():
        assert value.tobytes() == again.stack.parameters[name].tobytes()


def test_the_network_has_the_published_size():
    network = walk.learn_dnn(walk.Data(ROWS.x[:160], ROWS.y[:160]), seed=5)
    assert sum(value.size for value in network.parameters.values()) == 167_425
    before = walk.learn_dnn(walk.Data(ROWS.x[:0], ROWS.y[:0]), seed=5)
    error = [
        np.square(each.forward(OTHERS.x[:500])[0][:, 0] - OTHERS.y[:500]).mean() for each in (network, before)
    ]
    assert error[0] < error[1]


def test_a_figure_carries_what_it_has_besides():
    figure = Figure("cross_1", 0.5, "RMSE", 1.0, goal=(None, 1.0), more={"parameters": 36})
    assert figure.as_json()["parameters"] == 36
    assert "more" not in figure.as_json()
