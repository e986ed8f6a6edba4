"""The learner, configured by its environment: `python -m workers.learn`.

STREAMREC_SOURCE and STREAMREC_STORE (needed), STREAMREC_NAME (default), STREAMREC_CONFIG, STREAMREC_MODEL,
STREAMREC_REJECTS, STREAMREC_PREDICTIONS, STREAMREC_METRICS_HOST (0.0.0.0), STREAMREC_METRICS_PORT (9464): as
the options of `streamrec learn`. SIGTERM commits and ends within 5 s; the next start goes on.
"""

import logging

from streamrec.learner.configuration import learning_from_options
from streamrec.learner.run import run as learn
from streamrec.log import log_to_stderr
from workers.environment import integer, path, run, text

__all__ = ["main"]


def main() -> None:
    """Learn until SIGTERM."""
    log_to_stderr()
    logging.getLogger("streamrec").setLevel(logging.INFO)
    options = {
        "source": text("SOURCE"),
        "store_url": text("STORE"),
        "name": text("NAME", "default"),
        "fresh": False,
        "config": path("CONFIG"),
        "kind": text("MODEL", "") or None,
        "rejects": text("REJECTS", "") or None,
        "predictions": path("PREDICTIONS"),
        "metrics_host": text("METRICS_HOST", "0.0.0.0"),
        "metrics_port": integer("METRICS_PORT", 9464),
    }
    learn(*learning_from_options(options))


if __name__ == "__main__":
    run(main)
