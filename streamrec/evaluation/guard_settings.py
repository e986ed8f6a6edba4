"""What the user may choose about guards on learning."""

from pydantic import BaseModel, ConfigDict, Field

from streamrec.evaluation.drift import DELTA

__all__ = ["GuardSettings"]


class GuardSettings(BaseModel):
    """What learning is guarded by. Predictions and weights that are not finite always stop it (of a
    rating's prediction only NaN: ratings may be as great as float32 allows).

    Attributes:
        drift: whether alarms are raised.
        delta: of ADWIN, the chance of a false alarm at each look; smaller: fewer alarms.
        by: field by whose values drift is watched, too; metrics are then told apart by it as with `--slice`.
            With every commit go some 50 bytes a value: take one with few.
        block: examples of a block. Changes come to light after some five of them.
        cut_off: whether learning stops where metrics fall off a cliff.
        loss_limit: how many times its past normalised entropy (RMSE of ratings) may be. On MovieLens-small it
            is at most 1.02, on MIND 1.06; shuffled labels make it 1.6 and 1.3.
        calibration_limit: what predicted clicks / clicks, or its inverse, may be: .98 to 1.02, .81 to 1.13.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drift: bool = True
    delta: float = Field(DELTA, gt=0, lt=1)
    by: str | None = Field(None, min_length=1)
    block: int = Field(1000, ge=10, le=1_000_000)
    cut_off: bool = True
    loss_limit: float = Field(1.3, gt=1)
    calibration_limit: float = Field(2.0, gt=1)
