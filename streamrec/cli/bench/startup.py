"""From the command to the first learned event, with nothing compiled and with everything compiled."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from streamrec.cli.bench.figure import Figure

__all__ = ["figures"]

_LINE = '{"type":"example","id":"e%d","time":1700000000000,"label":%d,"features":{"f":"v"}}\n'


#: `streamrec replay` without its options, which tells when its first events are learned and measured.
_REPLAY = """
import sys
from streamrec.clock import SystemClock
from streamrec.learner.start import Plan, start
from streamrec.store.registry import open_store
from streamrec.transport.registry import open_source
learner = start(Plan(), open_source(sys.argv[1]), open_store("memory"), SystemClock()).learner
learner.run(watch=lambda report: print(report.examples, flush=True))
"""


def figures() -> list[Figure]:
    """Limits: 15 s and 2 s, from starting Python to the first events learned.

    Beside it, to the end of the command.
    """
    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        stream = Path(folder, "events.jsonl")
        stream.write_text("".join(_LINE % (i, i % 2) for i in range(10)))
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder, "kernels"))}
        first, first_whole = _seconds(stream, environment)
        later, later_whole = min(_seconds(stream, environment) for _ in range(3))
    return [
        Figure("first run ever, first events learned", first, "s", 15.0, "limit", (None, 1.0)),
        Figure("first run ever, to its end", first_whole, "s"),
        Figure("later runs, first events learned", later, "s", 2.0, "limit", (None, 1.0)),
        Figure("later runs, to their end", later_whole, "s"),
    ]


def _seconds(stream: Path, environment: dict[str, str]) -> tuple[float, float]:
    began = perf_counter()
    command = [sys.executable, "-c", _REPLAY, str(stream)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "10":
            raise RuntimeError("the run that was to be timed did not learn its ten events")
        learned = perf_counter() - began
        process.wait()
    return learned, perf_counter() - began
