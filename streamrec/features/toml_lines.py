"""On which line of a TOML file each key and array element stands.

`tomllib` does not tell. It has accepted the text before this runs, so the scan need not judge: it only keeps
track of tables, keys, strings, brackets and comments (TOML 1.0).
"""

import re
from typing import NamedTuple

__all__ = ["Path", "locate_keys"]

#: Keys and array positions from the root of the document.
Path = tuple[str | int, ...]

_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|' r"'''(?:[^']|'(?!''))*'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
    re.S,
)
_KEY_PART = re.compile(r"""\s*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_BLANK = re.compile(r"(?:[\s,]|#[^\n]*)*")


class _Text(NamedTuple):
    text: str
    lines: dict[Path, int]

    def note(self, path: Path, at: int) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, at) + 1)


def locate_keys(text: str) -> dict[Path, int]:
    """Path → line, counted from 1, of every table, key and array element of a valid TOML document.

    >>> locate_keys('[a]\\nx = 1\\n[[b]]\\ny = [1, 2]')[("b", 0, "y")]
    4
    """
    source = _Text(text, {})
    n_elements: dict[Path, int] = {}
    table: Path = ()
    at = _skip_blank(source, 0)
    while at < len(text):
        if text.startswith("[[", at):
            keys, end = _read_key(source, at + 2)
            place = _resolve(keys[:-1], n_elements) + keys[-1:]
            table = (*place, n_elements.get(place, 0))
            n_elements[place] = n_elements.get(place, 0) + 1
            _note_all(source, table, at)
            end += 2
        elif text[at] == "[":
            keys, end = _read_key(source, at + 1)
            table = _resolve(keys, n_elements)
            _note_all(source, table, at)
            end += 1
        else:
            end = _read_pair(source, table, at)
        at = _skip_blank(source, end)
    return source.lines


def _resolve(keys: Path, n_elements: dict[Path, int]) -> Path:
    """A header's keys, with the last element of every array of tables on the way."""
    path: Path = ()
    for key in keys:
        path = (*path, key)
        if path in n_elements:
            path = (*path, n_elements[path] - 1)
    return path


def _note_all(source: _Text, path: Path, at: int) -> None:
    for n in range(1, len(path) + 1):
        source.note(path[:n], at)


def _skip_blank(source: _Text, at: int) -> int:
    blank = _BLANK.match(source.text, at)
    return blank.end() if blank else at


def _read_key(source: _Text, at: int) -> tuple[Path, int]:
    """A possibly dotted key; where it ends."""
    parts: list[str] = []
    while part := _KEY_PART.match(source.text, at):
        name = part[1]
        parts.append(name[1:-1] if name[0] in "\"'" else name)
        at = part.end()
        if not source.text.startswith(".", at):
            break
        at += 1
    return tuple(parts), at


def _read_pair(source: _Text, table: Path, at: int) -> int:
    """`key = value`; where it ends."""
    keys, end = _read_key(source, at)
    if not keys:  # not TOML: never loop on it
        return at + 1
    _note_all(source, (*table, *keys), at)
    return _read_value(source, (*table, *keys), end + 1)


def _read_value(source: _Text, path: Path, at: int) -> int:
    """A value with everything in it; where it ends."""
    text = source.text
    at = _skip_blank(source, at)
    if string := _STRING.match(text, at):
        return string.end()
    closing = {"[": "]", "{": "}"}.get(text[at : at + 1])
    if closing is None:
        bare = _BARE_VALUE.match(text, at)
        return bare.end() if bare else at
    at, n = _skip_blank(source, at + 1), 0
    while at < len(text) and text[at] != closing:
        if closing == "]":
            source.note((*path, n), at)
            at, n = max(_read_value(source, (*path, n), at), at + 1), n + 1
        else:
            at = _read_pair(source, path, at)
        at = _skip_blank(source, at)
    return at + 1
