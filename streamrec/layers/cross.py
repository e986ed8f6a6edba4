"""Cross layers: explicit feature crosses, one degree more with every layer.

Version 2 (Wang et al. 2021, "DCN V2", equation 1): x' = x0 ⊙ (W·x + b) + x, here with TFRS's options:

    x' = x0 ⊙ (activation(W·x + b) + diag_scale·x) + x          W = U·V where a rank is given

Version 1 (Wang et al. 2017, equation 3): x' = x0·(xᵀw) + b + x.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from streamrec.layers.activation import Activation, code_of
from streamrec.layers.affine import Affine, affine, through_activation
from streamrec.layers.base import Gradients, Parameters, Tape, checked, put, put_product, shared
from streamrec.layers.initial import generator, truncated_normal
from streamrec.layers.product import rows_times, rows_times_transposed
from streamrec.memory import INNER, JIT

__all__ = ["Cross", "CrossStack", "CrossV1", "cross_back", "cross_into"]


@njit(**INNER)
def cross_into(x0: np.ndarray, x: np.ndarray, inner: np.ndarray, diag_scale: float, out: np.ndarray) -> None:
    """x0 ⊙ (inner + diag_scale·x) + x into out; all (B, inputs)."""
    scale = x.dtype.type(diag_scale)
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[b, j] = x0[b, j] * (inner[b, j] + scale * x[b, j]) + x[b, j]


@njit(**INNER)
def cross_back(
    x0: np.ndarray,
    x: np.ndarray,
    inner: np.ndarray,
    dy: np.ndarray,
    scalars: tuple[float, int],
    out: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Back through `cross_into` and the activation; returns dz summed over examples.

    scalars: diag_scale and the activation's code. out: arrays (B, inputs) for dx0, dx past the kernel, and
    dz, z being what the activation is of.
    """
    diag_scale, code = scalars
    dx0, dx, dz = out
    scale = x.dtype.type(diag_scale)
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            du = dy[b, j] * x0[b, j]
            dz[b, j] = du
            dx0[b, j] = dy[b, j] * (inner[b, j] + scale * x[b, j])
            dx[b, j] = dy[b, j] + scale * du
    return through_activation(code, inner, dz)


@njit(**JIT)
def _outer(x0: np.ndarray, x: np.ndarray, inner: np.ndarray, diag_scale: float) -> np.ndarray:
    out = np.empty_like(x)
    cross_into(x0, x, inner, diag_scale, out)
    return out


@njit(**JIT)
def _outer_backward(
    x0: np.ndarray, x: np.ndarray, inner: np.ndarray, dy: np.ndarray, diag_scale: float, code: int
) -> tuple[Any, Any, Any, Any]:
    """(dx0, dx past the kernel, dz, dz summed over examples)."""
    out = (np.empty_like(x), np.empty_like(x), np.empty_like(x))
    total = cross_back(x0, x, inner, dy, (diag_scale, code), out)
    return out[0], out[1], out[2], total


