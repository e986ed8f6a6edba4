"""The join worker, configured by its environment: `python -m workers.join`.

STREAMREC_SOURCE and STREAMREC_TARGET (needed), STREAMREC_WINDOW, STREAMREC_CONFIG, STREAMREC_GROUP,
STREAMREC_REJECTS, STREAMREC_METRICS_HOST (0.0.0.0), STREAMREC_METRICS_PORT (9464): as the options of
`streamrec join`. SIGTERM commits and ends within 5 s; the next start goes on.
"""

import logging

from streamrec.join.worker.process import run_join
from streamrec.learner.configuration import join_plan_from_options
from streamrec.log import log_to_stderr
from workers.environment import integer, path, run, text

__all__ = ["main"]


def main() -> None:
    """Join until SIGTERM."""
    log_to_stderr()
    options = {
        "source": text("SOURCE"),
        "target": text("TARGET"),
        "window": text("WINDOW", "") or None,
        "config": path("CONFIG"),
        "group": text("GROUP", "") or None,
        "rejects": text("REJECTS", "") or None,
    }
    logging.getLogger("streamrec").setLevel(logging.INFO)
    metrics = text("METRICS_HOST", "0.0.0.0"), integer("METRICS_PORT", 9464)
    run_join(join_plan_from_options(options), metrics)


if __name__ == "__main__":
    run(main)
