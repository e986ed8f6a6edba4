"""Settings of networks: what stands in `[model.deep]` of a settings file."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from streamrec.layers.embedding import EmbeddingSettings
from streamrec.optim.adagrad import AdagradSettings
from streamrec.optim.registry import AnyOptimizer

__all__ = ["DeepSettings", "filled"]

#: Vectors learn faster than layers: each is seen a few times only.
_VECTORS: dict[str, Any] = {"optimizer": {"name": "adagrad", "learning_rate": 0.2}}

_Units = tuple[Annotated[int, Field(ge=1, le=16384)], ...]


class DeepSettings(BaseModel):
    """A network: embeddings and bottom stack → interaction → top stack, and how it is learned.

    The defaults are those of `dcn`; `filled` puts those of other kinds in their place.

    Attributes:
        embedding: vectors of ids: width, start, optimizer; one table for all fields.
        tables: name of a field or cross → a table of its own, or of "*" → one for each other field; what is
            not set there is as in `embedding`. Other widths than that are for cross layers only.
        bottom: units of the stack over dense columns; none: they go on as they are.
        crosses: how many cross layers, for kinds that have some.
        rank: of a cross layer's W = U·V; 0: a full W.
        top: units of the hidden layers of the stack that ends in the evidence.
        optimizers: name of a group of dense parameters → its optimizer. A group is what a name begins with:
            "top", "interaction.0". Every parameter must be in exactly one; "" is all of them.
        micro_batch: examples that are learned in one step.
        seed: of everything that starts at random.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding: EmbeddingSettings = EmbeddingSettings(**_VECTORS)
    tables: Mapping[str, EmbeddingSettings] = Field(default_factory=dict)
    bottom: _Units = ()
    crosses: int = Field(2, ge=1, le=64)
    rank: int = Field(0, ge=0, le=16384)
    top: _Units = (32,)
    optimizers: Mapping[str, AnyOptimizer] = Field({"": AdagradSettings(learning_rate=0.03)}, min_length=1)
    micro_batch: int = Field(8, ge=1, le=65536)
    seed: int = Field(0, ge=0, lt=2**63)


#: Kind → its defaults where they differ.
_RECIPES: Mapping[str, dict[str, Any]] = {
    "fm": {"top": (), "embedding": {"optimizer": {"name": "adagrad", "learning_rate": 0.1}}},
    "dlrm": {"bottom": (64, 16), "embedding": {**_VECTORS, "scale": 0.2}},
}


def filled(settings: DeepSettings, kind: str) -> DeepSettings:
    """The settings, with a kind's defaults where nothing was set.

    That holds for each setting of the embedding, too, and tables of fields take what it has. What counts as
    set stays what the user set, so that another kind can be filled in from the result.
    """
    recipe, given = _RECIPES.get(kind, {}), settings.model_dump(exclude_unset=True)
    embedding = {**_VECTORS, **recipe.get("embedding", {}), **given.get("embedding", {})}
    tables = {name: {**embedding, **its} for name, its in given.get("tables", {}).items()}
    full = DeepSettings.model_validate({**recipe, **given, "embedding": embedding, "tables": tables})
    _as_set(full, settings)
    _as_set(full.embedding, settings.embedding)
    for name, its in full.tables.items():
        _as_set(its, settings.tables[name])
    return full


def _as_set(full: BaseModel, settings: BaseModel) -> None:
    """Let those fields count as set that were in settings."""
    object.__setattr__(full, "__pydantic_fields_set__", settings.model_fields_set)
