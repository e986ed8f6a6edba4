"""TensorFlow's and Keras's own numbers, the equations in 50 digits, and wrong implementations caught."""

from typing import NamedTuple

import numpy as np
import pytest
from ftrl_oracles import WRONG_STEPS, State, Step, decimal_step

from streamrec.optim.ftrl import FTRLParameters, ftrl_step


class Case(NamedTuple):
    """Coordinates from `start`, the gradients of every step, and what was printed for them in the end."""

    name: str
    parameters: FTRLParameters
    start: list[float]
    gradients: list[list[float]]
    w: list
    n: list | None = None
    z: list | None = None
    printed: float = 3e-7  # relative error of what was printed: TensorFlow's tests print float32


def _tf(**changes) -> FTRLParameters:
    base = FTRLParameters(3.0, -0.5, 0.1, 0.0, 0.0, 0.0, 0.0)
    return base._replace(**changes)


G = [0.1, 0.2, 0.01, 0.02]
V = [1.0, 2.0, 4.0, 3.0]
SWEEP = [[0.5, -0.25], [-0.1, 0.4], [0.9, -0.9]]
POWER = FTRLParameters(0.05, -0.5, 0.1, 0.02, 0.3, 0.01, 0.0)
KERAS = FTRLParameters(0.05, -0.2, 0.4, 0.05, 0.15, 0.01, 0.3)
TENTHS = [float(g) for g in np.arange(1, 11) / 10]
SEQUENCE = [0.5, -0.1, 0.9, 0.0, -0.7]
SEQUENCE_STATES = [
    (0.0347272981, 0.35, -1.1462812738),
    (0.0377734777, 0.36, -1.2514153726),
    (0.0164453952, 1.17, -0.7145434347),
    (0.0164376073, 1.17, -0.7142145268),
    (0.0315270713, 1.66, -1.4818534695),
]

KERAS_ENDS = [
    (-0.0034369387, -0.0353585652),
    (-0.0077601335, -0.0685275167),
    (-0.0120648196, -0.0998852835),
    (-0.0163514082, -0.1299472635),
]
POWER_ENDS = [
    (0.0, [-0.0623861095, 0.0361104834], [1.3051538562, -0.7638759581]),
    (-0.2, [-0.0018237004, -0.0239278246], [0.0587317106, 0.5249717312]),
    (-0.5, [0.0578185745, -0.0996542095], [-1.3054981548, 2.2008124554]),
    (-1.0, [0.1030325894, -0.1709184448], [-2.4927821457, 3.9938538418]),
]
W_PLAIN_0 = [-2.60260963, -4.29698515, -0.28432083, -0.56694895]
W_PLAIN = [-2.55607247, -3.98729396, -0.28232238, -0.56096673]
W_L1 = [-7.66718769, -10.91273689, -0.93460727, -1.86147261]
W_L1_L2 = [-0.24059935, -0.46829352, -0.02406147, -0.04830509]
W_ALL = [-0.22578995, -0.44345796, -0.14378493, -0.13229476]
W_KERAS = [0.2217573608, 1.3954298431, 2.3651213198, 2.8814401541]
N_3, Z_3 = [0.13, 0.22, None, None], [0.3127947613, 0.6718215876, None, None]
N_10, Z_L1_L2 = [0.2, 0.5, None, None], [0.9992638246, 1.9845518391, None, None]
Z_ALL = [0.9378186097, 1.8793558621, None, None]

CASES = [
    Case("no regularisation from 0", _tf(), [0.0] * 4, [G] * 3, W_PLAIN_0, N_3, Z_3),
    Case("no regularisation", _tf(), V, [G] * 3, W_PLAIN),
    Case("l1", _tf(l1=0.001), V, [G] * 10, W_L1),
    Case("l1, l2", _tf(l1=0.001, l2=2.0), V, [G] * 10, W_L1_L2, N_10, Z_L1_L2),
    Case("l1, l2, shrinkage", _tf(l1=0.001, l2=2.0, l2_shrinkage=0.1), V, [G] * 10, W_ALL, N_10, Z_ALL),
    Case("Keras", _tf(learning_rate=0.5), [1.0, 2.0, 3.0, 4.0], [[1.0, 6.0, 7.0, 2.0]], W_KERAS),
    Case("Keras first step", KERAS, [1.0] * 10, [[0.01] * 10], [0.0] * 10),
]
for k, (first, last) in enumerate(KERAS_ENDS, 1):
    steps = [[0.01] * 10, *[TENTHS] * k]
    CASES.append(Case(f"Keras step {k}", KERAS, [1.0] * 10, steps, [first, *[None] * 8, last]))
