"""Codes of four bits of vectors: a filter that never changes an answer.

A vector x has codes u of 0 … 15: x = s·(u − 7.5) + e with s = max |x| / 7.5; s and ‖e‖ are kept. A query has
codes p = round(q / t) of 16 bits: q = t·p + f. Then

    x·q = s·(t·Σ u·p − 7.5·t·Σ p) + s·(u − 7.5)·f + e·q

with |s·(u − 7.5)·f| ≤ 7.5·s·√D·‖f‖ and |e·q| ≤ ‖e‖·‖q‖.

`bounds_reaching` adds these bounds and what is lost by rounding, and only an item whose bound reaches the
k-th best score so far has its vector read and its exact score computed. Of 200,000 clustered vectors of 64
numbers some 400 have, with eight bits and the worst case of e it would be 120: reading half as much is worth
more. A search streams 40 bytes for each of them instead of 256, and gives the same answer to the last bit.
"""

import math

import numpy as np
from numba import njit

from streamrec.index.lanes import BLOCK, LANES
from streamrec.memory import JIT

__all__ = ["CODE_BYTES", "encode", "encode_queries"]

#: Bytes of the codes of eight numbers.
CODE_BYTES = 4
_MIDDLE, _LARGEST_CODE = 7.5, 15
#: The sum of 4,096 products with codes of four bits has 31 bits.
_LARGEST_PAIR_CODE = 32767
#: A scale is never a denormal number.
_LEAST_SCALE = 1e-30
#: Of D float32 products and sums, and of those that make the bound; relative to √D·16·s·‖q‖, with room to
#: spare.
_ROUNDING = 2.0**-22
#: ‖e‖ is rounded to float32, upwards.
_UPWARDS = 1.0 + 2.0**-22


@njit(**JIT)
def encode(vectors: np.ndarray, first: int, codes: np.ndarray, scales: np.ndarray) -> None:
    """Codes of vectors for the slots first … of a chunk, which are all 0 so far.

    Args:
        vectors: float32 (N, D), D a multiple of 8, as they are stored.
        first: slot of the first one.
        codes: uint32 (blocks, D/8, 32): eight codes of an item each, the first in the lowest bits.
        scales: float32 (blocks, 2, 32): s and ‖e‖.

    """
    for n in range(len(vectors)):
        block, item = (first + n) // BLOCK, (first + n) % BLOCK
        largest = np.float32(0.0)
        for d in range(vectors.shape[1]):
            largest = max(largest, abs(vectors[n, d]))
        scale = max(largest / np.float32(_MIDDLE), np.float32(_LEAST_SCALE))
        lost = 0.0
        for d in range(vectors.shape[1]):
            code = max(0, min(_LARGEST_CODE, math.floor(vectors[n, d] / scale + _MIDDLE + 0.5)))
            lost += (np.float64(vectors[n, d]) - np.float64(scale) * (code - _MIDDLE)) ** 2
            codes[block, d // LANES, item] |= np.uint32(code << (4 * (d % LANES)))
        scales[block, 0, item] = scale
        scales[block, 1, item] = math.sqrt(lost) * _UPWARDS


@njit(**JIT)
def encode_queries(queries: np.ndarray, codes: np.ndarray, bounds: np.ndarray) -> None:
    """Codes and bounds of queries: a product is at most s·(t·Σ u·p + base) + ‖e‖·norm.

    Args:
        queries: float32 (Q, D), D a multiple of 8.
        codes: int16 (Q, D), written in the order in which `bounds_reaching` takes them: of eight the first
            and the fifth, the second and the sixth, and so on.
        bounds: float32 (Q, 3), written: t, base and norm.

    """
    dim, half = queries.shape[1], LANES // 2
    for q in range(len(queries)):
        largest, norm, missed, total = 0.0, 0.0, 0.0, 0.0
        for d in range(dim):
            largest = max(largest, abs(np.float64(queries[q, d])))
        step = max(largest, _LEAST_SCALE) / _LARGEST_PAIR_CODE
        for d in range(dim):
            number = np.float64(queries[q, d])
            code = np.rint(number / step)
            codes[q, d // LANES * LANES + d % half * 2 + d % LANES // half] = np.int16(code)
            total += code
            norm += number * number
            missed += (number - step * code) ** 2
        norm = math.sqrt(norm)
        rounding = 2 * (_MIDDLE + 0.5) * norm * (dim + LANES) * _ROUNDING
        base = math.sqrt(dim) * (_MIDDLE * math.sqrt(missed) + rounding) - _MIDDLE * step * total
        bounds[q, 0], bounds[q, 1], bounds[q, 2] = step, base, norm * _UPWARDS
