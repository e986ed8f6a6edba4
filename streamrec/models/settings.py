"""What the user may choose about a model; frozen with it in its first commit."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from streamrec.optim.settings import FTRLSettings

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

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = RECOMMENDED
    task: Task = "click"
    ftrl: FTRLSettings = Field(default_factory=FTRLSettings)
