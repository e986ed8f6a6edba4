"""Networks of the kinds: which interaction, and what surrounds it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from streamrec.layers.base import Layer
from streamrec.layers.cross import CrossStack
from streamrec.layers.dense import Dense
from streamrec.layers.dot import DotInteraction
from streamrec.layers.mlp import MLP
from streamrec.models.base import Model
from streamrec.models.deep.embedding import BagEmbedding
from streamrec.models.deep.model import DeepModel
from streamrec.models.deep.ranking import RankingModel
from streamrec.models.deep.settings import DeepSettings
from streamrec.models.deep.weighted_fm import WeightedFM
from streamrec.models.inputs import Inputs
from streamrec.models.settings import ModelSettings

__all__ = ["INTERACTIONS", "Vectors", "deep_model", "network_part"]


class Vectors(NamedTuple):
    """What an interaction is of: field vectors, and what the bottom stack gives."""

    fields: int
    width: int
    beside: int  # columns of the bottom stack


def _cross(vectors: Vectors, deep: DeepSettings) -> Layer:
    return CrossStack(
        vectors.fields * vectors.width + vectors.beside, deep.crosses, rank=deep.rank or None, seed=deep.seed
    )


def _cross_v1(vectors: Vectors, deep: DeepSettings) -> Layer:
    return CrossStack(vectors.fields * vectors.width + vectors.beside, deep.crosses, 1, seed=deep.seed)


def _dot(vectors: Vectors, deep: DeepSettings) -> Layer:  # noqa: ARG001
    return DotInteraction(vectors.fields + (vectors.beside == vectors.width), vectors.width)


def _pairs(vectors: Vectors, deep: DeepSettings) -> Layer:  # noqa: ARG001
    return WeightedFM(vectors.fields + (vectors.beside == vectors.width), vectors.width)


#: Kind → its interaction. Dot products and pairs take what the bottom stack gives as one more vector, where it
#: has the width of one.
INTERACTIONS: Mapping[str, Callable[[Vectors, DeepSettings], Layer]] = {
    "dcn": _cross,
    "dcn_v1": _cross_v1,
    "dlrm": _dot,
    "fm": _pairs,
}


def network_part(settings: ModelSettings, inputs: Inputs, network: str) -> RankingModel:
    """The network of a kind, over an empty table.

    Args:
        settings: of the model; its own kind may be another one.
        inputs: fields and crosses get vectors; statistics are dense columns already.
        network: a name of `INTERACTIONS`.

    """
    deep = settings.deep
    fields = len(inputs.fields) + len(inputs.crosses)
    embedding = BagEmbedding(fields, inputs.n_bags, deep.embedding, deep.seed)
    bottom, beside = None, inputs.n_dense
    if deep.bottom and beside:
        bottom, beside = MLP(beside, deep.bottom, "relu", "relu", seed=deep.seed), deep.bottom[-1]
    interaction = INTERACTIONS[network](Vectors(fields, embedding.width, beside), deep)
    top = MLP(beside + interaction.units, [*deep.top, 1], seed=deep.seed)
    return RankingModel(embedding, bottom, interaction, top, deep.optimizers)


def deep_model(settings: ModelSettings, inputs: Inputs) -> Model:
    """A model of one network, that of its kind."""
    return DeepModel(settings, network_part(settings, inputs, settings.kind), settings.deep.micro_batch)
