"""Networks by kind: which interaction, and what surrounds it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from streamrec.errors import ConfigError
from streamrec.layers.base import Layer
from streamrec.layers.cross import CrossStack
from streamrec.layers.dot import DotInteraction
from streamrec.layers.embedding import EmbeddingSettings
from streamrec.layers.mlp import MLP
from streamrec.models.base import Model
from streamrec.models.deep.field_tables import embedding_of
from streamrec.models.deep.model import DeepModel
from streamrec.models.deep.ranking import Embedding, RankingModel
from streamrec.models.deep.settings import DeepSettings
from streamrec.models.deep.stacks import Stacks
from streamrec.models.deep.weighted_fm import WeightedFM
from streamrec.models.inputs import Inputs
from streamrec.models.settings import ModelSettings

__all__ = ["INTERACTIONS", "TFRS", "Vectors", "deep_model", "network_part", "ranking_model"]

#: Kinds whose interaction is of pairs of vectors.
_OF_PAIRS = ("dlrm", "fm")
#: The defaults of TFRS's configurable ranking model.
TFRS = DeepSettings(bottom=(256, 64, 16), top=(512, 256))


class Vectors(NamedTuple):
    """What an interaction is of."""

    units: int  # of the embedding
    width: int  # of a field's vector
    beside: int  # columns that the bottom stack gives

    @property
    def fields(self) -> int:
        """How many vectors; what the bottom stack gives is one more where it has the width of one."""
        return self.units // self.width + (self.beside == self.width)


def _cross(vectors: Vectors, deep: DeepSettings) -> Layer:
    rank = deep.rank or None
    return CrossStack(vectors.units + vectors.beside, deep.crosses, rank=rank, seed=deep.seed)


def _cross_v1(vectors: Vectors, deep: DeepSettings) -> Layer:
    return CrossStack(vectors.units + vectors.beside, deep.crosses, 1, seed=deep.seed)


def _dot(vectors: Vectors, deep: DeepSettings) -> Layer:  # noqa: ARG001
    return DotInteraction(vectors.fields, vectors.width)


def _pairs(vectors: Vectors, deep: DeepSettings) -> Layer:  # noqa: ARG001
    return WeightedFM(vectors.fields, vectors.width)


#: Kind → its interaction.
INTERACTIONS: Mapping[str, Callable[[Vectors, DeepSettings], Layer]] = {
    "dcn": _cross,
    "dcn_v1": _cross_v1,
    "dlrm": _dot,
    "fm": _pairs,
}


def ranking_model(
    inputs: Inputs,
    interaction: str | Layer = "dlrm",
    settings: DeepSettings = TFRS,
    *,
    embedding: Embedding | None = None,
    bottom: Layer | None = None,
    top: Layer | None = None,
) -> RankingModel:
    """A network of the usual pieces, or of one's own in their place.

    >>> from streamrec.models.inputs import Inputs
    >>> model = ranking_model(Inputs(("user", "item"), n_dense=3), "dcn")
    >>> model.dense_parameters["interaction.1.kernel"].shape
    (48, 48)

    Args:
        inputs: fields and crosses get vectors; statistics are dense columns already.
        interaction: a name of `INTERACTIONS`, or a layer.
        settings: of the usual pieces, and optimizers of all.
        embedding: in place of the tables that the settings tell.
        bottom: in place of dense layers with ReLU.
        top: in place of dense layers with ReLU and a last one without.

    """
    deep = settings
    if embedding is None:
        embedding = embedding_of((*inputs.fields, *inputs.crosses), deep.embedding, deep.tables, deep.seed)
    if bottom is None and deep.bottom and inputs.n_dense:
        bottom = MLP(inputs.n_dense, deep.bottom, "relu", "relu", seed=deep.seed)
    beside = inputs.n_dense if bottom is None else bottom.units
    if isinstance(interaction, str):
        _check_widths(interaction, embedding, deep.embedding.width)
        interaction = INTERACTIONS[interaction](Vectors(embedding.units, deep.embedding.width, beside), deep)
    if not beside + interaction.units:
        raise ValueError(
            "expected two fields or a dense column: of one field there is no product; take dcn or fm"
        )
    if top is None:
        top = MLP(beside + interaction.units, [*deep.top, 1], seed=deep.seed)
        if isinstance(interaction, WeightedFM) and not deep.top:  # so that it starts as the sum itself
            top.parameters["0.kernel"][:-1], top.parameters["0.kernel"][-1] = 0.0, 1.0
    return RankingModel(embedding, Stacks(bottom, interaction, top), inputs.n_dense, deep.optimizers)


def _check_widths(interaction: str, embedding: Embedding, width: int) -> None:
    """ValueError where products of pairs are wanted, of vectors that are not as wide as each other."""
    others = [its for its in getattr(embedding, "widths", ()) if its != width]
    if others and interaction in _OF_PAIRS:
        raise ValueError(
            f"tables: expected vectors of {width}, as wide as the others, got {others[0]}: "
            f"{interaction} multiplies them with each other; cross layers take any"
        )


def network_part(settings: ModelSettings, inputs: Inputs, network: str) -> RankingModel:
    """The network of a kind as its settings say, over empty tables.

    Admission and expiry are the model's, where a table has none of its own.
    """
    deep = settings.deep
    tables = {name: _retained(its, settings) for name, its in deep.tables.items()}
    embedding = _retained(deep.embedding, settings)
    return ranking_model(inputs, network, deep.model_copy(update={"embedding": embedding, "tables": tables}))


def _retained(own: EmbeddingSettings, settings: ModelSettings) -> EmbeddingSettings:
    """A table's settings, with the model's admission and expiry where it has none of its own."""
    admission = settings.admission if own.admission.policy == "all" else own.admission
    retention = own.retention
    if retention.expire_after_s is None:
        retention = retention.model_copy(update={"expire_after_s": settings.expire_after_s})
    return own.model_copy(update={"admission": admission, "retention": retention})


def deep_model(settings: ModelSettings, inputs: Inputs) -> Model:
    """A model of one network, that of its kind.

    Raises:
        ConfigError: these features or settings make no such network.

    """
    try:
        return DeepModel(settings, network_part(settings, inputs, settings.kind))
    except ValueError as error:
        raise ConfigError(f"model of kind {settings.kind}: {error}") from None
