"""int8 codes of vectors: a filter that never changes an answer.

A vector x has codes c = round(x / s), s = max |x| / 127, so x = s·c + e with |eᵢ| ≤ s/2. A query has codes
p = round(q / t) of 16 bits at most. Then x·q = s·(t·Σ c·p + r) with

    |r| ≤ ‖q‖·√D/2  +  127·D·t/2  +  what is lost by rounding.

`bounds_reaching` adds that bound (`margin`), and only an item whose bound reaches the k-th best score so far
has its vector read and its exact score computed. Scanning codes so reads a quarter of float32's memory and
gives the same answer to the last bit.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from streamrec.index.lanes import BLOCK
from streamrec.memory import JIT

__all__ = ["encode", "encode_queries"]

_LARGEST_CODE = 127
_LARGEST_PAIR_CODE = 32767
#: A scale is never a denormal number.
_LEAST_SCALE = 1e-30 / _LARGEST_CODE
#: Of D float32 products and sums, and of those that make the bound; relative to √D·127·s·‖q‖, with room to
#: spare.
_ROUNDING = 2.0**-22
#: Dividing by the scale rounds, too.
_HALF_STEP = 0.501


@njit(**JIT)
def encode(vectors: np.ndarray, first: int, codes: np.ndarray, scales: np.ndarray) -> None:
    """Codes of vectors for the slots first … of a chunk.

    Args:
        vectors: float32 (N, D), D even, as they are stored.
        first: slot of the first one.
        codes: int8 (blocks, D/2, 32, 2): two dimensions of 32 items lie side by side.
        scales: float32 (slots,).

    """
    for n in range(len(vectors)):
        slot = first + n
        largest = np.float32(0.0)
        for d in range(vectors.shape[1]):
            largest = max(largest, abs(vectors[n, d]))
        scale = max(largest / np.float32(_LARGEST_CODE), np.float32(_LEAST_SCALE))
        scales[slot] = scale
        block, item = slot // BLOCK, slot % BLOCK
        for d in range(vectors.shape[1]):
            code = round(vectors[n, d] / scale)
            codes[block, d // 2, item, d % 2] = max(-_LARGEST_CODE, min(_LARGEST_CODE, code))


def encode_queries(queries: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Codes int16 (Q, D) of queries float32 (Q, D), and (t, margin) float32 (Q, 2).

    Codes are as large as the sum of D products with int8 codes allows in 32 bits: 15 bits and a sign up to
    516 dimensions.
    """
    dim = queries.shape[1]
    exact = queries.astype(np.float64)
    largest = min(_LARGEST_PAIR_CODE, (2**31 - 1) // (_LARGEST_CODE * dim))
    step = np.maximum(np.abs(exact).max(axis=1, initial=0.0), 1e-30) / largest
    codes = np.rint(exact / step[:, None]).astype(np.int16)
    norm = np.sqrt((exact * exact).sum(axis=1))
    lost = norm * math.sqrt(dim) * (_HALF_STEP + _LARGEST_CODE * dim * _ROUNDING)
    margin = lost + _LARGEST_CODE * dim * step * _HALF_STEP
    bounds = np.empty((len(queries), 2), np.float32)
    bounds[:, 0], bounds[:, 1] = step, margin
    return codes, bounds
