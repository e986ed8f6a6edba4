"""`streamrec.FTRL`: logistic regression learned by FTRL-Proximal, example by example, with river's interface.

For use inside a Python process, on dictionaries. The stream learner uses `models.ftrl` over the sparse table
instead; both call the formulas of `optim.ftrl`.
"""

import inspect
import math
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from streamrec.losses import sigmoid
from streamrec.models import linear_step
from streamrec.models.coordinates import coordinates
from streamrec.optim.ftrl import weight
from streamrec.optim.settings import FTRLSettings

if TYPE_CHECKING:

    class Classifier:
        """What type checkers see of river's interface; it has no types of its own to rely on."""

else:
    # river knows its classifiers by their class. Not its MiniBatchClassifier: that one promises, of a whole
    # pipeline, that a batch equals the loop, which no pipeline with a scaler keeps, whatever comes last.
    try:
        from river.base import Classifier
    except ImportError:
        Classifier = object

__all__ = ["FTRL", "INTERCEPT", "Slots", "Weights"]

#: The intercept's key in `weights` and `slots`, as R writes it: no feature has this name by accident.
INTERCEPT = "(intercept)"

_DTYPES = ("float32", "float64")
_FIRST_ROWS = 16


class Slots(NamedTuple):
    """The state of one coordinate (REFERENCE in `optim.ftrl`)."""

    w: float
    n: float
    z: float


class Weights(Mapping[Hashable, float]):
    """A live view: every coordinate learned so far, also those whose weight is 0, with its weight."""

    def __init__(self, model: "FTRL") -> None:
        self._model = model

    def __getitem__(self, feature: Hashable) -> float:
        return self._model.slots(feature).w

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._model._index)

    def __len__(self) -> int:
        return len(self._model._index)

    def __repr__(self) -> str:
        return repr(dict(self))


