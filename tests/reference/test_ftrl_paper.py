"""`streamrec.FTRL` beside a float64 transcription of the paper's Algorithm 1, and beside Vowpal Wabbit."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from ftrl_oracles import WRONG_STEPS, Paper, Step

from streamrec.models.linear import FTRL
from streamrec.optim.ftrl import FTRLParameters

#: alpha, beta, lambda1, lambda2: never only lambda1 = 0.
SETTINGS = [
    (0.1, 1.0, 0.0, 0.0),
    (0.05, 0.5, 1.0, 0.0),
    (0.5, 0.0, 0.3, 0.7),
    (2.0, 0.1, 0.01, 5.0),
    (0.01, 3.0, 2.0, 0.2),
]

Example = tuple[dict[str, float], bool, float]


def _stream(seed: int, n: int = 1500, names: int = 60) -> Iterator[Example]:
    """Sparse examples (eight of `names` features, some signed), labels of a hidden model, weights."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=names)
    popularity = 1.0 / np.arange(1, names + 1)
    for _ in range(n):
        chosen = rng.choice(names, size=8, replace=False, p=popularity / popularity.sum())
        values = np.where(rng.random(8) < 0.7, 1.0, rng.normal(size=8) * 2).astype(np.float32)
        p = 1 / (1 + math.exp(-float(hidden[chosen] @ values)))
        x = {str(i): float(v) for i, v in zip(chosen, values, strict=True)}
        yield x, bool(rng.random() < p), float(rng.choice([1.0, 1.0, 0.25, 3.0]))


class Planted:
    """A linear model over any step function: what `FTRL` would be with that mistake in it."""

    def __init__(self, step: Step, parameters: FTRLParameters) -> None:
        self.step, self.parameters = step, parameters
        self.state: dict[str, Any] = {}

    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]:
        logit = sum(self.state.get(i, (0.0,))[0] * v for i, v in x.items())
        return {True: 1 / (1 + math.exp(-max(-35.0, min(35.0, logit))))}

    def learn_one(self, x: Mapping[str, float], y: float, w: float = 1.0) -> None:
        slope = w * (self.predict_proba_one(x)[True] - y)
        for i, value in x.items():
            state = self.state.get(i, (0.0, self.parameters.initial_accumulator, 0.0))
            try:
                self.state[i] = self.step(state, slope * value, self.parameters)
            except ZeroDivisionError:
                self.state[i] = (math.nan, *state[1:])


def check_paper(model: Any, setting: tuple[float, ...], tolerance: float, seed: int = 1) -> None:
    """Every prediction made before learning equals the paper's."""
    paper = Paper(*setting)
    for x, y, importance in _stream(seed):
        assert model.predict_proba_one(x)[True] == pytest.approx(paper.step(x, y, importance), rel=tolerance)
        model.learn_one(x, y, w=importance)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("setting", SETTINGS)
def test_float64_follows_the_paper_to_1e12(setting, seed):
    check_paper(FTRL.from_paper(*setting, intercept=False, dtype="float64"), setting, 1e-12, seed)


@pytest.mark.parametrize("setting", SETTINGS)
def test_float32_follows_the_paper(setting):
    check_paper(FTRL.from_paper(*setting, intercept=False), setting, 2e-4)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_intercept_is_one_more_coordinate_of_value_1(setting):
    paper = Paper(*setting)
    model = FTRL.from_paper(*setting, dtype="float64")
    for x, y, importance in _stream(3, n=300):
        p = paper.step({"constant": 1.0, **x}, y, importance)
        assert model.predict_proba_one(x)[True] == pytest.approx(p, rel=1e-12)
        model.learn_one(x, y, importance)
    assert model.weights["(intercept)"] == pytest.approx(paper.weight("constant"), rel=1e-12)


CAUGHT_BY_THE_PAPER = {name: step for name, step in WRONG_STEPS.items() if "shrinkage" not in name}


@pytest.mark.parametrize("wrong", CAUGHT_BY_THE_PAPER)
def test_known_wrong_implementations_leave_the_paper(wrong):
    alpha, beta, lambda1, lambda2 = setting = (0.5, 0.5, 0.3, 0.7)
    parameters = FTRLParameters(alpha, -0.5, 1e-30, lambda1, lambda2 / 2, 0.0, beta)
    with pytest.raises(AssertionError):
        check_paper(Planted(CAUGHT_BY_THE_PAPER[wrong], parameters), setting, 2e-4)


def check_one_gradient_per_coordinate(learn: Any) -> None:
    """A string twice in a bag is one coordinate of value 2: gradients are summed, not applied in turn."""
    assert learn({"tags": ["a", "b", "a"]}, True)["tags=a"] == pytest.approx(
        learn({"tags=a": 2.0, "tags=b": 1.0}, True)["tags=a"]
    )


def test_a_repeated_value_gets_one_gradient():
    def learn(x: Any, y: bool) -> dict[Any, float]:
        model = FTRL(learning_rate=0.5, beta=0.1, l1=0.01)
        model.learn_one(x, y)
        return dict(model.weights)

    check_one_gradient_per_coordinate(learn)


def test_duplicates_applied_in_turn_are_caught():
    def learn_in_turn(x: Any, y: bool) -> dict[Any, float]:
        model = FTRL(learning_rate=0.5, beta=0.1, l1=0.01)
        for tag in x.get("tags", []):
            model.learn_one({f"tags={tag}": 1.0}, y)
        model.learn_one({name: v for name, v in x.items() if name != "tags"}, y)
        return dict(model.weights)

    with pytest.raises(AssertionError):
        check_one_gradient_per_coordinate(learn_in_turn)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("setting", [s for s in SETTINGS if s[1] > 0])
def test_vowpal_wabbit_makes_the_same_predictions(setting, intercept):
    vowpalwabbit = pytest.importorskip("vowpalwabbit")
    alpha, beta, l1, l2 = setting
    # numeric names below 2¹⁸ are their own hashes in VW's default namespace: no collisions
    options = (
        f"--ftrl --ftrl_alpha {alpha} --ftrl_beta {beta} --l1 {l1} --l2 {l2} -b 18 --loss_function logistic"
    )
    vw = vowpalwabbit.Workspace(f"{options} --link logistic --quiet {'' if intercept else '--noconstant'}")
    model = FTRL.from_paper(*setting, intercept=intercept)
    for x, y, importance in _stream(5, n=600):
        features = " ".join(f"{name}:{value!r}" for name, value in x.items())
        example = vw.parse(f"{1 if y else -1} {importance} | {features}")
        vw.learn(example)
        # VW predicts, then learns; e^-35 apart, logits near 10 in float32 are 1e-6 apart
        assert model.predict_proba_one(x)[True] == pytest.approx(
            example.get_simplelabel_prediction(), rel=2e-4, abs=1e-6
        )
        vw.finish_example(example)
        model.learn_one(x, y, importance)
    vw.finish()
