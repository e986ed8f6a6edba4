"""What the user may choose about the learning loop."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LearnerSettings"]


class LearnerSettings(BaseModel):
    """How the loop runs. Nothing here changes what is learned.

    Attributes:
        commit_interval_s: seconds between two commits, at least; a commit also ends every run. By default 1,
            and 0.08 for a stream that goes on.
        commit_share: of a learner's time that making commits may take; large ones come less often for it. By
            default 1, and 0.1 for a stream that goes on, unless `commit_interval_s` is given.
        commit_events: a commit is due after so many records, too, whatever the time; None: only by time.
        patience_s: how long a store that is full or away is waited for before the run ends with its error;
            learning pauses meanwhile, and a later run goes on from the last commit.
        partition_wait_s: how long a partition is waited for that has nothing new while others have; the order
            that is then taken is stored.
        read_ahead: decoded chunks that may wait for the learner.
        log_interval_s: seconds between two lines of log of `streamrec learn`; 0 for none.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit_interval_s: float = Field(1.0, gt=0, allow_inf_nan=False)
    commit_share: float = Field(1.0, gt=0, le=1)
    commit_events: int | None = Field(None, ge=1)
    patience_s: float = Field(300.0, ge=0, allow_inf_nan=False)
    partition_wait_s: float = Field(0.2, ge=0, allow_inf_nan=False)
    read_ahead: int = Field(4, ge=1, le=1000)
    log_interval_s: float = Field(5.0, ge=0, allow_inf_nan=False)
