"""What the user may choose about a model; frozen with it in its first commit."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streamrec.models.deep.settings import DeepSettings, filled
from streamrec.models.feedback import FeedbackSettings
from streamrec.optim.settings import FTRLSettings
from streamrec.state.admission import AdmissionSettings

__all__ = ["RECOMMENDED", "Kind", "ModelSettings", "Task"]

Kind = Literal["ftrl", "wide", "fm", "dcn", "dcn_v1", "dlrm", "wide_deep", "blend"]
Task = Literal["click", "rating"]

#: The kind that is built when nobody names one.
RECOMMENDED: Kind = "wide"


#: Defaults of the linear part: the paper's form, n0 = 0. TensorFlow's .1 shortens the first steps of the many
#: coordinates that are seen a few times only.
_RECIPE = {"learning_rate": 0.2, "beta": 1.0, "initial_accumulator": 0.0}


class ModelSettings(BaseModel):
    """A model's kind and the settings of its parts.

    Attributes:
        kind: "ftrl", linear in the event's own features; "wide", linear in these, crosses and target
            statistics; "fm", a factorisation machine; "dcn" and "dcn_v1", cross layers of version 2 and 1 under
            a stack; "dlrm", dot products of vectors under a stack.
        task: "click" predicts a probability (log loss), "rating" a number (squared error).
        ftrl: settings of the linear part.
        deep: settings of the network, for kinds that have one.
        feedback: how early and sampled negatives are learned; of the click task.
        admission: which new ids get a row.
        expire_after_s: seconds of event time after which a row that was not learned again is removed; None
        never.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = RECOMMENDED
    task: Task = "click"
    ftrl: FTRLSettings = FTRLSettings(**_RECIPE)
    deep: DeepSettings = Field(default_factory=DeepSettings)
    feedback: FeedbackSettings = Field(default_factory=FeedbackSettings)
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    expire_after_s: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("ftrl", mode="before")
    @classmethod
    def _fill(cls, value: Any) -> Any:
        """Whoever sets one number keeps the other defaults."""
        return {**_RECIPE, **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _fill_deep(self) -> Self:
        """A network's settings are frozen with the model, so they are written out."""
        object.__setattr__(self, "deep", filled(self.deep, self.kind))
        return self

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        changes_predictions = self.feedback.policy == "fn_calibrated" or self.feedback.negative_rate < 1.0
        if self.task == "rating" and changes_predictions:
            raise ValueError(
                "feedback: only predictions of clicks can be corrected: leave it away, or set task"
            )
        return self
