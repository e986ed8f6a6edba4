"""Java's archive of a broker's classes: with it a broker starts in half of the processor time.

Java writes one when a process ends that was told to (`-XX:ArchiveClassesAtExit`), so the first broker that
ends in good order makes it, beside the jars, for all that come later. Java passes over an archive that is not
of the same Java and jars.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["archive_options", "has_archive", "keep_archive", "making_options"]

_NAME = "broker.jsa"


def has_archive(jars: Path) -> bool:
    """Whether there is one beside the jars."""
    return (jars / _NAME).exists()


def archive_options(jars: Path) -> Sequence[str]:
    """What to tell Java to use the archive beside the jars; nothing where there is none yet."""
    if not has_archive(jars):
        return []
    return [f"-XX:SharedArchiveFile={jars / _NAME}", "-Xlog:cds=off", "-Xlog:class+path=off"]


def making_options(jars: Path, folder: Path) -> Sequence[str]:
    """What to tell a broker so that it makes one in its folder at its end; nothing where there is one."""
    if has_archive(jars):
        return []
    return [f"-XX:ArchiveClassesAtExit={folder / _NAME}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def keep_archive(jars: Path, folder: Path) -> None:
    """Take the archive that a broker made, if it did; whole or not at all, and the first one stays.

    Nothing is said where that fails: a broker without an archive is only slower to start.
    """
    made, archive = folder / _NAME, jars / _NAME
    if not made.exists():
        return
    try:
        if not archive.exists():
            with tempfile.NamedTemporaryFile(dir=jars, prefix=_NAME, delete=False) as new:
                shutil.copy(made, new.name)
            Path(new.name).replace(archive)
        made.unlink()
    except OSError:
        return
