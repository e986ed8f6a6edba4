"""What the user may choose about the join worker."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["JoinWorkerSettings"]


class JoinWorkerSettings(BaseModel):
    """How the worker runs. Nothing here changes what is joined.

    Attributes:
        commit_interval_s: seconds between two transactions of one partition, at least: examples become
            visible with them. One takes about 10 ms of waiting, which others use.
        partition_wait_s: how long a topic is waited for that has nothing new while the others of the
            partition have; the order that is then taken is stored.
        retry_s: pause before a partition is begun anew from its last transaction, after a broker failed.
        session_s: how long a worker may be silent (dead, or asleep) before others take its partitions over;
            brokers accept 6 and more unless told otherwise.
        patience_s: how long a worker without an end waits for its broker and topics when it starts.
        on_deleted: what to do where records that a rebuild needs were deleted by retention. fail: end with an
            error. forget: go on with those that are left; ids and what waited before them are forgotten, so
            duplicates of those times would be joined again.
        report_s: seconds between two lines of log.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit_interval_s: float = Field(0.05, gt=0, allow_inf_nan=False)
    partition_wait_s: float = Field(0.5, ge=0, allow_inf_nan=False)
    retry_s: float = Field(1.0, gt=0, allow_inf_nan=False)
    session_s: float = Field(10.0, ge=0.5, allow_inf_nan=False)
    patience_s: float = Field(60.0, ge=0, allow_inf_nan=False)
    on_deleted: Literal["fail", "forget"] = "fail"
    report_s: float = Field(5.0, gt=0, allow_inf_nan=False)