for p, w_end, z_end in POWER_ENDS:
    swept = POWER._replace(learning_rate_power=p)
    CASES.append(Case(f"power {p}", swept, [0.3, -0.7], SWEEP, w_end, [1.17, 1.1325], z_end, printed=0.0))
for k, (w_1, n_1, z_1) in enumerate(SEQUENCE_STATES, 1):
    steps = [[g] for g in SEQUENCE[:k]]
    CASES.append(
        Case(f"sequence {k}", POWER._replace(beta=1.0), [0.3], steps, [w_1], [n_1], [z_1], printed=0.0)
    )


def _ours(dtype: str) -> Step:
    """`ftrl_step` on a single coordinate, its state kept in the given type."""

    def step(state: State, g: float, parameters: FTRLParameters) -> State:
        w, n, z = (np.array([value], dtype) for value in state)
        ftrl_step(w, n, z, np.array([g], dtype), parameters)
        return w[0], n[0], z[0]

    return step


def _end(case: Case, step: Step) -> list[State]:
    states = []
    for i, start in enumerate(case.start):
        state: State = (start, case.parameters.initial_accumulator, 0.0)
        for gradients in case.gradients:
            state = step(state, gradients[i], case.parameters)
        states.append(state)
    return states


def check_printed(step: Step, relative: float | None = None, absolute: float = 5.1e-11) -> None:
    """All cases: to the error of what was printed, or to `relative`; no more than ten decimals were."""
    for case in CASES:
        slack = case.printed if relative is None else relative
        columns = [column or [None] * len(case.start) for column in (case.w, case.n, case.z)]
        for end, expected in zip(_end(case, step), zip(*columns, strict=True), strict=True):
            for name, got, want in zip("wnz", end, expected, strict=True):
                if want is not None:
                    told = f"{case.name}: {name} = {got}, expected {want}"
                    assert float(got) == pytest.approx(want, rel=slack, abs=absolute), told


def check_float32(step: Step) -> None:
    """All cases to 1e-6, or one unit in the last place of a z near 1.3, where float32 z have been."""
    check_printed(step, relative=1e-6, absolute=1.2e-7)


def check_exact(step: Step) -> None:
    """All cases against 50 digits, to 1e-12 relative."""
    for case in CASES:
        for end, exact in zip(_end(case, step), _end(case, decimal_step), strict=True):
            np.testing.assert_allclose(
                [float(v) for v in end], [float(v) for v in exact], rtol=1e-12, err_msg=case.name
            )


def test_printed_numbers_in_float64():
    check_printed(_ours("float64"))


def test_printed_numbers_to_1e6_in_float32():
    check_float32(_ours("float32"))


def test_float64_to_1e12():
    check_exact(_ours("float64"))


def test_the_oracle_itself_gives_the_printed_numbers():
    check_printed(decimal_step)


@pytest.mark.parametrize("wrong", WRONG_STEPS)
@pytest.mark.parametrize("check", [check_printed, check_float32, check_exact])
def test_known_wrong_implementations_are_caught(wrong, check):
    with pytest.raises(AssertionError):
        check(WRONG_STEPS[wrong])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_input_touches_active_coordinates_only(dtype):
    parameters = _tf(l1=0.001, l2=2.0, l2_shrinkage=0.1)
    for active, g, start, end in [(0, 0.1, [1.0, 2.0], -0.22578995), (1, 0.02, [4.0, 3.0], -0.13229476)]:
        w, n, z = np.array(start, dtype), np.full(2, 0.1, dtype), np.zeros(2, dtype)
        at = slice(active, active + 1)
        for _ in range(10):
            ftrl_step(w[at], n[at], z[at], np.array([g], dtype), parameters)
        assert w[active] == pytest.approx(end, rel=1e-6)
        assert (w[1 - active], n[1 - active], z[1 - active]) == (start[1 - active], n.dtype.type(0.1), 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_vector_is_the_loop_over_its_coordinates(dtype):
    rng = np.random.default_rng(4)
    parameters = POWER._replace(beta=0.7)
    w, n, z, g = (rng.normal(size=50).astype(dtype) for _ in range(4))
    n = np.abs(n)
    singles = [_ours(dtype)(state, gradient, parameters) for *state, gradient in zip(w, n, z, g, strict=True)]
    ftrl_step(w, n, z, g, parameters)
    assert np.array_equal(np.stack([w, n, z], axis=1), np.array(singles, dtype))
