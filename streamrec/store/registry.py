"""Stores by URL. A new store is one file and one line here; its contract tests then run by themselves."""

import difflib
from collections.abc import Callable

from streamrec.errors import UsageError
from streamrec.store.base import Store
from streamrec.store.memory import MemoryStore

__all__ = ["SCHEMES", "open_store"]

_FORMS = (
    "memory, embedded, embedded:DIR, redis://HOST:PORT/DB, rediss://…, unix:///PATH, "
    "redis+cluster://HOST:PORT[,HOST:PORT…] or rediss+cluster://…"
)


def _memory(url: str, late: bool) -> Store:  # noqa: ARG001  (it is there)
    return MemoryStore(url.partition(":")[2])


def _embedded(url: str, late: bool) -> Store:  # noqa: ARG001  (it is started here)
    from streamrec.store.embedded import EmbeddedStore

    return EmbeddedStore(url.partition(":")[2] or None)


def _redis(url: str, late: bool) -> Store:
    from streamrec.store.redis import RedisStore

    return RedisStore(url, late=late)


def _cluster(url: str, late: bool) -> Store:
    from streamrec.store.cluster import cluster_wires
    from streamrec.store.redis import RedisStore

    return RedisStore(url, connect=cluster_wires, late=late)


#: What opens the URLs of a scheme. The client library is imported when it is needed: it takes 0.2 s.
SCHEMES: dict[str, Callable[[str, bool], Store]] = {
    "embedded": _embedded,
    "memory": _memory,
    "redis": _redis,
    "redis+cluster": _cluster,
    "rediss": _redis,
    "rediss+cluster": _cluster,
    "unix": _redis,
}


def open_store(url: str, *, late: bool = False) -> Store:
    """The store at this URL; `late`: it need not answer yet, for who can wait for it.

    Raises:
        UsageError: no such kind of store.
        StoreUnavailable: it does not answer.

    """
    scheme = url.partition(":")[0]
    if scheme in SCHEMES:
        return SCHEMES[scheme](url, late)
    near = difflib.get_close_matches(scheme, SCHEMES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"store {url!r}: expected {_FORMS}, got {scheme!r}{hint}")
