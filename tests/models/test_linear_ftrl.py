"""`streamrec.FTRL`: what an example may hold, what is refused, state, batches."""

import copy
import math
import pickle

import numpy as np
import pytest

from streamrec.models.coordinates import coordinates
from streamrec.models.linear import FTRL, INTERCEPT


def _stream(n=300, seed=1):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        x = {
            "price": float(rng.normal()),
            "country": str(rng.choice(["no", "se", "dk"])),
            "member": bool(rng.random() < 0.5),
            "tags": [str(tag) for tag in rng.choice(["a", "b", "c", "d"], size=2)],
        }
        yield x, bool(rng.random() < (0.8 if x["country"] == "no" else 0.2))


def _learned(n=300, **settings):
    model = FTRL(**settings)
    for x, y in _stream(n):
        model.learn_one(x, y)
    return model


def test_it_learns():
    model = _learned()
    assert (
        model.predict_proba_one({"country": "no"})[True]
        > 0.6
        > 0.4
        > model.predict_proba_one({"country": "se"})[True]
    )
    assert model.predict_one({"country": "no"}) is True
    assert model.predict_one({"country": "se"}) is False


def test_every_kind_of_value_becomes_coordinates():
    x = {
        "n": 2,
        "f": np.float32(0.5),
        "b": True,
        "nb": np.bool_(False),
        "s": "v",
        "bag": ["u", "w", "u"],
        "no": None,
    }
    expected = {"n": 2.0, "f": 0.5, "b": 1.0, "nb": 0.0, "s=v": 1.0, "bag=u": 2.0, "bag=w": 1.0}
    assert coordinates(x) == expected
    numbers = {"n": 2, "f": 0.5}
    assert coordinates(numbers) is numbers
    model = FTRL()
    model.learn_one(x, True)
    assert set(model.weights) == {*expected, INTERCEPT}


def test_coordinates_are_those_of_dict_vectorizer():
    extraction = pytest.importorskip("sklearn.feature_extraction")
    for x in [*(x for x, _ in _stream(20)), {"a": "b", "a=b": 2.0}]:
        vectorizer = extraction.DictVectorizer(sparse=False)
        row = vectorizer.fit_transform([x])[0]
        ours = {name: float(value) for name, value in coordinates(x).items()}
        assert dict(zip(vectorizer.get_feature_names_out(), row, strict=True)) == ours


def test_prediction_is_the_weighted_sum():
    model = _learned(dtype="float64")
    for x, _ in _stream(50, seed=2):
        logit = model.weights[INTERCEPT] + sum(model.weights[k] * v for k, v in coordinates(x).items())
        p = model.predict_proba_one(x)
        assert p[True] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-12)
        assert p[False] + p[True] == 1.0


def test_before_any_learning_everything_is_one_half():
    assert FTRL().predict_proba_one({"a": 1.0, "b": "c"}) == {False: 0.5, True: 0.5}
    assert FTRL(intercept=False).predict_proba_one({}) == {False: 0.5, True: 0.5}


def test_weights_are_live_and_keep_zeros():
    model = FTRL(l1=0.3)
    weights = model.weights
    model.learn_one({"a": 0.1, "b": 2.0}, True)
    assert (weights["a"], weights["b"] > 0.0, len(weights)) == (0.0, True, 3)
    assert weights.get("never", 0.0) == 0.0
    with pytest.raises(KeyError):
        weights["never"]


def test_slots_can_be_read_and_set():
    model = _learned(dtype="float64", l1=0.01, l2=0.3)
    other = FTRL(dtype="float64", l1=0.01, l2=0.3)
    for feature in model.weights:
        _, n, z = model.slots(feature)
        other.set_slots(feature, n, z)
    assert {f: other.slots(f) for f in other.weights} == {f: model.slots(f) for f in model.weights}
    other.set_slots("new", 0.1, 0.0, w=2.0)  # TensorFlow's start: a weight of which z and n know nothing
    assert other.predict_proba_one({"new": 100.0})[True] > 0.99
    other.learn_one({"new": 1.0}, False)
    assert other.weights["new"] < 2.0
    for wrong in [(math.nan, 0.0, None), (1.0, math.inf, None), (-1.0, 0.0, None), (1.0, 1.0, math.nan)]:
        with pytest.raises(ValueError, match="slots of 'odd'"):
            other.set_slots("odd", *wrong)
    assert "odd" not in other.weights


