"""Every optimizer's paper in plain float64: one vector at a time, state in a dictionary, no shared code."""

import numpy as np


def adagrad(s, w, g, k):
    s.setdefault("n", np.full_like(w, s["initial_accumulator"]))
    s["n"] += g**2
    return w - s["learning_rate"] * g / np.sqrt(s["n"] + s["epsilon"])


def rowwise_adagrad(s, w, g, k):
    s.setdefault("n", s["initial_accumulator"])
    s["n"] += (g**2).mean()
    return w - s["learning_rate"] * g / np.sqrt(s["n"] + s["epsilon"])


def momentum(s, w, g, k):
    lr, mu = s["learning_rate"], s["momentum"]
    s["v"] = mu * s.get("v", 0.0) - lr * g
    return w + (mu * s["v"] - lr * g if s["nesterov"] else s["v"])


def adam(s, w, g, k):
    b1, b2 = s["beta_1"], s["beta_2"]
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g**2
    m, v = s["m"] / (1 - b1**k), s["v"] / (1 - b2**k)
    return w - s["learning_rate"] * m / (np.sqrt(v) + s["epsilon"])


def clippy(s, w, g, k):
    n = s.setdefault("n", np.full_like(w, s["initial_accumulator"]))
    r = 1 / np.sqrt(n + s["epsilon"])
    delta = s["learning_rate"] * g * r
    limit = s["relative"] * np.abs(w) + s["relative_to_accumulator"] * r + s["absolute"]
    shares = [most / abs(d) for most, d in zip(limit, delta, strict=True) if d != 0]
    c = min([1.0, *shares])
    s["n"] = n + (c * g if s["clip_accumulator"] else g) ** 2
    s["c"] = c
    return w - c * delta


def ftrl(s, w, g, k):
    lr, p, l1, l2 = s["learning_rate"], s["learning_rate_power"], s["l1"], s["l2"]

    def q(n):
        return (n**-p + s["beta"]) / lr + 2 * l2

    if "n" not in s:
        s["n"] = np.full_like(w, s["initial_accumulator"])
        s["z"] = -w * q(s["n"]) - np.sign(w) * l1
    grown = s["n"] + g**2
    s["z"] = s["z"] + g + 2 * s["l2_shrinkage"] * w - (grown**-p - s["n"] ** -p) / lr * w
    s["n"] = grown
    return np.where(np.abs(s["z"]) <= l1, 0.0, (np.clip(s["z"], -l1, l1) - s["z"]) / q(grown))


def newton(s, w, g, k):
    """Information instead of its inverse: A' = λA + ggᵀ + what is given back of the damping."""
    n = len(w)
    a = s.get("a", np.eye(n) * s["damping"])
    forget = 1 - 1 / min(s["memory"], s["first_memory"] + s["memory_growth"] * (k - 1))
    a = forget * a + np.outer(g, g)
    w = w - s["learning_rate"] * np.linalg.solve(a, g)
    a[(k - 1) % n, (k - 1) % n] += n * s["damping"] * (1 - forget)
    s["a"] = a
    return w


#: Name → step(state and settings, w, g, number of the step from 1) → w'.
ORACLES = {
    "adagrad": adagrad,
    "adam": adam,
    "clippy": clippy,
    "ftrl": ftrl,
    "momentum": momentum,
    "newton": newton,
    "rowwise_adagrad": rowwise_adagrad,
}


def run(name, settings, w, gradients):
    """(w after all gradients (T, d), state)."""
    state, w = dict(settings), np.array(w, np.float64)
    for k, g in enumerate(np.asarray(gradients, np.float64), 1):
        w = ORACLES[name](state, w, g, k)
    return w, state
