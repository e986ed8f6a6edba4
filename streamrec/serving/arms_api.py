"""`GET /v1/arms`: who has which share of the users, and how far its model is."""

from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

from streamrec.serving.arms import Arms
from streamrec.serving.document import problems
from streamrec.serving.generation import json_object
from streamrec.serving.history import point_of
from streamrec.serving.scorer import Scorer

__all__ = ["ArmState", "ArmsAnswer", "add_arms"]


class ArmState(BaseModel):
    """One arm: a model that this service mirrors."""

    model: str
    role: Literal["champion", "challenger", "shadow"] = Field(
        description="a `shadow` answers nobody who does not name it"
    )
    share: float = Field(description="per cent of the users, 0 to 100")
    kind: str | None = Field(description="kind of model; null: it has no commit yet")
    ready: bool
    reason: str = Field(description="why it is not ready; empty where it is")
    seq: int | None = Field(description="commit that is served; null: none yet")
    staleness_ms: int | None = Field(description="its age")
    ne: float | None = Field(
        description="normalised entropy over about the last 10,000 examples; lower is better"
    )


class ArmsAnswer(BaseModel):
    """The experiment as this service sees it; without one, the model alone, as version 0."""

    experiment: str = Field(description="the name under which the arms are served")
    version: int = Field(description="of the shares: one more with every change")
    changed_ms: int = Field(description="when they were changed, milliseconds since 1970 UTC")
    salt: str = Field(description="what users are drawn with: another one draws all anew")
    answering: str = Field(
        description="the model that answers for the champion: until a new one is loaded, the one before"
    )
    trouble: str = Field(description="why these may not be the store's newest shares; empty where they are")
    arms: list[ArmState]


def add_arms(app: FastAPI, arms: Arms) -> None:
    """Answer it."""

    @app.get("/v1/arms", responses=problems(401, 500, 503), summary="Arms and their shares")
    def show() -> ArmsAnswer:
        """Shares are changed by `streamrec models arms set` and `streamrec models promote`; every service
        of this name follows within a second.
        """
        split, scorers, answering = arms.state
        return ArmsAnswer(
            experiment=arms.name,
            version=split.version,
            changed_ms=split.time_ms,
            salt=split.salt,
            answering=answering.model,
            trouble=arms.trouble,
            arms=[
                _state(model, split.share(model), scorers[model], i == 0)
                for i, model in enumerate(split.models)
            ],
        )


def _state(model: str, share: float, scorer: Scorer, is_champion: bool) -> ArmState:
    status, generation = scorer.status(), scorer.generation
    point = None if generation is None else point_of(generation.version, generation.blob)
    kind = None if generation is None else json_object(generation.blob("model")).get("kind")
    return ArmState(
        model=model,
        role="champion" if is_champion else "challenger" if share else "shadow",
        share=share,
        kind=kind if isinstance(kind, str) else None,
        ready=status.ready,
        reason=status.reason,
        seq=None if point is None else point.seq,
        staleness_ms=None if generation is None else scorer.staleness_ms(generation.version),
        ne=None if point is None else point.ne,
    )
