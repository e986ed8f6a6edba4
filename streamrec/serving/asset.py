"""Files that the service's own pages are made of. All come from here: nothing is asked of another host."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["ASSETS", "HEADERS", "Asset", "asset_text"]

_FOLDER = files(__package__) / "assets"
_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript"}

#: Of every page and file: nothing but what this service gives, no code or style inside of a page, no frames.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class Asset(NamedTuple):
    """One file."""

    name: str
    media_type: str


@cache
def asset_text(name: str) -> str:
    """The text of a file."""
    return (_FOLDER / name).read_text(encoding="utf-8")


#: By the path that it is served at; `index.html` at `/`.
ASSETS = {
    "/" if each.name == "index.html" else f"/assets/{each.name}": Asset(
        each.name, _TYPES[each.name.rpartition(".")[2]]
    )
    for each in sorted(_FOLDER.iterdir(), key=lambda each: each.name)
    if each.name.rpartition(".")[2] in _TYPES
}
