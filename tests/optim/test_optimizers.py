"""Every optimizer of the registry: beside its paper in float64, and what all of them promise."""

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from optimizer_oracles import ORACLES, run
from pydantic import BaseModel, ValidationError

from streamrec import optim
from streamrec.models.deep.settings import DeepSettings
from streamrec.models.settings import ModelSettings
from streamrec.optim.base import OptimizerSettings
from streamrec.optim.registry import OPTIMIZERS, AnyOptimizer, optimizer_of, optimizer_settings

#: Away from defaults, from 0, and from each other: a formula that leaves a setting out is seen.
CASES = {
    "adagrad": [{}, {"learning_rate": 0.3, "initial_accumulator": 0.0, "epsilon": 0.02}],
    "adam": [{}, {"learning_rate": 0.1, "beta_1": 0.6, "beta_2": 0.8, "epsilon": 0.03}, {"beta_1": 0.0}],
    "clippy": [
        {},
        {"learning_rate": 0.5, "relative": 0.2, "relative_to_accumulator": 0.01, "absolute": 0.003},
        {"initial_accumulator": 0.02, "epsilon": 0.01, "clip_accumulator": True},
        {"learning_rate": 0.01, "relative": 50.0},  # nothing to clip
    ],
    "ftrl": [
        {},
        {"l1": 0.3, "l2": 0.2, "l2_shrinkage": 0.02, "beta": 0.4, "learning_rate": 0.5},
        {"learning_rate_power": -0.3, "initial_accumulator": 0.4, "l1": 0.01},
    ],
    "momentum": [
        {},
        {"learning_rate": 0.1, "momentum": 0.7},
        {"momentum": 0.9, "nesterov": True, "learning_rate": 0.03},
    ],
    "newton": [
        {},
        {"learning_rate": 0.4, "damping": 0.5, "memory": 30.0, "first_memory": 12.0, "memory_growth": 0.7},
    ],
    "rowwise_adagrad": [{}, {"learning_rate": 0.3, "initial_accumulator": 0.0, "epsilon": 0.02}],
}
ALL = [(name, case) for name, cases in CASES.items() for case in cases]
EACH = pytest.mark.parametrize(("name", "case"), ALL)
NAMES = pytest.mark.parametrize("name", OPTIMIZERS)
UNTIMED = hypothesis_settings(deadline=None, max_examples=30)


def build(name, case=None):
    return optimizer_of(optimizer_settings({"name": name, **(case or {})}))


def begun(optimizer, w, behind=0):
    """Rows of vectors w (N, d), their slots, and `behind` more numbers."""
    w = np.atleast_2d(np.asarray(w, np.float32))
    rows = np.full((len(w), w.shape[1] + optimizer.slots(w.shape[1]) + behind), 7.0, np.float32)
    rows[:, : w.shape[1]] = w
    optimizer.begin(rows, w.shape[1])
    return rows


