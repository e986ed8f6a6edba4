"""Java and the jars of Apache Kafka: fetched once by Maven, kept in the user's cache."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from streamrec.errors import ServiceError
from streamrec.services.daemon import exclusive, make_directory

__all__ = ["LEAST_JAVA", "cached_jars", "java", "java_version", "kafka_jars", "maven", "require_java"]

#: Kafka 4's broker needs it.
LEAST_JAVA = 17
#: 15 s on a fast line. Maven has time-outs of its own; this ends a hanging one.
_FETCH_S = 900.0
_POM = (
    Path(__file__).with_name("kafka_pom.xml"),  # in a wheel
    Path(__file__).parents[2] / "deploy" / "kafka" / "pom.xml",  # in a checkout
)


def java() -> str | None:
    """Java's program: of JAVA_HOME, else on the PATH, else None."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin"))) if home else None
    return found or shutil.which("java")


def java_version(program: str) -> int:
    """Its major version; 0 where it does not tell."""
    done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else 0


def maven() -> str | None:
    """Maven's program on the PATH, else None."""
    return shutil.which("mvn")


def require_java() -> str:
    """Java's program, new enough.

    Raises:
        ServiceError: there is none.

    """
    hint = f"install Java {LEAST_JAVA} or newer (Debian: apt-get install default-jre-headless maven)"
    program = java()
    if program is None:
        raise ServiceError(f"Kafka needs Java, and neither JAVA_HOME nor the PATH has one: {hint}")
    version = java_version(program)
    if version < LEAST_JAVA:
        raise ServiceError(
            f"Kafka needs Java {LEAST_JAVA} or newer, but {program} is Java {version or '?'}: {hint}"
        )
    return program


def cached_jars() -> Path | None:
    """Where the jars are; None where they are yet to be fetched."""
    cache = _cache()
    return cache if any(cache.glob("kafka_*.jar")) else None


def kafka_jars(tell: Callable[[str], None]) -> Path:
    """Folder of the jars, fetched where they are not there yet; by one process, while others wait.

    Args:
        tell: takes one line about what takes time.

    Raises:
        ServiceError: Maven is missing or failed.

    """
    if found := cached_jars():
        return found
    cache = _cache()
    make_directory(cache.parent)
    with exclusive(cache.with_name(f"{cache.name}.lock")):
        if cached_jars() is None:
            program = maven()
            if program is None:
                raise ServiceError(
                    f"Kafka's jars are not in {cache} yet, and there is no Maven (mvn) on the PATH to fetch "
                    "them: install it (Debian: apt-get install maven)"
                )
            tell(f"Fetching Apache Kafka with Maven into {cache} (45 MB, once) ...")
            _fetch(program, cache)
    return cache


def _fetch(program: str, cache: Path) -> None:
    """All jars or none: they are moved into place when all are there."""
    with tempfile.TemporaryDirectory(prefix=f"{cache.name}.", dir=cache.parent) as folder:
        jars = Path(folder, "jars")
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        try:
            done = subprocess.run(
                [program, "-B", "-q", "-f", str(_pom()), *goal],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_FETCH_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceError(
                f"Maven did not fetch Kafka's jars in {_FETCH_S:.0f} s: is the network there?"
            ) from error
        if done.returncode:
            raise ServiceError(
                f"Maven could not fetch Kafka's jars (exit code {done.returncode}): {_reason(done)}"
            )
        if cache.exists():  # emptied by somebody
            shutil.rmtree(cache)
        jars.rename(cache)


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line.removeprefix("[ERROR]").strip() for line in lines if line.startswith("[ERROR]")]
    return (errors or lines or ["it said nothing"])[0]


def _pom() -> Path:
    for path in _POM:
        if path.exists():
            return path
    raise ServiceError(f"{_POM[0]} is missing: install streamrec again")


def _cache() -> Path:
    """A folder of the pom's own: another pom never finds the jars of this one."""
    text = _pom().read_bytes()
    version = re.search(rb"<kafka\.version>(.+?)<", text)
    name = f"kafka-{version[1].decode() if version else '?'}-{hashlib.sha256(text).hexdigest()[:12]}"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "streamrec", name)
