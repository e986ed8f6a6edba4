"""Interaction strengths beside brute force: coefficients of the products of inputs."""

import numpy as np
import pytest

from streamrec.layers.strength import added_squares, pair_strengths, ranked_pairs

WIDTHS = [2, 1, 3]


def brute_force(kernel, behind):
    """(F, F) from the coefficient of every product x_a·x_b in every output."""
    field = np.repeat(range(len(WIDTHS)), WIDTHS)
    squares = np.zeros((len(WIDTHS), len(WIDTHS)))
    for a in range(len(field)):
        for b in range(len(field)):
            for v in behind.T:
                both = kernel[a, b] * v[b] + kernel[b, a] * v[a]
                squares[field[a], field[b]] += both**2 / (4 if field[a] == field[b] else 1)
    return np.sqrt(squares)


@pytest.mark.parametrize("outputs", [1, 4, None])
def test_it_is_the_size_of_the_coefficients(outputs):
    rng = np.random.default_rng(3)
    kernel = rng.standard_normal((6, 6)).astype(np.float32)
    behind = None if outputs is None else rng.standard_normal((6, outputs)).astype(np.float32)
    expected = brute_force(kernel, np.eye(6) if behind is None else behind)
    np.testing.assert_allclose(pair_strengths(kernel, WIDTHS, behind), expected, rtol=1e-5)


def test_what_pairs_add_is_what_masked_inputs_add():
    """All others' inputs set to 0: what is left of x0 ⊙ (x·K) in the one block, of the other's inputs."""
    rng = np.random.default_rng(5)
    x, kernel = rng.standard_normal((4, 6)), rng.standard_normal((6, 6))
    field = np.repeat(range(len(WIDTHS)), WIDTHS)
    expected = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            for source, target in {(i, j), (j, i)}:
                expected[i, j] += np.square(
                    (x * ((x * (field == source)) @ kernel))[:, field == target]
                ).sum()
    np.testing.assert_allclose(added_squares(x, kernel, WIDTHS), expected, rtol=1e-12)


def test_pairs_are_ranked():
    strengths = np.array([[9.0, 1.0, 3.0], [1.0, 9.0, 2.0], [3.0, 2.0, 9.0]])
    assert ranked_pairs(strengths, "abc") == [("a", "c", 3.0), ("b", "c", 2.0), ("a", "b", 1.0)]


def test_a_kernel_of_other_fields_is_one_line():
    with pytest.raises(
        ValueError, match=r"^strength: expected a kernel of 3 by as many inputs, got \(2, 2\)"
    ):
        pair_strengths(np.eye(2), [1, 2])
