"""Student's t by finite sums is that of SciPy."""

import numpy as np
import pytest

from streamrec.evaluation.student import t_quantile, t_within


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 31])
def test_it_is_scipys(freedom: int) -> None:
    from scipy.special import stdtr, stdtrit

    for at in (0.0, 0.3, 1.0, 2.5, 40.0):
        assert t_within(at, freedom) == pytest.approx(2 * stdtr(freedom, at) - 1, abs=1e-12)
    for within in (0.01, 0.5, 0.95, 0.999):
        assert t_quantile(within, freedom) == pytest.approx(stdtrit(freedom, (1 + within) / 2), rel=1e-9)


def test_more_freedom_is_the_normal_distribution() -> None:
    assert t_quantile(0.95, 5000) == pytest.approx(1.959964, abs=1e-3)
    assert np.isclose(t_within(1.0, 5000), 0.6827, atol=1e-3)
