"""Replay of a recorded stream, configured by its environment: `python -m workers.replay`.

STREAMREC_STREAM and STREAMREC_STORE (needed), STREAMREC_NAME (default), STREAMREC_CONFIG, STREAMREC_MODEL,
STREAMREC_REJECTS, STREAMREC_PREDICTIONS: as the options of `streamrec replay`. Prints its JSON. SIGTERM
commits and ends; the next start goes on.
"""

import json
import signal
import sys
from contextlib import ExitStack

from streamrec.clock import SystemClock
from streamrec.learner.configuration import plan_from_options
from streamrec.learner.start import start
from streamrec.store.registry import open_store
from streamrec.transport.registry import open_source
from workers.environment import path, run, text

__all__ = ["main"]


def main() -> None:
    """Learn to the end of the stream or until SIGTERM."""
    options = {
        "name": text("NAME", "default"),
        "fresh": False,
        "config": path("CONFIG"),
        "kind": text("MODEL", "") or None,
        "rejects": path("REJECTS"),
        "predictions": path("PREDICTIONS"),
    }
    with ExitStack() as stack:
        source = open_source(text("STREAM"))
        stack.callback(source.close)
        store = open_store(text("STORE"))
        stack.callback(store.close)
        started = start(plan_from_options(options), source, store, SystemClock())
        stack.callback(started.parts.close)
        signal.signal(signal.SIGTERM, lambda *_: started.learner.stop())
        result = started.result(started.learner.run())
    json.dump(result, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    run(main)