def test_importance_multiplies_the_gradient():
    model, fraction = (
        FTRL(dtype="float64", learning_rate_power=0.0),
        FTRL(dtype="float64", learning_rate_power=0.0),
    )
    model.learn_one({"a": 1.0}, True, w=3.0)
    fraction.learn_one({"a": 1.0}, True)
    assert model.weights["a"] == pytest.approx(3 * fraction.weights["a"], rel=1e-12)
    before = pickle.dumps(model)
    model.learn_one({"a": 1.0}, False, w=0.0)
    assert pickle.dumps(model) == before


BAD = [
    ({"good": 1.0, "bad": math.nan}, True, 1.0, "feature 'bad' = nan: expected a finite number"),
    ({"good": 1.0, "bad": math.inf}, True, 1.0, "feature 'bad' = inf"),
    ({"good": "a", "bad": -math.inf}, True, 1.0, "feature 'bad' = -inf"),
    ({"good": 1.0, "bad": np.float32("nan")}, True, 1.0, "feature 'bad' = nan"),
    ({"good": 1.0, "bad": 1e300}, True, 1.0, r"feature 'bad' = 1e\+300: too large"),
    ({"good": 1.0, "bad": 10**400}, True, 1.0, "feature 'bad' = an integer of 1329 bits: too large"),
    ({"good": "a", "bad": 10**400}, True, 1.0, "feature 'bad'"),
    ({"good": 1.0, "bad": {"a": 1}}, True, 1.0, "feature 'bad': expected a number, string, boolean or list"),
    ({"good": 1.0, "bad": ["a", 3]}, True, 1.0, "feature 'bad': expected a list of strings, got int 3"),
    ({"good": 1.0, "bad": b"bytes"}, True, 1.0, "feature 'bad'"),
    ({"good": 1.0, INTERCEPT: 1.0}, True, 1.0, "intercept's name"),
    ({"good": 1.0}, math.nan, 1.0, "label y = nan"),
    ({"good": 1.0}, -1, 1.0, "label y = -1: expected True, False or a number from 0 to 1"),
    ({"good": 1.0}, "1", 1.0, "label y = '1'"),
    ({"good": 1.0}, None, 1.0, "label"),
    ({"good": 1.0}, True, math.inf, "weight w = inf"),
    ({"good": 1.0}, True, -1.0, "weight w = -1.0"),
    ({"good": 1.0}, True, "heavy", "weight w = 'heavy'"),
    ({"good": 1.0}, [1, 0], 1.0, "label y = "),
    ({"good": 1.0}, True, 1e300, r"weight w = 1e\+300: too large for float(32|64)"),
    ({}, True, 1e300, r"weight w = 1e\+300: too large for float(32|64)"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x", "y", "w", "message"), BAD)
def test_bad_input_is_one_clear_line_and_changes_nothing(x, y, w, message, dtype):
    model = _learned(20, dtype=dtype)
    state = pickle.dumps(model), dict(model.weights)
    with pytest.raises(ValueError, match=message) as caught:
        model.learn_one(x, y, w=w)
    assert "\n" not in str(caught.value)
    assert (pickle.dumps(model), dict(model.weights)) == state
    if y is True and w == 1.0 and "too large" not in message:  # that may still be predicted from
        with pytest.raises(ValueError, match=message):
            model.predict_proba_one(x)
    model.learn_one({"good": 1.0, "bad": 0.5}, True)


def test_a_bad_example_adds_no_rows_even_where_the_rows_had_to_grow():
    model = FTRL()
    with pytest.raises(ValueError, match="'f99' = nan"):
        model.learn_one({f"f{i}": 1.0 if i < 99 else math.nan for i in range(100)}, True)
    assert list(model.weights) == [INTERCEPT]
    model.learn_one({f"g{i}": 1.0 for i in range(10_000)}, True)
    assert len(model.weights) == 10_001
    assert len(set(model.weights.values())) == 1


def test_large_but_usable_values_stay_finite():
    model = FTRL()
    for y in (True, False) * 5:
        model.learn_one({"big": 1e15, "small": 1e-30}, y)
    assert all(math.isfinite(v) for v in model.weights.values())


@pytest.mark.parametrize(
    "settings", [{"learning_rate": 0}, {"l1": -1.0}, {"beta": math.nan}, {"dtype": "float16"}]
)
def test_wrong_settings_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"^{name} = "):
        FTRL(**settings)


def test_confidence_bounds_the_change_and_shrinks_with_experience():
    x = {"country": "no", "tags": ["a"], "price": 1.5}
    new, old = FTRL(l1=0.1), _learned(l1=0.1)
    assert new.confidence_one(x) > 3 * old.confidence_one(x) > 0.0
    for model in (new, old):
        for y in (True, False):
            copied = copy.deepcopy(model)
            copied.learn_one(x, y)
            change = copied._logit(x) - model._logit(x)
            assert abs(change) <= model.confidence_one(x) * (1 + 1e-6)
    assert new.confidence_one(x) == FTRL(l1=0.1).confidence_one(x)


def test_many_is_the_loop():
    data = list(_stream())
    X, Y = [x for x, _ in data], [y for _, y in data]
    weights = [0.5 + (i % 3) for i in range(len(data))]
    one, many = FTRL(l1=0.01), FTRL(l1=0.01)
    for x, y, w in zip(X, Y, weights, strict=True):
        one.learn_one(x, y, w)
    many.learn_many(X[:100], Y[:100], weights[:100])
    many.learn_many(iter(X[100:]), iter(Y[100:]), iter(weights[100:]))
    assert dict(many.weights) == dict(one.weights)
    assert many.predict_proba_many(X) == [one.predict_proba_one(x) for x in X]
    assert many.predict_many(X) == [one.predict_one(x) for x in X]


def test_many_with_a_bad_example_says_which():
    model, expected = FTRL(), FTRL()
    with pytest.raises(
        ValueError, match=r"example 1: feature 'a' = nan: .* those before it have been learned"
    ):
        model.learn_many([{"a": 1.0}, {"a": math.nan}, {"a": 2.0}], [True, True, True])
    expected.learn_one({"a": 1.0}, True)
    assert dict(model.weights) == dict(expected.weights)
    with pytest.raises(ValueError, match="got 2 examples, 1 labels and 2 weights"):
        model.learn_many([{"a": 1.0}, {"a": 1.0}], [True])


def test_many_from_data_frames():
    pandas = pytest.importorskip("pandas")
    data = list(_stream(60))
    frame = pandas.DataFrame(
        [{k: v for k, v in x.items() if k != "tags"} for x, _ in data], index=range(100, 160)
    )
    labels = pandas.Series([y for _, y in data])
    one, many = FTRL(), FTRL()
    for x, y in zip(frame.to_dict("records"), labels, strict=True):
        one.learn_one(x, y)
    many.learn_many(frame, labels)
    assert dict(many.weights) == dict(one.weights)
    p = many.predict_proba_many(frame)
    assert list(p.columns) == [False, True]
    assert list(p.index) == list(frame.index)
    assert p.iloc[3].to_dict() == one.predict_proba_one(frame.iloc[3].to_dict())
    assert many.predict_many(frame).tolist() == [one.predict_one(x) for x in frame.to_dict("records")]


def test_pickle_and_copy_carry_the_state():
    model = _learned(l1=0.02)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert dict(twin.weights) == dict(model.weights)
        for x, y in _stream(30, seed=7):
            twin.learn_one(x, y)
        assert dict(twin.weights) != dict(model.weights)


def test_from_paper_takes_the_options_of_the_model():
    model = FTRL.from_paper(0.3, 0.5, 0.1, 0.4, intercept=False, dtype="float64")
    assert (model.learning_rate, model.beta, model.l1, model.l2) == (0.3, 0.5, 0.1, 0.2)
    assert (model.initial_accumulator, model.intercept, model.dtype) == (0.0, False, "float64")
