"""Numbers printed elsewhere: TensorFlow Recommenders' ClippyAdagrad, TensorFlow's FTRL in vector form, and by hand."""

import numpy as np
import pytest
from optimizer_oracles import run

from streamrec.optim.clippy import Clippy, ClippySettings
from streamrec.optim.ftrl_vector import FTRLVector, FTRLVectorSettings
from streamrec.optim.registry import OPTIMIZERS, optimizer_of, optimizer_settings

FACTORS = [0.012649123, 0.074392036, 0.09933936]


def test_clippy_of_tensorflow_recommenders():
    w, g = [1.0, -2.0, 0.5], np.array([[0.1, 5.0, -0.3]], np.float32)
    optimizer = Clippy(ClippySettings(learning_rate=1.0))
    rows = np.zeros((1, 6), np.float32)
    rows[0, :3] = w
    optimizer.begin(rows, 3)
    factors = []
    for _ in range(3):
        before = rows.copy()
        optimizer.apply(rows, g)
        wanted = -g / np.sqrt(before[:, 3:] + 1e-7)
        shares = ((rows - before)[:, :3] / wanted)[0]
        assert np.ptp(shares) < 1e-4  # one factor for the vector
        factors.append(shares[1])  # of the weight that moves most, so to the most digits
    np.testing.assert_allclose(factors, FACTORS, rtol=3e-6)
    np.testing.assert_allclose(rows[0, :3], [0.9448931, -2.3444173, 0.61952025], rtol=1e-6)


def test_the_oracle_of_clippy_gives_the_same():
    settings, g = ClippySettings(learning_rate=1.0).model_dump(), [0.1, 5.0, -0.3]
    factors = [run("clippy", settings, [1.0, -2.0, 0.5], [g] * k)[1]["c"] for k in (1, 2, 3)]
    np.testing.assert_allclose(factors, FACTORS, rtol=1e-6)


G = [0.1, 0.2, 0.01, 0.02]
V = [1.0, 2.0, 4.0, 3.0]
TENSORFLOW = [  # REFERENCE 1; learning rate 3, n0 .1, TensorFlow's start: w given, z = 0
    ({}, [0.0] * 4, 3, [-2.60260963, -4.29698515, -0.28432083, -0.56694895]),
    ({}, V, 3, [-2.55607247, -3.98729396, -0.28232238, -0.56096673]),
    ({"l1": 0.001}, V, 10, [-7.66718769, -10.91273689, -0.93460727, -1.86147261]),
    ({"l1": 0.001, "l2": 2.0}, V, 10, [-0.24059935, -0.46829352, -0.02406147, -0.04830509]),
    (
        {"l1": 0.001, "l2": 2.0, "l2_shrinkage": 0.1},
        V,
        10,
        [-0.22578995, -0.44345796, -0.14378493, -0.13229476],
    ),
]


@pytest.mark.parametrize(("changes", "start", "steps", "expected"), TENSORFLOW)
def test_ftrl_of_tensorflow(changes, start, steps, expected):
    optimizer = FTRLVector(
        FTRLVectorSettings(learning_rate=3.0, initial_accumulator=0.1, beta=0.0, **changes)
    )
    rows = np.zeros((1, 12), np.float32)
    rows[0, :4] = start
    optimizer.begin(rows, 4)
    rows[0, 4:8] = 0.0
    for _ in range(steps):
        optimizer.apply(rows, np.array([G], np.float32))
    np.testing.assert_allclose(rows[0, :4], expected, rtol=1e-6)


@pytest.mark.parametrize("l1", [0.0, 0.3])
def test_ftrl_keeps_the_weights_it_starts_with(l1):
    """What z0 is for: TensorFlow's start loses them at the first gradient, however small."""
    optimizer = FTRLVector(FTRLVectorSettings(l1=l1, l2=0.2))
    rows = np.zeros((1, 9), np.float32)
    rows[0, :3] = start = [0.3, -0.7, 0.0]
    optimizer.begin(rows, 3)
    forgotten = rows.copy()
    forgotten[0, 3:6] = 0.0
    g = np.full((1, 3), 1e-6, np.float32)
    optimizer.apply(rows, g)
    optimizer.apply(forgotten, g)
    np.testing.assert_allclose(rows[0, :3], start, atol=1e-6)
    assert np.abs(forgotten[0, :3]).max() < 1e-6


def test_first_steps_by_hand():
    """w = 1, g = .3: AdaGrad 1 − .5·.3/√(.1 + .09); Adam 1 − .5·.3/(√.09); momentum 1 − .5·.3, then 1.9 times that."""
    hand = {
        "adagrad": [1 - 0.15 / 0.19**0.5, 1 - 0.15 / 0.19**0.5 - 0.15 / 0.28**0.5],
        "rowwise_adagrad": [1 - 0.15 / 0.19**0.5, 1 - 0.15 / 0.19**0.5 - 0.15 / 0.28**0.5],
        "adam": [0.5, 0.0],
        "momentum": [0.85, 0.85 - 0.15 * 1.9],
    }
    for name, expected in hand.items():
        extra = {"momentum": 0.9} if name == "momentum" else {}
        optimizer = optimizer_of(optimizer_settings({"name": name, "learning_rate": 0.5, **extra}))
        rows = np.ones((1, 1 + optimizer.slots(1)), np.float32)
        optimizer.begin(rows, 1)
        for value in expected:
            optimizer.apply(rows, np.array([[0.3]], np.float32))
            assert rows[0, 0] == pytest.approx(value, abs=2e-6), name


def test_adam_counts_the_steps_of_each_row():
    optimizer = OPTIMIZERS["adam"].build(OPTIMIZERS["adam"].settings(learning_rate=0.01))
    rows = np.zeros((2, 4), np.float32)
    optimizer.begin(rows, 1)
    for k in range(50):
        optimizer.apply(rows[:1], np.array([[1.0 + k % 2]], np.float32))
    optimizer.apply(rows, np.array([[1.0], [1.0]], np.float32))
    assert rows[:, 3].tolist() == [51.0, 1.0]
    assert rows[1, 0] == pytest.approx(-0.01, rel=1e-5)  # a first step is lr, whatever others have done
    rows[0, 3] = 2.0**24
    optimizer.apply(rows[:1], np.array([[1.0]], np.float32))
    assert rows[0, 3] == 2.0**24
    assert np.isfinite(rows).all()
