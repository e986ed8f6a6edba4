"""The side of TensorFlow Recommenders in `streamrec bench tfrs`: a program of its own, for another Python.

    python tfrs_peer.py rows.npz

reads lines `learn BATCH N` and `score N TIMES` on standard input and answers each with one JSON object. The
file has `values` int32 (N, F), numbers of values within their fields, and `labels` float32 (N,). Only NumPy,
TensorFlow and TensorFlow Recommenders are imported.
"""

import json
import os
import sys
from time import perf_counter
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # TensorFlow Recommenders 0.7 knows Keras 2 only
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

__all__ = ["Network"]

_WIDTH, _CROSSES, _UNITS, _RATE = 16, 2, (128, 64), 0.05


class Network(tf.Module):  # type: ignore[misc]
    """A vector of 16 for each field, two full cross layers, ReLU 128-64, a logit; AdaGrad for all of it."""

    def __init__(self, n_values: int, n_fields: int) -> None:
        super().__init__()
        keras = tf.keras
        self.tables = [keras.layers.Embedding(n_values, _WIDTH) for _ in range(n_fields)]
        self.crosses = [tfrs.layers.dcn.Cross() for _ in range(_CROSSES)]
        self.dense = [keras.layers.Dense(units, activation="relu") for units in _UNITS] + [
            keras.layers.Dense(1)
        ]
        self.optimizer = keras.optimizers.Adagrad(_RATE)

    def logits(self, values: Any) -> Any:
        """(B,) of values (B, F)."""
        x0 = x = tf.concat([table(values[:, f]) for f, table in enumerate(self.tables)], 1)
        for cross in self.crosses:
            x = cross(x0, x)
        for layer in self.dense:
            x = layer(x)
        return x[:, 0]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def predict(self, values: Any) -> Any:
        """Probabilities (B,)."""
        return tf.sigmoid(self.logits(values))

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def learn(self, values: Any, labels: Any) -> Any:
        """One step; the log loss before it."""
        with tf.GradientTape() as tape:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, self.logits(values))
            loss = tf.reduce_mean(losses)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss


def _learn(values: np.ndarray, labels: np.ndarray, batch: int, n: int) -> dict[str, float]:
    network = Network(int(values.max()) + 1, values.shape[1])
    network.learn(values[-batch:], labels[-batch:])  # traces the step, from rows that are not learned again
    began = perf_counter()
    losses = [network.learn(values[i : i + batch], labels[i : i + batch]) for i in range(0, n, batch)]
    total = sum(float(loss) for loss in losses)
    return {"seconds": perf_counter() - began, "log_loss": total / len(losses)}


def _score(values: np.ndarray, n: int, times: int) -> dict[str, list[float]]:
    network, took = Network(int(values.max()) + 1, values.shape[1]), []
    network.predict(values[:n])
    for i in range(times):
        rows = values[i * 7 : i * 7 + n]
        began = perf_counter()
        network.predict(rows).numpy()
        took.append(perf_counter() - began)
    return {"seconds": took}


def main() -> None:
    """Answer until standard input ends."""
    rows = np.load(sys.argv[1])
    values, labels = rows["values"], rows["labels"]
    for line in sys.stdin:
        what, first, second = line.split()
        answer: Any = (
            _learn(values, labels, int(first), int(second))
            if what == "learn"
            else _score(values, int(first), int(second))
        )
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
