"""The layers of a ranking model above its embedding: bottom stack, interaction, top stack."""

from typing import Any, NamedTuple

import numpy as np

from streamrec.layers.base import Gradients, Layer

__all__ = ["LayeredStacks", "Stacks", "takes_dense"]


class Stacks(NamedTuple):
    """d = bottom(dense), s = top([d, interaction([e, d])]), e being the embedding's vectors."""

    bottom: Layer | None  # None: d are the dense columns themselves
    interaction: Layer  # of [e, d], or of e alone, as its `inputs` say
    top: Layer

    def named(self) -> dict[str, Layer]:
        """Those that are there, by what the names of their parameters begin with."""
        return {name: layer for name, layer in self._asdict().items() if layer is not None}


class _Tape(NamedTuple):
    bottom: Any
    interaction: Any
    top: Any
    widths: tuple[int, int]  # of e and of d


class LayeredStacks:
    """Forward and backward pass, layer by layer.

    Args:
        stacks: of any layers.
        crosses_dense: whether the interaction takes d, too.

    """

    def __init__(self, stacks: Stacks, crosses_dense: bool) -> None:
        self._stacks, self._crosses_dense = stacks, crosses_dense

    def forward(self, e: np.ndarray, dense: np.ndarray) -> tuple[np.ndarray, Any]:
        """Evidence float32 (B,) of vectors e (B, E) and dense columns, and what `backward` needs."""
        bottom, interaction, top = self._stacks
        d, of_bottom = bottom.forward(dense) if bottom is not None else (dense, None)
        crossed, of_interaction = interaction.forward(_beside(e, d) if self._crosses_dense else e)
        s, of_top = top.forward(_beside(d, crossed))
        return s[:, 0], _Tape(of_bottom, of_interaction, of_top, (e.shape[1], d.shape[1]))

    def backward(self, tape: _Tape, slopes: np.ndarray) -> tuple[np.ndarray, dict[str, Gradients]]:
        """d loss / d e, and the gradients of every stack's parameters."""
        bottom, interaction, top = self._stacks
        gradients: dict[str, Gradients] = {name: {} for name in self._stacks.named()}
        of_e, of_d = tape.widths
        side = top.backward(tape.top, slopes.astype(np.float32)[:, None], gradients["top"])
        crossed = np.ascontiguousarray(side[:, of_d:])
        dx = interaction.backward(tape.interaction, crossed, gradients["interaction"])
        if bottom is not None:
            dd = side[:, :of_d] + dx[:, of_e:] if self._crosses_dense else side[:, :of_d]
            bottom.backward(tape.bottom, np.ascontiguousarray(dd), gradients["bottom"])
        return np.ascontiguousarray(dx[:, :of_e]), gradients


def takes_dense(units: int, stacks: Stacks, n_dense: int) -> bool:
    """Whether the interaction takes what the bottom stack gives, too; ValueError where widths do not fit."""
    bottom, interaction, top = stacks
    if bottom is not None and bottom.inputs != n_dense:
        raise ValueError(
            f"bottom: expected {n_dense} inputs, as there are dense columns, got {bottom.inputs}"
        )
    beside = n_dense if bottom is None else bottom.units
    if interaction.inputs not in (units, units + beside):
        raise ValueError(
            f"interaction: expected {units} inputs, the embedding's units, or with the bottom's {beside} "
            f"{units + beside}, got {interaction.inputs}"
        )
    if top.inputs != beside + interaction.units or top.units != 1:
        raise ValueError(
            f"top: expected {beside + interaction.units} inputs, the bottom's {beside} and the interaction's "
            f"{interaction.units}, and 1 unit, got {top.inputs} inputs and {top.units} units"
        )
    return interaction.inputs > units


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Columns of both, C-contiguous."""
    if not left.shape[1]:
        return right
    return np.concatenate((left, right), axis=1) if right.shape[1] else left
