"""What the user may choose about a model; frozen with it in its first commit."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from streamrec.optim.settings import FTRLSettings
from streamrec.state.admission import AdmissionSettings

__all__ = ["RECOMMENDED", "Kind", "ModelSettings", "Task"]

Kind = Literal["ftrl", "wide"]
Task = Literal["click", "rating"]

#: The kind that is built when nobody names one.
RECOMMENDED: Kind = "wide"


class ModelSettings(BaseModel):
    """A model's kind and the settings of its parts.

    Attributes:
        kind: "ftrl", linear in the event's own features; "wide", linear in these, crosses and target statistics.
        task: "click" predicts a probability (log loss), "rating" a number (squared error).
        ftrl: settings of the linear part.
        admission: which new ids get a row.
        expire_after_s: seconds of event time after which a row that was not learned again is removed; None never.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = RECOMMENDED
    task: Task = "click"
    ftrl: FTRLSettings = Field(default_factory=FTRLSettings)
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    expire_after_s: float | None = Field(None, gt=0, allow_inf_nan=False)
