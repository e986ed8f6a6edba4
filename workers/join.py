"""The join worker, configured by its environment: `python -m workers.join`.

STREAMREC_SOURCE and STREAMREC_TARGET (needed), STREAMREC_WINDOW, STREAMREC_CONFIG, STREAMREC_GROUP,
STREAMREC_REJECTS: as the options of `streamrec join`. SIGTERM commits and ends; the next start goes on.
"""

import signal

from streamrec.clock import SystemClock
from streamrec.join.worker.worker import JoinWorker
from streamrec.learner.configuration import join_plan_from_options
from workers.environment import path, run, text

__all__ = ["main"]


def main() -> None:
    """Join until SIGTERM."""
    options = {
        "source": text("SOURCE"),
        "target": text("TARGET"),
        "window": text("WINDOW", "") or None,
        "config": path("CONFIG"),
        "group": text("GROUP", "") or None,
        "rejects": text("REJECTS", "") or None,
    }
    worker = JoinWorker(join_plan_from_options(options), SystemClock())
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


if __name__ == "__main__":
    run(main)
