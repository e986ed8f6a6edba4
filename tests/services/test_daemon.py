"""Processes that outlive their starter, with a shell in the place of a server."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamrec.errors import ServiceError
from streamrec.services import daemon
from streamrec.services.daemon import Daemon, exclusive, make_directory, remove
from streamrec.testing.redis_server import wait_until

SLEEP = ["/bin/sleep", "600"]
#: Says that it is there, and does not end when told so.
STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo there; while :; do sleep .05; done"]


@pytest.fixture
def server(tmp_path: Path):
    made = Daemon("server", tmp_path)
    yield made
    made.kill()


def test_it_is_found_by_everybody_and_stopped_by_anybody(server: Daemon, tmp_path: Path) -> None:
    assert server.pid() is None
    server.spawn(SLEEP)
    pid = server.pid()
    assert pid is not None
    assert wait_until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"/bin/sleep\x00600\x00")
    other = Daemon("server", tmp_path)
    assert other.pid() == pid
    assert other.stop()
    assert server.pid() is None
    assert not server.stop()
    assert not server.kill()


def test_there_is_never_a_second_one(server: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_HELD_S", 0.2)
    server.spawn(SLEEP)
    with pytest.raises(ServiceError, match=rf"runs already: process {server.pid()}"):
        server.spawn(SLEEP)


def test_it_lives_on_when_its_starter_ends(server: Daemon, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from streamrec.services.daemon import Daemon\n"
    code += f"Daemon('server', Path(sys.argv[1])).spawn({SLEEP})"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert server.pid() is not None
    assert server.kill()


def test_the_process_id_of_a_dead_one_is_not_believed(server: Daemon, tmp_path: Path) -> None:
    (tmp_path / "server.pid").write_text(str(os.getpid()))
    assert server.pid() is None
    assert not server.kill()
    server.spawn(SLEEP)
    assert server.pid() not in (None, os.getpid())


def test_one_that_does_not_end_is_killed_and_it_is_said(
    server: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.spawn(STUBBORN)
    assert wait_until(lambda: "there" in server.log.read_text())
    monkeypatch.setattr(daemon, "STOP_S", 0.3)
    with pytest.raises(ServiceError, match=r"did not end in 0 s and was killed: see .*server\.log"):
        server.stop()
    assert server.pid() is None


def test_a_failure_names_the_log_and_its_last_line_of_trouble(server: Daemon) -> None:
    assert "wrote nothing to" in str(server.failure("ended"))
    server.spawn(
        ["/bin/sh", "-c", "echo one; echo 'ERROR first'; echo 'x ERROR port taken'; echo '  at f()'"]
    )
    assert wait_until(lambda: server.pid() is None)
    said = str(server.failure("ended"))
    assert said.endswith(f"see {server.log}, which says 'x ERROR port taken'")
    assert said.startswith(f"server in {server.directory} ended")


def test_without_trouble_the_last_line_is_told(server: Daemon) -> None:
    server.spawn(["/bin/sh", "-c", "echo one; echo two; echo"])
    assert wait_until(lambda: server.pid() is None)
    assert "'two'" in str(server.failure("ended"))


def test_a_program_that_is_not_there_is_told_from_the_log(server: Daemon) -> None:
    server.spawn(["/nowhere/server"])
    assert wait_until(lambda: server.pid() is None)
    assert wait_until(lambda: "/nowhere/server" in str(server.failure("ended")))


def test_the_log_of_the_run_before_is_kept(server: Daemon, tmp_path: Path) -> None:
    for word in ("first", "second", "third"):
        server.spawn(["/bin/sh", "-c", f"echo {word}"])
        assert wait_until(lambda: server.pid() is None)
    assert (tmp_path / "server.log").read_text() == "third\n"
    assert (tmp_path / "server.log.1").read_text() == "second\n"


def test_one_at_a_time_is_in(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(n: int) -> None:
        with exclusive(tmp_path / "lock"):
            inside.append(n)
            most.append(len(inside))
            inside.remove(n)

    threads = [threading.Thread(target=enter, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="expected a directory to keep"):
        make_directory(tmp_path / "file")


def test_what_is_removed_is_ours_only(tmp_path: Path) -> None:
    place, mine = tmp_path / "place", tmp_path / "mine"
    (place / "broker-1" / "data").mkdir(parents=True)
    mine.mkdir()
    (mine / "kept").write_text("")
    (place / "lock").write_text("")
    (place / "notes").write_text("")
    (place / "broker-2").symlink_to(mine)
    remove(place, "broker-*", "lock")
    assert [path.name for path in place.iterdir()] == ["notes"]
    assert (mine / "kept").exists()
    remove(place, "notes")
    assert not place.exists()
