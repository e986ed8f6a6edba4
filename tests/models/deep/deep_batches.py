"""Batches for networks."""

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.inputs import Inputs

INPUTS = Inputs(("user", "item", "tags"), (), ("rate(user)",), n_dense=4)


def batch_of(n, seed=0, inputs=INPUTS, distinct=30):
    """Bags of one id and bags of several, absent ones, and bags of statistics that no network may look at."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 3, (n, inputs.n_bags))
    sizes[:, 0] = 1
    offsets = np.concatenate([[0], np.cumsum(sizes.ravel())])
    bags = np.repeat(np.tile(np.arange(inputs.n_bags), n), sizes.ravel())
    ids = rng.integers(1, distinct, len(bags)).astype(np.uint64) + bags.astype(np.uint64) * np.uint64(1 << 40)
    labels = (rng.random(n) < 0.3 + 0.4 * (ids[offsets[:: inputs.n_bags][:-1]] % 2)).astype(np.float32)
    return Batch(
        ids,
        rng.choice(np.array([1.0, 0.5], np.float32), len(ids)),
        offsets,
        rng.standard_normal((n, inputs.n_dense)).astype(np.float32),
        labels,
        rng.choice(np.array([1.0, 1.0, 0.5], np.float32), n),
        1_700_000_000_000 + np.arange(n) * 60_000,
        np.zeros(n, np.uint8),
    )