class FTRL(Classifier):
    """Logistic regression learned by FTRL-Proximal (McMahan et al. 2013), in TensorFlow's convention.

    An example x maps names to numbers, strings, booleans or lists of strings (see `models.coordinates`): a
    string `v` under `name` is the coordinate `name=v` with value 1. Every coordinate of an example takes one
    gradient.

    Args:
        learning_rate: lr > 0.
        learning_rate_power: p ≤ 0; −0.5 is AdaGrad's fall of the rate, 0 none (plain SGD).
        initial_accumulator: ≥ 0, a coordinate's squared-gradient sum n before its first gradient.
        l1: ≥ 0; a weight is exactly 0 while |z| ≤ l1.
        l2: ≥ 0; enters as 2·l2.
        l2_shrinkage: ≥ 0; adds 2·l2_shrinkage·w to the gradient, but not to n.
        beta: ≥ 0; lowers the first steps of a coordinate.
        intercept: Whether there is one more coordinate, of value 1 in every example, learned like the others.
        dtype: What the state is kept in, "float32" or "float64"; sums are float64 in both.

    Raises:
        ValueError: A setting is outside its range, or NaN or infinite.

    Example:
        >>> model = FTRL(learning_rate=0.5)
        >>> for clicked in (True, False, True):
        ...     model.learn_one({"country": "no", "age": 0.3}, clicked)
        >>> model.predict_one({"country": "no"})
        True
        >>> sorted(model.weights)
        ['(intercept)', 'age', 'country=no']
    """

    def __init__(
        self,
        learning_rate: float = 0.2,
        learning_rate_power: float = -0.5,
        initial_accumulator: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        l2_shrinkage: float = 0.0,
        beta: float = 1.0,
        intercept: bool = True,
        dtype: str = "float32",
    ) -> None:
        self.learning_rate = learning_rate
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator = initial_accumulator
        self.l1 = l1
        self.l2 = l2
        self.l2_shrinkage = l2_shrinkage
        self.beta = beta
        self.intercept = intercept
        self.dtype = dtype
        if dtype not in _DTYPES:
            raise ValueError(f"dtype = {dtype!r}: expected 'float32' or 'float64'")
        names = FTRLSettings.model_fields
        self._parameters = FTRLSettings.checked(**{name: getattr(self, name) for name in names}).parameters()
        self._scalars = np.array(self._parameters)
        self._rows = np.zeros((_FIRST_ROWS, len(Slots._fields)), dtype)
        self._index: dict[Hashable, int] = {}
        if intercept:
            self._add(INTERCEPT)

    @classmethod
    def from_paper(
        cls, alpha: float, beta: float = 1.0, lambda1: float = 0.0, lambda2: float = 0.0, **options: Any
    ) -> Self:
        """The model in the terms of the paper's Algorithm 1 and of Vowpal Wabbit: lambda2 = 2·l2, n0 = 0.

        Args:
            alpha: Learning rate.
            beta: Lowers the first steps.
            lambda1: L1 strength.
            lambda2: L2 strength.
            options: `intercept` and `dtype`.
        """
        settings = FTRLSettings.from_paper(alpha, beta, lambda1, lambda2)
        return cls(**settings.model_dump(), **options)

    # ---- one example

    def learn_one(self, x: Mapping[Any, Any], y: Any, w: float = 1.0) -> None:
        """Learn one example.

        Args:
            x: The example.
            y: True or False, or a number from 0 to 1.
            w: Importance weight ≥ 0; it multiplies the gradient.

        Raises:
            ValueError: x, y or w cannot be used; the text names the feature, and nothing has changed.
        """
        label, importance = _target(y, w)
        example = coordinates(x)
        known = len(self._index)
        bad = linear_step.learn(self._rows, *self._locate(example), label, importance, self._scalars)
        if bad == linear_step.UNKNOWN:
            for key in example:
                if key not in self._index:
                    self._add(key)
            bad = linear_step.learn(self._rows, *self._locate(example), label, importance, self._scalars)
        if bad >= 0:
            self._forget(known)
            raise _unusable(example, bad, self.dtype, w)

    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[bool, float]:
        """The probabilities of False and True; changes nothing. What was never learned counts as absent.

        Raises:
            ValueError: x cannot be used; the text names the feature.
        """
        p = float(sigmoid(self._logit(x)))
        return {False: 1.0 - p, True: p}

    def predict_one(self, x: Mapping[Any, Any]) -> bool:
        """Whether True is the likelier label."""
        return self._logit(x) > 0.0

    def confidence_one(self, x: Mapping[Any, Any]) -> float:
        """The most that learning x with weight 1 could move its logit (`optim.ftrl.confidence`)."""
        return float(linear_step.bound(self._rows, *self._locate(coordinates(x)), self._scalars))

    # ---- many examples

    def learn_many(self, X: Any, y: Iterable[Any], w: Iterable[float] | None = None) -> None:
        """Learn examples one after another: the same result as `learn_one` for each.

        Args:
            X: A data frame, or a sequence of examples.
            y: Their labels.
            w: Their importance weights, 1 if not given.

        Raises:
            ValueError: The lengths differ (nothing has changed), or an example cannot be used: the text has
            its place
                in X, and those before it have been learned.
        """
        examples, labels = _examples(X), list(y)
        weights = [1.0] * len(examples) if w is None else list(w)
        if not len(examples) == len(labels) == len(weights):
            raise ValueError(
                f"expected as many labels and weights as examples, got {len(examples)} examples, "
                f"{len(labels)} labels and {len(weights)} weights"
            )
        for i, (x, label, importance) in enumerate(zip(examples, labels, weights, strict=True)):
            try:
                self.learn_one(x, label, importance)
            except ValueError as error:
                raise ValueError(f"example {i}: {error}; those before it have been learned") from None

    def predict_proba_many(self, X: Any) -> Any:
        """`predict_proba_one` of each: for a data frame one with columns False and True, else a list."""
        predictions = [self.predict_proba_one(x) for x in _examples(X)]
        return (
            type(X)(predictions, index=X.index, columns=[False, True]) if hasattr(X, "iloc") else predictions
        )

    def predict_many(self, X: Any) -> Any:
        """`predict_one` of each: for a data frame a series, else a list."""
        predictions = [self.predict_one(x) for x in _examples(X)]
        if not hasattr(X, "iloc"):
            return predictions
        return type(X)({"label": predictions}, index=X.index)["label"].rename(None)

    # ---- state

    @property
    def weights(self) -> Weights:
        """A live mapping from coordinate to weight, the intercept under `INTERCEPT`."""
        return Weights(self)

    def slots(self, feature: Hashable) -> Slots:
        """The state of a coordinate, by its key in `weights`.

        Raises:
            KeyError: It was never learned.
        """
        w, n, z = self._rows[self._index[feature]].tolist()
        return Slots(w, n, z)

    def set_slots(self, feature: Hashable, n: float, z: float, w: float | None = None) -> None:
        """Set the state of a coordinate, known or new.

        Args:
            feature: Its key in `weights`.
            n: ≥ 0.
            z: Linear term.
            w: Weight; that of z and n where not given. Any other is used until the coordinate is next
            learned.

        Raises:
            ValueError: Not finite, or n is negative; nothing has changed.
        """
        if not (math.isfinite(n) and math.isfinite(z) and n >= 0.0 and (w is None or math.isfinite(w))):
            raise ValueError(
                f"slots of {feature!r}: expected finite numbers and n ≥ 0, got n = {n}, z = {z}, w = {w}"
            )
        row = self._index.get(feature, -1)
        row = self._add(feature) if row < 0 else row
        self._rows[row, 1:] = n, z
        n, z = self._rows[row, 1:].tolist()
        self._rows[row, 0] = weight(z, n, self._parameters) if w is None else w

    # ---- inside

    def __getstate__(self) -> dict[str, Any]:
        """Without the rows kept in reserve."""
        return {**self.__dict__, "_rows": self._rows[: len(self._index)].copy()}

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def _locate(self, example: Mapping[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Row (−1: none) and value of every coordinate, the intercept last."""
        if self.intercept and INTERCEPT in example:
            raise ValueError(
                f"feature {INTERCEPT!r} is the intercept's name: rename it, or set intercept=False"
            )
        keys = chain(example, (INTERCEPT,)) if self.intercept else example
        values = chain(example.values(), (1.0,)) if self.intercept else example.values()
        try:  # Python's own arrays take short sequences faster than NumPy's
            rows = array("q", map(self._index.get, keys, repeat(-1)))
            return np.frombuffer(rows, np.int64), np.frombuffer(array("d", values), np.float64)
        except OverflowError:  # an integer beyond float64
            raise _unusable(example, -1, self.dtype) from None

    def _logit(self, x: Mapping[Any, Any]) -> float:
        example = coordinates(x)
        logit = float(linear_step.logit(self._rows, *self._locate(example)))
        if not math.isfinite(logit):
            raise _unusable(example, -1, "float64")
        return logit

    def _add(self, key: Hashable) -> int:
        """A new row for a coordinate, as TensorFlow initialises it."""
        row = len(self._index)
        if row == len(self._rows):
            grown = np.zeros((max(_FIRST_ROWS, 2 * row), len(Slots._fields)), self.dtype)
            grown[:row] = self._rows
            self._rows = grown
        self._rows[row] = 0.0, self.initial_accumulator, 0.0
        self._index[key] = row
        return row

    def _forget(self, known: int) -> None:
        """Take back the rows added after the first `known`."""
        while len(self._index) > known:
            self._index.popitem()


def _target(y: Any, w: Any) -> tuple[float, float]:
    """Label and importance weight, checked."""
    label, importance = _number(y), _number(w)
    if not 0.0 <= label <= 1.0:
        raise ValueError(f"label y = {y!r}: expected True, False or a number from 0 to 1")
    if not 0.0 <= importance < math.inf:
        raise ValueError(f"weight w = {w!r}: expected 0 or a positive number, finite")
    return label, importance


def _number(value: Any) -> float:
    """As a float; NaN for what is no number, numerals in a string among them."""
    try:
        return math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _examples(X: Any) -> Sequence[Mapping[Any, Any]]:
    """Data frames of pandas and polars as records; anything else is a sequence of them already."""
    if hasattr(X, "to_dicts"):
        return list(X.to_dicts())
    return list(X.to_dict("records")) if hasattr(X, "to_dict") else list(X)


def _unusable(example: Mapping[Any, Any], position: int, dtype: str, w: float = 1.0) -> ValueError:
    """The error for the first value that is not finite, else the one at the position, else the greatest."""
    for name, value in example.items():
        if not isinstance(value, int) and not math.isfinite(value):
            return ValueError(f"feature {name!r} = {value}: expected a finite number")
    items = list(example.items())
    name, value = (
        items[position]
        if 0 <= position < len(items)
        else max(items, key=lambda item: abs(item[1]), default=("", 0.0))
    )
    if w > abs(value):
        return ValueError(f"weight w = {w!r}: too large for {dtype}")
    shown = (
        f"an integer of {value.bit_length()} bits"
        if isinstance(value, int) and abs(value) > 10**30
        else value
    )
    return ValueError(f"feature {name!r} = {shown}: too large for {dtype}; scale it")
