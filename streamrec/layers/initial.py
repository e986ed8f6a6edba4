"""What parameters start with: a function of the seed and the parameter's name, by Keras's rules."""

import math

import numpy as np

__all__ = ["generator", "glorot_uniform", "truncated_normal"]

#: Keras's default of TruncatedNormal, which TFRS takes for the kernels of a Cross layer.
_STDDEV = 0.05


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one parameter: layers of one seed differ by their names."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *name.encode()])))


def glorot_uniform(random: np.random.Generator, inputs: int, units: int) -> np.ndarray:
    """Float64 (inputs, units), uniform within ±√(6/(inputs + units)) (Glorot and Bengio 2010)."""
    limit = math.sqrt(6.0 / (inputs + units))
    return random.uniform(-limit, limit, (inputs, units))


def truncated_normal(random: np.random.Generator, inputs: int, units: int) -> np.ndarray:
    """Float64 (inputs, units), normal with deviation .05, drawn again where beyond two deviations."""
    drawn = random.standard_normal((inputs, units))
    while (outside := np.abs(drawn) > 2.0).any():
        drawn[outside] = random.standard_normal(int(outside.sum()))
    return drawn * _STDDEV