def normal(shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def test_all_are_here_with_an_oracle():
    assert set(OPTIMIZERS) == set(CASES) == set(ORACLES)


def test_whatever_has_a_file_is_registered():
    for module in pkgutil.iter_modules(optim.__path__):
        importlib.import_module(f"{optim.__name__}.{module.name}")
    registered = {entry.settings for entry in OPTIMIZERS.values()}
    assert registered == set(OptimizerSettings.__subclasses__())
    assert all(entry.settings().name == name for name, entry in OPTIMIZERS.items())


@EACH
def test_it_is_its_paper(name, case):
    optimizer, settings = build(name, case), OPTIMIZERS[name].settings(**case).model_dump()
    w, gradients = normal((3, 5), 1), normal((40, 3, 5), 2)
    gradients[3] = 0.0
    rows = begun(optimizer, w)
    for g in gradients:
        optimizer.apply(rows, g)
    for i in range(3):
        np.testing.assert_allclose(rows[i, :5], run(name, settings, w[i], gradients[:, i])[0], 2e-5, 2e-6)


@EACH
def test_a_start_survives_and_steps_go_down(name, case):
    optimizer, w = build(name, case), normal((4, 6), 3)
    rows = begun(optimizer, w)
    assert rows[:, :6].tobytes() == w.tobytes()
    g = normal((4, 6), 4, 1e-3)
    optimizer.apply(rows, g)
    steps = rows[:, :6] - w
    assert np.abs(steps).max() < 0.2
    if not case.get("l2_shrinkage"):  # which pulls towards 0 whatever the gradient
        assert (steps * g).sum() < 0.0


@EACH
def test_a_gradient_of_zero_leaves_numbers(name, case):
    optimizer = build(name, case)
    for w in (np.zeros((2, 3)), normal((2, 3), 5)):
        rows = begun(optimizer, w)
        for _ in range(3):
            optimizer.apply(rows, np.zeros((2, 3), np.float32))
        assert np.isfinite(rows).all()
        if not case.get("l2_shrinkage"):
            np.testing.assert_allclose(rows[:, :3], w, rtol=3e-7)


@EACH
@pytest.mark.parametrize("size", [1e-30, 1e20])
def test_gradients_of_any_size_leave_numbers(name, case, size):
    optimizer = build(name, case)
    rows = begun(optimizer, normal((2, 3), 5))
    for k in range(5):
        optimizer.apply(rows, normal((2, 3), k, size))
        optimizer.apply(rows, normal((2, 3), k, 0.1))
    assert np.isfinite(rows).all()


@EACH
def test_a_kernel_by_its_factors_has_the_bits_of_the_product(name, case):
    optimizer = build(name, case)
    w = normal((6, 11), 6).reshape(1, -1)
    by_product, by_factors = begun(optimizer, w), begun(optimizer, w, behind=3)
    for k in range(4):
        a, b = normal(6, 10 + k), normal(11, 20 + k)
        a[k] = 0.0  # a unit that is off
        optimizer.apply(by_product, np.multiply.outer(a, b).reshape(1, -1))
        optimizer.outer(by_factors[0], a, b)
    assert by_factors[:, :-3].tobytes() == by_product.tobytes()
    assert (by_factors[:, -3:] == 7.0).all()


@NAMES
@UNTIMED
@given(st.integers(0, 6), st.integers(1, 9), st.integers(0, 3))
def test_rows_are_learned_apart_and_slots_are_all_there_is(name, n, width, behind):
    """Together or one by one, in a longer row, and with another optimizer of the same settings in between."""
    w = normal((n, width), 7)
    together = begun(build(name), w, behind)
    apart = begun(build(name), w)
    for k in range(3):
        g = normal((n, width), k)
        build(name).apply(together, g)
        for i in reversed(range(n)):
            stored = apart[i].tobytes()
            row = np.frombuffer(stored, np.float32).copy()[None]
            build(name).apply(row, g[i : i + 1])
            apart[i] = row[0]
    assert together[:, : apart.shape[1]].tobytes() == apart.tobytes()
    assert (together[:, apart.shape[1] :] == 7.0).all()


@NAMES
def test_it_learns(name):
    """A square bowl from far away, with noise: every default comes nearer."""
    optimizer, target = build(name), normal(8, 8)
    rows, noise = begun(optimizer, target + 1.0), normal((3_000, 1, 8), 9, 0.1)
    for each in noise:
        optimizer.apply(rows, rows[:, :8] - target + each)
    assert np.abs(rows[0, :8] - target).max() < 0.3


WRONG = [
    ("adagrad", "learning_rate", 0, "greater than 0"),
    ("adagrad", "initial_accumulator", -0.1, "greater than or equal to 0"),
    ("adagrad", "epsilon", 0.0, "greater than 0"),
    ("adam", "learning_rate", float("nan"), "a finite number"),
    ("adam", "beta_1", 1.0, "less than 1"),
    ("adam", "beta_2", -0.1, "greater than or equal to 0"),
    ("clippy", "relative", -1, "greater than or equal to 0"),
    ("clippy", "absolute", 0.0, "greater than 0"),
    ("clippy", "clip_accumulator", "yes", "a valid boolean"),
    ("ftrl", "learning_rate_power", 0.5, "less than or equal to 0"),
    ("ftrl", "l1", float("inf"), "a finite number"),
    ("momentum", "momentum", 1.0, "less than 1"),
    ("momentum", "learning_rate", "fast", "a valid number"),
    ("newton", "damping", 0.0, "greater than 0"),
    ("newton", "memory", 9, "greater than or equal to 10"),
    ("rowwise_adagrad", "epsilon", -1, "greater than 0"),
]


@pytest.mark.parametrize(("name", "key", "value", "expected"), WRONG)
def test_a_setting_out_of_its_range_is_one_line(name, key, value, expected):
    with pytest.raises(ValueError, match=rf"^optimizer {name}: {key}: expected {expected}, got \S+$"):
        optimizer_settings({"name": name, key: value})


NUMBERS = [
    (name, key)
    for name, entry in OPTIMIZERS.items()
    for key, field in entry.settings.model_fields.items()
    if field.annotation is float
]


@pytest.mark.parametrize(("name", "key"), NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_every_number_of_every_optimizer_is_finite(name, key, value):
    with pytest.raises(ValueError, match=f"^optimizer {name}: {key}: expected a finite number, got "):
        optimizer_settings({"name": name, key: value})


class Holder(BaseModel):
    optimizer: AnyOptimizer = "adam"


@NAMES
def test_settings_by_name_in_a_dictionary_and_through_json(name):
    by_name = Holder(optimizer=name)
    assert by_name.optimizer == Holder(optimizer={"name": name}).optimizer == OPTIMIZERS[name].settings()
    changed = Holder(optimizer={"name": name, "learning_rate": 0.125})
    again = Holder.model_validate_json(changed.model_dump_json())
    assert again == changed
    assert again.optimizer.learning_rate == 0.125
    assert changed != by_name


def test_unknown_names_and_settings_are_one_line():
    with pytest.raises(ValidationError, match=r"expected one of adagrad, .*, got 'sgd'"):
        Holder(optimizer="sgd")
    for value in ({}, 3, None):
        with pytest.raises(ValueError, match=r"expected one of adagrad, .*, got .*$"):
            optimizer_settings(value)
    with pytest.raises(
        ValueError, match=r"^optimizer adam: 'lr' is not a setting; there are learning_rate, "
    ):
        optimizer_settings({"name": "adam", "lr": 1})


@NAMES
def test_settings_made_in_python_are_read_back_from_what_was_set(name):
    settings = OPTIMIZERS[name].settings()
    assert optimizer_settings(settings.model_dump(exclude_unset=True)) == settings
    deep = DeepSettings(optimizers={"": settings})
    assert ModelSettings(kind="dcn", deep=deep).deep.optimizers == {"": settings}