def _checked_pair(
    x0: np.ndarray, x: np.ndarray, width: int, dtype: np.dtype[Any], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """x0 and x, C-contiguous; ValueError if they are not both (B, width) of this dtype."""
    x0 = checked(x0, width, dtype, f"{where} x0")
    x = checked(x, width, dtype, f"{where} x")
    if len(x0) != len(x):
        raise ValueError(f"{where}: expected as many rows of x as of x0, got {len(x)} and {len(x0)}")
    return x0, x


class Cross:
    """x' = x0 ⊙ (activation(W·x + b) + diag_scale·x) + x; all (B, inputs).

    >>> layer = Cross(3)
    >>> layer.parameters["kernel"][:] = 1
    >>> x0, x = np.array([[.1, .2, .3]], np.float32), np.array([[.4, .5, .6]], np.float32)
    >>> layer.forward(x0, x)[0].round(2).tolist()
    [[0.550000011920929, 0.800000011920929, 1.0499999523162842]]

    Args:
        inputs: width of x0 and x.
        rank: None for a full W, parameter `kernel` (inputs, inputs); r for W = U·V, parameters `kernel_u`
            (inputs, r) and `kernel_v` (r, inputs).
        diag_scale: added to the diagonal of W, at least 0; keeps the product stable where it is learned.
        bias: whether there is a parameter `bias`; it starts at 0, kernels start truncated normal.
        preactivation: a name of `ACTIVATIONS`, one's own `Activation`, or None.
        seed: of the kernels' start, together with `name`.
        name: what the names of the parameters begin with.
        dtype: float32; float64 for tests.

    """

    def __init__(
        self,
        inputs: int,
        rank: int | None = None,
        *,
        diag_scale: float = 0.0,
        bias: bool = True,
        preactivation: str | Activation | None = None,
        seed: int = 0,
        name: str = "",
        dtype: DTypeLike = np.float32,
    ) -> None:
        if inputs < 1 or (rank is not None and rank < 1):
            raise ValueError(
                f"Cross: expected at least 1 input and a rank of at least 1, got {inputs}, {rank}"
            )
        if not 0.0 <= diag_scale < np.inf:
            raise ValueError(f"Cross: diag_scale: expected a finite number of at least 0, got {diag_scale}")
        self.inputs, self.units, self.dtype = inputs, inputs, np.dtype(dtype)
        self._diag_scale, self._code = float(diag_scale), code_of(preactivation)
        self._own = preactivation if isinstance(preactivation, Activation) else None
        self._where = f"Cross {name}".strip()
        self._first = f"{name}kernel_u" if rank else None
        self._kernel, self._bias = (
            f"{name}kernel_v" if rank else f"{name}kernel",
            f"{name}bias" if bias else None,
        )
        self.parameters: Parameters = {}
        for each, rows, columns in (
            [(self._first, inputs, rank), (self._kernel, rank, inputs)]
            if self._first and rank
            else [(self._kernel, inputs, inputs)]
        ):
            self.parameters[each] = truncated_normal(generator(seed, each), rows, columns).astype(self.dtype)
        if self._bias:
            self.parameters[self._bias] = np.zeros(inputs, self.dtype)
        self._without_bias = np.empty(0, self.dtype)

    @property
    def affine(self) -> Affine | None:
        """All of it, where W is full and the activation a compiled one."""
        if self._own or self._first:
            return None
        return Affine(self._kernel, self._bias, self._code, self._diag_scale)

    def forward(self, x0: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """x' of x0 and x."""
        x0, x = _checked_pair(x0, x, self.inputs, self.dtype, self._where)
        bias = self.parameters[self._bias] if self._bias else self._without_bias
        low = rows_times(x, self.parameters[self._first]) if self._first else x
        inner = affine(low, self.parameters[self._kernel], bias, self._code)
        if self._own:
            inner = self._own.apply(inner)
        return _outer(x0, x, inner, self._diag_scale), (x0, x, low, inner)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> tuple[np.ndarray, np.ndarray]:
        """(dx0, dx); gradients of kernels and bias."""
        x0, x, low, inner = tape
        dy = checked(dy, self.inputs, self.dtype, self._where)
        dx0, dx, dz, total = _outer_backward(x0, x, inner, dy, self._diag_scale, self._code)
        if self._own:
            dz = dz * self._own.slope(inner)
            total = dz.sum(0)
        put_product(gradients, self._kernel, low, dz)
        if self._bias:
            put(gradients, self._bias, total)
        back = rows_times_transposed(dz, self.parameters[self._kernel])
        if self._first:
            put_product(gradients, self._first, x, back)
            back = rows_times_transposed(back, self.parameters[self._first])
        dx += back
        return dx0, dx


class CrossV1:
    """x' = x0·(xᵀw) + b + x; all (B, inputs), parameters `kernel` (inputs, 1) and `bias` (inputs,).

    Args:
        inputs: width of x0 and x.
        bias: whether there is one; it starts at 0, w truncated normal.
        seed: of w's start, together with `name`.
        name: what the names of the parameters begin with.
        dtype: float32; float64 for tests.

    """

    def __init__(
        self, inputs: int, *, bias: bool = True, seed: int = 0, name: str = "", dtype: DTypeLike = np.float32
    ) -> None:
        if inputs < 1:
            raise ValueError(f"CrossV1: expected at least 1 input, got {inputs}")
        self.inputs, self.units, self.dtype = inputs, inputs, np.dtype(dtype)
        self._where = f"CrossV1 {name}".strip()
        self._kernel, self._bias = f"{name}kernel", f"{name}bias" if bias else None
        start = truncated_normal(generator(seed, self._kernel), inputs, 1)
        self.parameters: Parameters = {self._kernel: start.astype(self.dtype)}
        if self._bias:
            self.parameters[self._bias] = np.zeros(inputs, self.dtype)

    def forward(self, x0: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """x' of x0 and x."""
        x0, x = _checked_pair(x0, x, self.inputs, self.dtype, self._where)
        s = rows_times(x, self.parameters[self._kernel])
        y = x0 * s + x
        if self._bias:
            y += self.parameters[self._bias]
        return y, (x0, x, s)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> tuple[np.ndarray, np.ndarray]:
        """(dx0, dx); gradients of w and b."""
        x0, x, s = tape
        dy = checked(dy, self.inputs, self.dtype, self._where)
        ds = np.einsum("bi,bi->b", x0, dy)[:, None]
        put_product(gradients, self._kernel, x, ds)
        if self._bias:
            put(gradients, self._bias, dy.sum(0))
        return dy * s, dy + ds * self.parameters[self._kernel].T


class CrossStack:
    """Cross layers one after another, all of the same x0: x1 = cross(x0, x0), x2 = cross(x0, x1), …

    Parameters are `0.kernel, 0.bias, 1.kernel, …` after `name`.

    Args:
        inputs: width of x0.
        n: how many layers, at least 1.
        version: 2 or 1; the options of `Cross` are for version 2.
        name: what the names of the parameters begin with.
        options: of every layer, as `Cross` or `CrossV1` take them.

    """

    def __init__(self, inputs: int, n: int, version: int = 2, *, name: str = "", **options: Any) -> None:
        if n < 1 or version not in (1, 2):
            raise ValueError(f"CrossStack: expected at least 1 layer of version 1 or 2, got {n} of {version}")
        kind: Any = Cross if version == 2 else CrossV1
        self.layers = [kind(inputs, name=f"{name}{i}.", **options) for i in range(n)]
        self.inputs, self.units, self.dtype = inputs, inputs, self.layers[0].dtype
        self.parameters = shared(self.layers)

    def forward(self, x0: np.ndarray) -> tuple[np.ndarray, Tape]:
        """The last layer's x' of x0."""
        x, tapes = x0, []
        for layer in self.layers:
            x, tape = layer.forward(x0, x)
            tapes.append(tape)
        return x, tuple(tapes)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:
        """dx0; gradients of all layers."""
        of_x0 = np.zeros_like(dy)
        for layer, its in zip(reversed(self.layers), reversed(tape), strict=True):
            dx0, dy = layer.backward(its, dy, gradients)
            of_x0 += dx0
        of_x0 += dy
        return of_x0
