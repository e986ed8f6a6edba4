"""Settings of networks: what stands in `[model.deep]` of a settings file."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from streamrec.layers.embedding import EmbeddingSettings
from streamrec.optim.adagrad import AdagradSettings
from streamrec.optim.registry import AnyOptimizer

__all__ = ["DeepSettings", "filled"]

_Units = tuple[Annotated[int, Field(ge=1, le=16384)], ...]


class DeepSettings(BaseModel):
    """A network: embeddings and bottom stack → interaction → top stack, and how it is learned.

    The defaults are those of `dcn`; `filled` puts those of other kinds in their place.

    Attributes:
        embedding: vectors of ids: width, start, optimizer.
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

    embedding: EmbeddingSettings = Field(default_factory=EmbeddingSettings)
    bottom: _Units = ()
    crosses: int = Field(2, ge=1, le=64)
    rank: int = Field(0, ge=0, le=16384)
    top: _Units = (64, 32)
    optimizers: Mapping[str, AnyOptimizer] = Field({"": AdagradSettings()}, min_length=1)
    micro_batch: int = Field(1, ge=1, le=65536)
    seed: int = Field(0, ge=0, lt=2**63)


#: Kind → its defaults where they differ.
_RECIPES: Mapping[str, dict[str, Any]] = {
    "fm": {"top": ()},
    "dlrm": {"bottom": (64, 16)},
}


def filled(settings: DeepSettings, kind: str) -> DeepSettings:
    """The settings, with a kind's defaults where nothing was set.

    What counts as set stays what the user set, so that another kind can be filled in from the result.
    """
    recipe, given = _RECIPES.get(kind, {}), settings.model_dump(exclude_unset=True)
    whole = {**recipe, **given}
    if "embedding" in recipe and "embedding" in given:
        whole["embedding"] = {**recipe["embedding"], **given["embedding"]}
    full = DeepSettings.model_validate(whole)
    object.__setattr__(full, "__pydantic_fields_set__", settings.model_fields_set)
    return full
