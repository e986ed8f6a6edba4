"""Commands of this installation, running beside a benchmark."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["running"]


@contextmanager
def running(*arguments: str, stdout: IO[str] | int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """`streamrec` with these arguments until the block ends."""
    command = [sys.executable, "-m", "streamrec", *arguments]
    process = subprocess.Popen(command, stdout=stdout, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
