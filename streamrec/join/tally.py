"""The joiner's scalars, in one record that compiled code reads and writes."""

from typing import Any

import numpy as np

from streamrec.join.settings import JoinSettings

__all__ = ["COUNTS", "DTYPE", "NO_TIME", "REFUSALS", "SCALARS", "Tally", "started"]

#: A time before all others: nothing seen yet.
NO_TIME = -(2**62)

#: What a generation starts from; with the position, the whole of a checkpoint's state.
SCALARS = (
    *("events", "watermark_ms", "ahead", "ahead_ms"),
    *("impressions", "clicks", "unclicked", "click_ms", "gap_from_ms", "gap_to_ms", "held_until_ms"),
)

#: Of the refused events, by reason, in the order of the codes in `match`.
REFUSALS = ("duplicates", "second_clicks", "late_clicks", "lone_clicks", "bad_labels", "unlabelled")

#: What became of the events.
COUNTS = (
    "positives",  # impressions given with their click
    "negatives",  # impressions given without, for good or for now
    "corrections",  # of the latter, those whose click came afterwards
    "confirmed",  # those given for now for which none came
    "left_out",  # negatives that sampling did not take
    "closed_early",  # of what waited, closed by `memory_events` and not by event time
    "passed",  # ratings and examples
    "items",
    *REFUSALS,
)

_FIELDS: list[tuple[str, Any]] = [
    ("window_ms", np.int64),  # settings …
    ("late_ms", np.int64),
    ("max_jump_ms", np.int64),
    ("memory_events", np.int64),
    ("positive_rating", np.float64),
    ("breaker", np.float64),
    ("breaker_ms", np.int64),
    ("is_rating", np.bool_),
    ("is_early", np.bool_),
    ("arrivals", np.bool_),
    ("gives_items", np.bool_),
    ("is_sampled", np.bool_),
    ("last_kept", np.uint64),  # greatest hash of an impression whose negative is given
    ("latest_ms", np.int64),  # latest impression or click of this generation
    ("n_slots", np.int64),  # of `Waiting` …
    ("n_live", np.int64),
    ("n_entries", np.int64),
    ("n_raw", np.int64),
    ("oldest", np.int64),  # no slot before this one waits
    ("n_seen", np.int64),  # ids in `Seen.young`
    ("n_decisions", np.int64),  # of this step
    *((name, np.int64) for name in SCALARS + COUNTS),
]

#: `events` were taken so far; `watermark_ms` is event time; of the last events, `ahead` more than not lay
#: beyond its trust, none of these before `ahead_ms`. For the breaker: `impressions` and `clicks` of late,
#: `unclicked` impressions since the last click, whose time was `click_ms`; between `gap_from_ms` and
#: `gap_to_ms` no click came for impressions; closing follows the clicks until these reach `held_until_ms`.
DTYPE = np.dtype(_FIELDS, align=True)

#: In compiled code, one element of an array of DTYPE.
Tally = Any


def started(settings: JoinSettings) -> np.ndarray:
    """The record at the beginning of a stream: DTYPE (1,)."""
    tally = np.zeros(1, DTYPE)
    for name in (
        "window_ms",
        "late_ms",
        "max_jump_ms",
        "memory_events",
        "positive_rating",
        "arrivals",
        "breaker",
        "breaker_ms",
    ):
        tally[name] = getattr(settings, name)
    tally["is_rating"] = settings.task == "rating"
    tally["is_early"] = settings.feedback == "early" and settings.task == "click"
    tally["is_sampled"] = settings.negative_rate < 1.0
    tally["last_kept"] = (
        int(settings.negative_rate * (2**64 - 1)) if settings.negative_rate < 1.0 else 2**64 - 1
    )
    for name in ("watermark_ms", "ahead_ms", "latest_ms", "click_ms", "held_until_ms"):
        tally[name] = NO_TIME
    for name in ("gap_from_ms", "gap_to_ms"):
        tally[name] = NO_TIME
    return tally
