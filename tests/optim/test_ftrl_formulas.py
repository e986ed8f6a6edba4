"""Properties of the scalar formulas, and the settings that feed them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamrec.optim import ftrl
from streamrec.optim.ftrl import FTRLParameters
from streamrec.optim.settings import FTRLSettings

PARAMETERS = st.builds(
    FTRLParameters,
    learning_rate=st.floats(0.001, 10),
    learning_rate_power=st.sampled_from([0.0, -0.2, -0.5, -0.8, -1.0]),
    initial_accumulator=st.sampled_from([0.0, 0.1, 2.0]),
    l1=st.sampled_from([0.0, 0.001, 0.3, 5.0]),
    l2=st.sampled_from([0.0, 0.1, 3.0]),
    l2_shrinkage=st.sampled_from([0.0, 0.01, 0.3]),
    beta=st.sampled_from([0.0, 0.5, 1.0]),
)
#: The first call of a formula loads or compiles it.
UNTIMED = settings(deadline=None)
GRADIENTS = st.lists(st.floats(-2, 2), max_size=20)


def _learn(gradients, parameters, w=0.0):
    """(w, n, z) after the gradients, from a given w."""
    n, z = parameters.initial_accumulator, 0.0
    for g in gradients:
        z, n = ftrl.update(w, z, n, g, parameters)
        w = ftrl.weight(z, n, parameters)
    return w, n, z


@UNTIMED
@given(GRADIENTS, PARAMETERS)
def test_a_weight_is_zero_exactly_in_the_l1_ball(gradients, parameters):
    w, n, z = _learn(gradients, parameters)
    assert math.isfinite(w)
    if abs(z) <= parameters.l1:
        assert w == 0.0
    elif n > 0.0 or parameters.beta or parameters.l2:
        assert w != 0.0
        assert (w > 0) == (z < 0)


@UNTIMED
@given(st.lists(st.tuples(st.sampled_from([0.0, -0.3, 0.3, 5.0, -7.5]), st.floats(0, 50))), PARAMETERS)
def test_weights_together_are_those_of_each(states, parameters):
    z, n = (np.array(its, np.float64) for its in (zip(*states, strict=True) if states else ([], [])))
    expected = [ftrl.weight(*state, parameters) for state in states]
    ftrl.weigh(z, n, parameters)
    assert z.tolist() == expected


@UNTIMED
@given(GRADIENTS, PARAMETERS)
def test_a_zero_gradient_changes_only_what_shrinkage_changes(gradients, parameters):
    w, n, z = _learn(gradients, parameters)
    after = ftrl.update(w, z, n, 0.0, parameters)
    assert after == (z + 2 * parameters.l2_shrinkage * w, n)


def test_nothing_learned_and_no_gradient_is_weight_zero_not_nan():
    parameters = FTRLParameters(0.1, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert ftrl.update(0.0, 0.0, 0.0, 0.0, parameters) == (0.0, 0.0)
    assert ftrl.weight(0.0, 0.0, parameters) == 0.0
    for power in (-0.5, -0.2, -1.0):  # g² below the smallest number
        z, n = ftrl.update(0.0, 0.0, 0.0, 1e-200, parameters._replace(learning_rate_power=power))
        assert (n, ftrl.weight(z, n, parameters)) == (0.0, 0.0)


@UNTIMED
@given(GRADIENTS, st.floats(0.001, 5), st.floats(0.01, 2))
def test_without_regularisation_it_is_adagrad(gradients, learning_rate, start):
    parameters = FTRLParameters(learning_rate, -0.5, start, 0.0, 0.0, 0.0, 0.0)
    w, n = 0.0, start
    for g in gradients:
        n += g * g
        w -= learning_rate * g / math.sqrt(n)
    assert _learn(gradients, parameters)[0] == pytest.approx(w, rel=1e-9, abs=1e-12)


@UNTIMED
@given(GRADIENTS, st.floats(0.001, 5))
def test_power_0_is_plain_sgd(gradients, learning_rate):
    parameters = FTRLParameters(learning_rate, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0)
    assert _learn(gradients, parameters)[0] == pytest.approx(
        -learning_rate * sum(gradients), rel=1e-9, abs=1e-12
    )


@UNTIMED
@given(st.floats(1e-6, 1e6), st.floats(-10, 10), PARAMETERS)
def test_the_square_root_is_the_power(n, g, parameters):
    """p = −.5 has its own branch; a power next to it has not."""
    near = parameters._replace(learning_rate_power=-0.5 - 1e-13)
    exact = parameters._replace(learning_rate_power=-0.5)
    assert ftrl.update(0.7, 0.2, n, g, exact) == pytest.approx(
        ftrl.update(0.7, 0.2, n, g, near), rel=1e-8, abs=1e-8
    )


@pytest.mark.parametrize("p", [-0.5, -0.3, -1.0])
def test_float32_state_is_float32_and_consistent(p):
    parameters = FTRLParameters(0.1, p, 0.1, 0.01, 0.2, 0.0, 0.3)
    z, n = ftrl.update_float32(0.4, -1.0, float(np.float32(0.1)), 0.3, parameters)
    assert (z, n) == (float(np.float32(z)), float(np.float32(n)))
    assert (z, n) == pytest.approx(ftrl.update(0.4, -1.0, 0.1, 0.3, parameters), rel=1e-6)


def test_a_large_float32_n_that_stands_still_does_not_move_the_weight():
    """Where g² no longer changes n, the difference of roots must be 0 too, else w grows by itself."""
    parameters = FTRLParameters(0.1, -0.5, 0.1, 0.0, 0.0, 0.0, 0.0)
    n, z = float(2**26), -1000.0
    start = w = ftrl.weight(z, n, parameters)
    for k in range(2000):
        z, n = ftrl.update_float32(w, z, n, 1.0 if k % 2 else -1.0, parameters)
        w = ftrl.weight(z, n, parameters)
    assert w == start


@UNTIMED
@given(GRADIENTS, PARAMETERS, st.floats(-5, 5), st.floats(0, 1), st.booleans())
def test_confidence_bounds_the_next_step(gradients, parameters, x, p, y):
    parameters = parameters._replace(l2_shrinkage=0.0)
    w, n, z = _learn(gradients, parameters)
    bound = ftrl.confidence(x, n, parameters)
    z, n = ftrl.update(w, z, n, (p - y) * x, parameters)
    assert abs(x * (ftrl.weight(z, n, parameters) - w)) <= bound * (1 + 1e-9) + 1e-12


def test_confidence_is_the_papers_measure_for_counted_features():
    parameters = FTRLParameters(0.1, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert ftrl.confidence(1.0, 10_000.0, parameters) == pytest.approx(0.1 / 100, rel=1e-4)
    assert ftrl.confidence(1.0, 0.0, parameters) == pytest.approx(0.1)
    assert ftrl.confidence(0.0, 0.0, parameters) == 0.0


WRONG = [
    *(
        (name, value)
        for name in FTRLSettings.model_fields
        for value in (math.nan, math.inf, -math.inf, "many", None)
    ),
    ("learning_rate", 0.0),
    ("learning_rate", -0.1),
    ("learning_rate_power", 0.5),
    *((name, -0.1) for name in ("l1", "l2", "l2_shrinkage", "beta", "initial_accumulator")),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_settings_are_one_clear_line(name, value):
    with pytest.raises(ValueError, match=rf"^{name} = .*: expected .* finite$") as caught:
        FTRLSettings.checked(**{name: value})
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError):
        FTRLSettings(**{name: value})


def test_an_unknown_setting_names_the_known_ones():
    with pytest.raises(ValueError, match="'alpha' is not a setting of FTRL: expected one of learning_rate, "):
        FTRLSettings.checked(alpha=0.1)


def test_the_papers_terms():
    got = FTRLSettings.from_paper(alpha=0.3, beta=0.7, lambda1=0.2, lambda2=5.0).parameters()
    assert got == FTRLParameters(0.3, -0.5, 0.0, 0.2, 2.5, 0.0, 0.7)


def test_zero_is_allowed_where_it_means_off():
    settings_ = FTRLSettings(learning_rate_power=0, l1=0, l2=0, l2_shrinkage=0, beta=0, initial_accumulator=0)
    assert settings_.parameters()[1:] == (0.0,) * 6
