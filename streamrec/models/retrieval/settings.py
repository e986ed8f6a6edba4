"""Settings of retrieval: what stands in `[model.retrieval]` of a settings file."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from streamrec.optim.adagrad import AdagradSettings
from streamrec.optim.base import NotNegative, Positive
from streamrec.optim.registry import AnyOptimizer

__all__ = ["NegativeSettings", "RetrievalSettings", "TowerSettings", "VisitSettings"]

_Units = tuple[Annotated[int, Field(ge=1, le=4096)], ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TowerSettings(_Frozen):
    """Two stacks of dense layers over averaged vectors, ReLU between layers, none on the last.

    Attributes:
        width: of the vector of an id.
        units: of what a tower gives.
        query: units of the hidden layers over user, context and history.
        candidate: units of the hidden layers over the item and its features.
        normalise: both results have length 1.
        temperature: what the dot product is divided by.
        vectors: optimizer of the ids' vectors.
        optimizers: group of dense parameters → its optimizer: "query", "candidate" and "weights", those of
            the score's parts.

    """

    width: int = Field(16, ge=1, le=1024)
    units: int = Field(32, ge=1, le=1024)
    query: _Units = (32,)
    candidate: _Units = ()
    normalise: bool = True
    temperature: Positive = 0.2
    vectors: AnyOptimizer = AdagradSettings(learning_rate=0.1)
    optimizers: Mapping[str, AnyOptimizer] = Field(
        {
            "query": AdagradSettings(learning_rate=0.02),
            "candidate": AdagradSettings(learning_rate=0.02),
            "weights": AdagradSettings(learning_rate=0.05),
        },
        min_length=1,
    )


class NegativeSettings(_Frozen):
    """What an interaction's item is compared with.

    Attributes:
        kept: interactions whose items may be drawn, recent ones sooner.
        drawn: of these, in a micro-batch; its own items come to that.
        hardest: of each example count only so many negatives, those of the highest score; 0: all.
        gap_rate: how fast the estimated gap between an item's interactions follows (Yi et al. 2019, α).

    """

    kept: int = Field(4096, ge=1, le=2**20)
    drawn: int = Field(64, ge=0, le=4096)
    hardest: int = Field(0, ge=0, le=4096)
    gap_rate: float = Field(0.05, gt=0, le=1)


class VisitSettings(_Frozen):
    """Items that users took near each other.

    Attributes:
        history: items of a user that are remembered, the newest ones.
        near: on either side of a moment, so many of them tell what is of interest.
        window: on either side of an interaction, so many items count as taken together.
        decay: weight of the nth item from a moment: n^−decay.
        neighbours: of an item that are kept.
        shrinkage: added to the weight of both in the cosine: the higher, the less rare pairs count.
        half_life: interactions of all users after which recent popularity is half.

    """

    history: int = Field(4096, ge=16, le=65536)
    near: int = Field(16, ge=1, le=256)
    window: int = Field(16, ge=1, le=256)
    decay: NotNegative = 0.5
    neighbours: int = Field(128, ge=1, le=4096)
    shrinkage: NotNegative = 10.0
    half_life: Positive = 5000.0


class RetrievalSettings(_Frozen):
    """How items are found.

    Attributes:
        towers: the networks.
        negatives: of the loss.
        visits: the second source.
        micro_batch: interactions that are learned in one step.
        refreshed: items a step, besides its own, whose vectors are published anew, in turn.
        features: ids of an item that are remembered of its features.
        seed: of everything that starts at random.
        expire_after_s: seconds of event time after which an item that was neither taken nor told of by the
            catalogue is removed, likewise a user who took nothing, and vectors of ids that were not learned;
            None: as the model's own rows.

    """

    towers: TowerSettings = TowerSettings()
    negatives: NegativeSettings = NegativeSettings()
    visits: VisitSettings = VisitSettings()
    micro_batch: int = Field(32, ge=1, le=4096)
    refreshed: int = Field(16, ge=0, le=4096)
    features: int = Field(24, ge=1, le=1024)
    seed: int = Field(0, ge=0, lt=2**63)
    expire_after_s: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where nothing is removed, it is described as before anything was."""
        described: dict[str, Any] = handler(self)
        if self.expire_after_s is None:
            described.pop("expire_after_s", None)
        return described
