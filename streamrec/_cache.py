"""When a compiled kernel on disk is stale.

Numba keeps compiled functions beside their source and looks at that one file only; but LLVM inlines a
kernel's callees, whose constants then live on in the cache after their own file changed. Here a kernel is
fresh only while its file and every streamrec file that it imports, directly or not, are the same.
"""

import functools
import hashlib
import re
from pathlib import Path
from typing import Any

from numba.core import caching

__all__ = ["register"]

_PACKAGE = Path(__file__).parent
_IMPORT = re.compile(r"^from streamrec([\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)


@functools.cache
def _sources(path: Path) -> tuple[bytes, frozenset[Path]]:
    """Content of a file of the package, and the files of the package that it imports."""
    text = path.read_text("utf-8")
    files = set()
    for module, names in _IMPORT.findall(text):
        place = _PACKAGE.joinpath(*module.strip(".").split("."))
        files.add(place.with_suffix(".py"))
        files |= {place / f"{name}.py" for name in re.findall(r"\w+", names)}  # a module of a package
    return text.encode(), frozenset(file for file in files if file.is_file())


@functools.cache
def _stamp(path: Path) -> str:
    """SHA-256 of a file and all that it imports, in the order of their names."""
    seen: set[Path] = set()
    waiting = {path}
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= _sources(file)[1] - seen
    digest = hashlib.sha256()
    for file in sorted(seen):
        digest.update(_sources(file)[0])
    return digest.hexdigest()


class _WithImports:
    _py_file: str

    def get_source_stamp(self) -> str:
        return _stamp(Path(self._py_file))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        if _PACKAGE not in Path(py_file).parents:
            return None
        return super().from_function(py_func, py_file)  # type: ignore[misc]


class _UserProvided(_WithImports, caching.UserProvidedCacheLocator):  # type: ignore[misc]
    """In NUMBA_CACHE_DIR, where that is set."""


class _InTree(_WithImports, caching.InTreeCacheLocator):  # type: ignore[misc]
    """Beside the source, where that can be written."""


class _UserWide(_WithImports, caching.UserWideCacheLocator):  # type: ignore[misc]
    """In the user's own cache folder."""


def register() -> None:
    """Let Numba ask these locators first; code outside the package is not theirs."""
    ours = [_UserProvided, _InTree, _UserWide]
    known = caching.CacheImpl._locator_classes
    if ours[0] not in known:
        known[:0] = ours
