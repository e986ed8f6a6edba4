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


def figures() -> list[Figure]:
    """Limits: 15 s and 2 s. Both include starting Python and ending the process."""
    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        stream = Path(folder, "events.jsonl")
        stream.write_text("".join(_LINE % (i, i % 2) for i in range(10)))
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder, "kernels"))}
        first = _seconds(stream, environment)
        later = min(_seconds(stream, environment) for _ in range(3))
    return [
        Figure("first run ever", first, "s", 15.0, "limit", (None, 1.0)),
        Figure("later runs", later, "s", 2.0, "limit", (None, 1.0)),
    ]


def _seconds(stream: Path, environment: dict[str, str]) -> float:
    command = [sys.executable, "-m", "streamrec", "replay", str(stream), "--json"]
    began = perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return perf_counter() - began
