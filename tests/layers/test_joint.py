"""Layers learned as one vector."""

import numpy as np

from streamrec.layers.dense import Dense
from streamrec.layers.joint import Joint
from streamrec.optim.newton import Newton, NewtonSettings

ROW = np.array([[0.3, -0.2, 0.5]], np.float32)


def network():
    layers = [Dense(3, 2, "tanh", seed=4, name="a."), Dense(2, 1, seed=4, name="b.")]
    return layers, Joint(layers, Newton(NewtonSettings()))


def learn(layers, joint, label):
    first, second = layers
    hidden, of_first = first.forward(ROW)
    s, of_second = second.forward(hidden)
    dy = second.backward(of_second, np.ones((1, 1), np.float32), joint.gradients)
    first.backward(of_first, dy, joint.gradients)
    joint.step(float(s[0, 0]) - label, 1.0)
    return float(s[0, 0])


def test_layers_start_where_they_would_alone_and_learn_together():
    layers, joint = network()
    alone = Dense(3, 2, "tanh", seed=4, name="a.")
    assert layers[0].forward(ROW)[0].tobytes() == alone.forward(ROW)[0].tobytes()
    assert joint.width == 3 * 2 + 2 + 2 + 1
    for _ in range(5):
        learn(layers, joint, 0.8)
    assert abs(learn(layers, joint, 0.8) - 0.8) < 1e-2


def test_rows_of_the_table_carry_over_to_other_layers_whole():
    """What a commit took, another process learns on from to the last bit."""
    layers, joint = network()
    joint.table.take_changed()
    for label in (0.8, 0.1):
        learn(layers, joint, label)
    others, other = network()
    ids, rows, _ = joint.table.take_changed()
    other.table.upsert(ids, rows)
    for label in (0.5, 0.4):
        assert learn(layers, joint, label) == learn(others, other, label)
    assert joint.table.digest() == other.table.digest()
