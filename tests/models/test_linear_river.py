"""`streamrec.FTRL` inside river: its own checks, pipelines, evaluation; and without river at all."""

import subprocess
import sys
import warnings

import pytest

from streamrec.models.linear import FTRL

river_base = pytest.importorskip("river.base")


class MiniBatchFTRL(FTRL, river_base.MiniBatchClassifier):
    """FTRL, declared for mini-batches."""


MODELS = [
    {},
    {"l1": 0.1, "dtype": "float64"},
    {"intercept": False},
    {"learning_rate_power": -0.2, "l2_shrinkage": 0.1},
]


def _run_checks(model):
    """`river.checks.check_estimator`; its data sets come from scikit-learn."""
    pytest.importorskip("sklearn")
    from river import checks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that the checks import
        checks.check_estimator(model)


@pytest.mark.parametrize("settings", MODELS)
def test_river_checks(settings):
    _run_checks(FTRL(**settings))


def test_river_checks_in_a_pipeline():
    from river import preprocessing

    _run_checks(preprocessing.StandardScaler() | FTRL())


def test_river_checks_of_mini_batches():
    """The class is not river's MiniBatchClassifier (see there why), but keeps its promises."""
    pytest.importorskip("pandas")
    _run_checks(MiniBatchFTRL())


def test_it_is_one_of_rivers_classifiers():
    from river import base, evaluate, metrics, preprocessing, stream

    model = preprocessing.StandardScaler() | FTRL()
    assert isinstance(model, base.Classifier)
    X = [[float(i % 7), float(i % 3)] for i in range(500)]
    data = stream.iter_array(X, [a > 3 for a, _ in X])
    score = evaluate.progressive_val_score(data, model, metrics.Accuracy())
    assert score.get() > 0.9


def test_clone_and_repr():
    model = FTRL(learning_rate=0.5, l1=0.25)
    model.learn_one({"a": 1.0}, True)
    twin = model.clone({"l1": 0.5})
    assert (twin.learning_rate, twin.l1, list(twin.weights)) == (0.5, 0.5, ["(intercept)"])
    assert "learning_rate=0.5, " in repr(model)
    assert eval(repr(model), {"FTRL": FTRL})._get_params() == model._get_params()


WITHOUT_RIVER = """
import sys
sys.modules["river"] = None
from streamrec.models.linear import FTRL
model = FTRL()
model.learn_one({"a": "b"}, True)
assert model.predict_one({"a": "b"}) is True
assert FTRL.__mro__[1].__name__ == "object"
assert not {"pandas", "sklearn"} & set(sys.modules)
print(model)
"""


def test_it_works_without_river():
    done = subprocess.run([sys.executable, "-c", WITHOUT_RIVER], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("FTRL(learning_rate=0.2, ")
