"""Wide & deep: a linear part and a network under one loss (Cheng et al. 2016, "Wide & Deep Learning for
Recommender Systems").

    s = s_wide + s_deep        each part learns with d loss / d s

The wide part is learned by FTRL-Proximal, with L1 where nothing else is set, the network by its own
optimizers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.base import Model
from streamrec.models.deep.build import network_part
from streamrec.models.deep.model import DeepModel
from streamrec.models.inputs import Inputs
from streamrec.models.linear_part import LinearPart
from streamrec.models.named import its_own, named, parted
from streamrec.models.part import Part
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Table

__all__ = ["Sum", "wide_deep_model"]


class Sum:
    """Parts whose evidence is added: a `Part` itself.

    Args:
        parts: by name; names of their tables and blobs begin with it.

    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = parts

    @property
    def tables(self) -> Mapping[str, Table]:
        """All parts', as `wide.linear`."""
        return named({name: part.tables for name, part in self.parts.items()})

    def forward(self, batch: Batch) -> tuple[np.ndarray, Any]:
        """s float64 (B,), and the parts' tapes."""
        evidence, tapes = np.zeros(len(batch), np.float64), []
        for part in self.parts.values():
            s, tape = part.forward(batch)
            evidence += s
            tapes.append(tape)
        return evidence, tapes

    def backward(self, tape: Any, slopes: np.ndarray) -> None:
        """Every part learns with the slopes of the joint loss."""
        for part, its in zip(self.parts.values(), tape, strict=True):
            part.backward(its, slopes)

    def bound(self, tape: Any) -> np.ndarray:
        """The sum of how far each part's s could move."""
        bounds = [part.bound(its) for part, its in zip(self.parts.values(), tape, strict=True)]
        return np.asarray(sum(bounds[1:], bounds[0]))

    def blobs(self) -> Mapping[str, bytes]:
        """All parts'."""
        return named({name: part.blobs() for name, part in self.parts.items()})

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        for name, part in self.parts.items():
            part.restore(its_own(blobs, name))

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """As the part says whose table it is."""
        name, its = parted(table)
        return self.parts[name].shadow(its, rows)


def wide_deep_model(settings: ModelSettings, inputs: Inputs) -> Model:
    """The kind `wide_deep`: the wide part takes all bags, the network fields and dense columns.

    Crosses are left to the wide part: the network crosses by itself.
    """
    behind = (*inputs.crosses, *inputs.statistics)
    network = network_part(settings, Inputs(inputs.fields, (), behind, inputs.n_dense), "dcn")
    parts: dict[str, Part] = {"wide": LinearPart(settings), "deep": network}
    return DeepModel(settings, Sum(parts))
