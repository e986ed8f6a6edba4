"""What a layer is: parameters, a pure forward pass, and an explicit backward pass.

    y, tape = layer.forward(x)                  # x float32 (B, inputs), y (B, units)
    dx = layer.backward(tape, dy, gradients)    # dy = d loss / d y; fills gradients[name]

`forward` changes nothing, so threads may share a layer, and what it gives for one example has the same bits
alone and in any batch. `tape` is whatever `backward` needs.

Gradients are a dictionary by parameter name. Where it holds an array, of the parameter's shape, `backward`
writes into it (assigns, does not add). Where it holds none, `backward` puts the gradient there as it falls
out: a kernel's as `Factors`, which for few examples is far smaller than their product and lets an optimizer
form it while it updates; any other as a new array.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from streamrec.layers.product import columns_times

__all__ = ["Factors", "Gradients", "Layer", "Parameters", "Tape", "checked", "put", "put_product", "shared"]


def _keep_freed_memory() -> None:
    """Let the process keep what layers free, for the next batch.

    glibc returns the top of its heap once more is free than twice the largest block that was ever mapped by
    itself, and every page that comes back is a page fault: with 500 examples 3 of 6 ms of a backward pass.
    Freeing one block of just under 32 MiB, its limit, moves that to 62 MiB; no page of it is touched.
    """
    np.empty(31 << 20, np.uint8)


_keep_freed_memory()


class Factors(NamedTuple):
    """The gradient aᵀ·b of a kernel (I, O), not yet multiplied out."""

    a: np.ndarray  # (B, I), what the kernel was applied to
    b: np.ndarray  # (B, O), d loss / d (a · kernel)

    def product(self) -> np.ndarray:
        """The gradient itself, (I, O)."""
        out = np.empty((self.a.shape[1], self.b.shape[1]), self.a.dtype)
        columns_times(self.a, self.b, out)
        return out


Parameters = dict[str, np.ndarray]
Gradients = dict[str, np.ndarray | Factors]
Tape = tuple[Any, ...]


class Layer(Protocol):
    """From (B, inputs) to (B, units). Layers of two inputs take `forward(x0, x)` and return (dx0, dx).

    `parameters` maps names to C-contiguous arrays. It is read at every call and never copied: its owner may
    put other arrays of the same shapes into it, and several layers may share one (`shared`). A layer made of
    layers has them in `layers`, and its parameters are theirs.
    """

    inputs: int
    units: int
    parameters: Parameters

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """y of x, and what `backward` needs."""
        ...

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:
        """d loss / d x from d loss / d y; fills `gradients` for this layer's parameters."""
        ...


def checked(x: np.ndarray, width: int, dtype: np.dtype[Any], where: str) -> np.ndarray:
    """x, C-contiguous; ValueError if it is not (B, width) of this dtype."""
    if x.ndim != 2 or x.shape[1] != width or x.dtype != dtype:
        raise ValueError(f"{where}: expected {dtype} of shape (B, {width}), got {x.dtype} of shape {x.shape}")
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def put(gradients: Gradients, name: str, gradient: np.ndarray) -> None:
    """Hand over the gradient of a parameter: into the array that is there, or as it is."""
    target = gradients.get(name)
    if isinstance(target, np.ndarray):
        target[...] = gradient.reshape(target.shape)
    else:
        gradients[name] = gradient


def put_product(gradients: Gradients, name: str, a: np.ndarray, b: np.ndarray) -> None:
    """Hand over the gradient aᵀ·b of a kernel: into the array that is there, or as `Factors`."""
    target = gradients.get(name)
    if isinstance(target, np.ndarray):
        columns_times(a, b, target)
    else:
        gradients[name] = Factors(a, b)


def shared(layers: Iterable[Any]) -> Parameters:
    """Let layers, of one input or two, have one dictionary of parameters, in the layers' order.

    ValueError where two use one name.
    """
    together: Parameters = {}
    for layer in layers:
        for name, value in layer.parameters.items():
            if together.setdefault(name, value) is not value:
                raise ValueError(
                    f"parameter {name!r}: two layers have it; give each layer a `name` of its own"
                )
        _adopt(layer, together)
    return together


def _adopt(layer: Any, parameters: Parameters) -> None:
    layer.parameters = parameters
    for part in getattr(layer, "layers", ()):
        _adopt(part, parameters)
