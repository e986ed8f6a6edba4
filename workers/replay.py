"""Replay of a recorded stream, configured by its environment: `python -m workers.replay`.

STREAMREC_STREAM and STREAMREC_STORE (needed), STREAMREC_NAME (default), STREAMREC_CONFIG, STREAMREC_MODEL,
STREAMREC_REJECTS, STREAMREC_PREDICTIONS: as the options of `streamrec replay`. Prints its JSON. SIGTERM
commits and ends; the next start goes on.
"""

import json
import sys

from streamrec.learner.configuration import plan_from_options
from streamrec.learner.run import Job
from streamrec.learner.run import run as learn
from streamrec.log import log_to_stderr
from workers.environment import path, run, text

__all__ = ["main"]


def main() -> None:
    """Learn to the end of the stream or until SIGTERM."""
    log_to_stderr()
    options = {
        "name": text("NAME", "default"),
        "fresh": False,
        "config": path("CONFIG"),
        "kind": text("MODEL", "") or None,
        "rejects": text("REJECTS", "") or None,
        "predictions": path("PREDICTIONS"),
    }
    ended = learn(plan_from_options(options), Job(text("STREAM"), text("STORE")))
    if ended is None:
        return
    json.dump(ended.result(), sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    run(main)
