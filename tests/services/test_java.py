"""Java, Maven and the cache of jars, with shell scripts in the place of both programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamrec.errors import ServiceError
from streamrec.services.java import cached_jars, java, java_version, kafka_jars, require_java

#: Makes the folder that it is asked for, slowly, and counts its calls.
GOOD_MVN = """
echo call >>"$CALLS"
for argument; do case $argument in -DoutputDirectory=*) folder=${argument#*=};; esac; done
/bin/mkdir "$folder" && echo 1 >"$folder/kafka_2.13-4.3.1.jar" && /bin/sleep .3
"""
FAILING_MVN = """
for argument; do case $argument in -DoutputDirectory=*) folder=${argument#*=};; esac; done
/bin/mkdir "$folder" && echo 1 >"$folder/kafka_2.13-4.3.1.jar"
echo '[WARNING] old'
echo '[ERROR] Failed to execute goal: Could not transfer artifact kafka: Unknown host'
echo '[ERROR] -> [Help 1]'
exit 1
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def program(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


def java_of(path: Path, version: str) -> str:
    return program(path, f"echo 'openjdk version \"{version}\" 2025-04-15' >&2\n")


def test_no_java() -> None:
    assert java() is None
    with pytest.raises(
        ServiceError, match=r"^Kafka needs Java, and neither JAVA_HOME nor the PATH has one: in"
    ):
        require_java()


@pytest.mark.parametrize(("said", "version"), [("17.0.15", 17), ("21", 21), ("1.8.0_402", 8), ("25-ea", 25)])
def test_versions(place: Path, said: str, version: int) -> None:
    assert java_version(java_of(place / "bin" / "java", said)) == version


def test_java_is_too_old(place: Path) -> None:
    old = java_of(place / "bin" / "java", "11.0.2")
    with pytest.raises(ServiceError, match=rf"needs Java 17 or newer, but {old} is Java 11: install"):
        require_java()


def test_java_that_does_not_tell_its_version(place: Path) -> None:
    program(place / "bin" / "java", "exit 1")
    with pytest.raises(ServiceError, match=r"is Java \?: install"):
        require_java()


def test_that_of_java_home_comes_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = java_of(place / "bin" / "java", "17.0.1")
    home = java_of(place / "jdk" / "bin" / "java", "21.0.1")
    assert require_java() == on_path
    monkeypatch.setenv("JAVA_HOME", str(place / "jdk"))
    assert require_java() == home
    monkeypatch.setenv("JAVA_HOME", str(place / "gone"))
    assert require_java() == on_path


def test_no_maven() -> None:
    with pytest.raises(
        ServiceError, match=r"jars are not in .*kafka-4\.3\.1-\w{12} yet, and there is no Maven"
    ):
        kafka_jars(print)


def test_they_are_fetched_once(place: Path) -> None:
    program(place / "bin" / "mvn", GOOD_MVN)
    told: list[str] = []
    assert cached_jars() is None
    jars = kafka_jars(told.append)
    assert jars.parent == place / "cache" / "streamrec"
    assert (jars / "kafka_2.13-4.3.1.jar").exists()
    assert cached_jars() == jars
    assert kafka_jars(told.append) == jars
    assert len(told) == 1
    assert told[0].startswith("Fetching Apache Kafka with Maven into ")
    assert (place / "calls").read_text() == "call\n"
    assert sorted(path.name for path in jars.parent.iterdir()) == [jars.name, f"{jars.name}.lock"]


def test_two_processes_at_once_fetch_once(place: Path) -> None:
    program(place / "bin" / "mvn", GOOD_MVN)
    code = "from streamrec.services.java import kafka_jars; print(kafka_jars(lambda line: None))"
    runs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = {run.communicate(timeout=60)[0] for run in runs}
    assert said == {f"{cached_jars()}\n"}
    assert (place / "calls").read_text() == "call\n"


def test_a_failure_is_one_line_and_leaves_nothing_half_done(place: Path) -> None:
    program(place / "bin" / "mvn", FAILING_MVN)
    with pytest.raises(ServiceError) as caught:
        kafka_jars(print)
    assert str(caught.value) == (
        "Maven could not fetch Kafka's jars (exit code 1): "
        "Failed to execute goal: Could not transfer artifact kafka: Unknown host"
    )
    assert cached_jars() is None
    assert [path.suffix for path in (place / "cache" / "streamrec").iterdir()] == [".lock"]
    program(place / "bin" / "mvn", GOOD_MVN)
    assert kafka_jars(print) == cached_jars()


def test_a_cache_that_somebody_emptied_is_filled_again(place: Path) -> None:
    program(place / "bin" / "mvn", GOOD_MVN)
    jars = kafka_jars(print)
    (jars / "kafka_2.13-4.3.1.jar").unlink()
    assert cached_jars() is None
    assert kafka_jars(print) == jars == cached_jars()


def test_maven_hangs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(place / "bin" / "mvn", "exec /bin/sleep 60")
    monkeypatch.setattr("streamrec.services.java._FETCH_S", 0.2)
    with pytest.raises(ServiceError, match="is the network there"):
        kafka_jars(print)
