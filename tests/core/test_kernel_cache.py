"""A compiled kernel on disk is stale as soon as anything that it imports changes."""

from pathlib import Path

import streamrec
from streamrec import _cache

PACKAGE = Path(streamrec.__file__).parent


def files(name):
    """Names of the files on which a module's kernels depend."""
    seen, waiting = set(), {PACKAGE / name}
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= _cache._sources(file)[1] - seen
    return {str(file.relative_to(PACKAGE)) for file in seen}


def test_imports_are_followed_however_they_are_written():
    assert {"state/probe.py", "hashing.py", "memory.py", "optim/ftrl.py", "losses.py"} <= files(
        "models/ftrl.py"
    )
    assert {"state/probe.py", "memory.py"} <= files("features/statistics.py")
    assert {"join/seen.py", "join/waiting.py", "memory.py"} <= files("join/match.py")


def test_a_changed_import_changes_the_stamp(monkeypatch):
    kernel, imported = PACKAGE / "models/ftrl.py", PACKAGE / "state/probe.py"
    real = _cache._sources
    _cache._stamp.cache_clear()
    before = _cache._stamp(kernel)
    _cache._stamp.cache_clear()
    monkeypatch.setattr(
        _cache, "_sources", lambda path: (b"changed", real(path)[1]) if path == imported else real(path)
    )
    after = _cache._stamp(kernel)
    _cache._stamp.cache_clear()
    assert before != after


def test_every_kernel_of_the_package_uses_the_one_set_of_options():
    for file in PACKAGE.rglob("*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if line.startswith("@njit"):
                options = ("**JIT", "**INNER", "**INLINED")
                assert any(its in line for its in options), f"{file}:{number}: {line}"
