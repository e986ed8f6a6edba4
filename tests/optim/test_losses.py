"""The log loss beside its definition in 60 digits, at the limits, and by finite differences."""

import decimal
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec import losses

#: The first call of a formula loads or compiles it.
UNTIMED = settings(deadline=None)
LOGITS = st.floats(-34, 34)


def _decimal_loss(logit: float, label: float) -> decimal.Decimal:
    with decimal.localcontext(prec=60):
        p = 1 / (1 + (-decimal.Decimal(logit)).exp())
        return -decimal.Decimal(label) * p.ln() - (1 - decimal.Decimal(label)) * (1 - p).ln()


@UNTIMED
@given(LOGITS, st.sampled_from([0.0, 1.0, 0.3]))
def test_log_loss_to_1e14(logit, label):
    assert losses.log_loss(logit, label) == pytest.approx(
        float(_decimal_loss(logit, label)), rel=1e-14, abs=1e-15
    )


@UNTIMED
@given(LOGITS)
def test_sigmoid_keeps_small_probabilities(logit):
    with decimal.localcontext(prec=60):
        exact = 1 / (1 + (-decimal.Decimal(logit)).exp())
    assert losses.sigmoid(logit) == pytest.approx(float(exact), rel=1e-14)


@UNTIMED
@given(st.floats(-30, 30), st.sampled_from([0.0, 1.0, 0.3]))
def test_the_gradient_is_the_derivative(logit, label):
    h = 1e-5
    difference = (losses.log_loss(logit + h, label) - losses.log_loss(logit - h, label)) / (2 * h)
    assert losses.log_loss_gradient(logit, label) == pytest.approx(difference, abs=1e-8)


@pytest.mark.parametrize("logit", [-1e308, -1000.0, -35.0, 35.0, 1000.0, math.inf, -math.inf])
def test_beyond_the_limit_everything_stays_finite(logit):
    p = losses.sigmoid(logit)
    assert 0.0 < p < 1.0
    for label in (0.0, 1.0):
        assert 0.0 < losses.log_loss(logit, label) <= losses.LOGIT_LIMIT + 1e-12
