"""Which node of a Redis Cluster has which hash slot, and connections to the nodes."""

import random
import re
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

from redis.crc import key_slot

from streamrec.errors import StoreError, StoreUnavailable, UsageError
from streamrec.store.wire import ServerWire, connection_pool, hide_password

__all__ = ["Address", "SlotMap"]

_SLOTS = 16384
#: Waiting for one answer of a node: as long as Redis itself waits by default before it replaces a master, and
#: longer than a replica may take to confirm.
_ANSWER_S = 15.0
#: A node that hangs takes connections and gives no answer: then another one is asked.
_MAP_S = 2.0
_FORMS = "redis+cluster://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…] or rediss+cluster://…"
_URL = re.compile(r"(rediss?)\+cluster://(?:([^/]*)@)?([^/?@]+)(?:/0?)?(\?.*)?")


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SlotMap:
    """The masters of a cluster by slot; read when first needed and again once it is doubted.

    Args:
        url: names some of the nodes; the others are found through them.
        answer_s: how long connections wait for one answer, where the URL does not say; None: as usual.

    """

    def __init__(self, url: str, answer_s: float | None = None) -> None:
        self.url = hide_password(url)
        match = _URL.fullmatch(url)
        if match is None:
            raise UsageError(f"store {self.url!r}: expected {_FORMS}")
        scheme, login, nodes, options = match.groups("")
        login = f"{login}@" if login else ""
        # of the pools only class and settings are used, which are the same for all nodes
        answer_s = _ANSWER_S if answer_s is None else answer_s
        pools = [
            connection_pool(f"{scheme}://{login}{node}{options}", _FORMS, answer_s)
            for node in nodes.split(",")
        ]
        self._settings = dict(pools[0].connection_kwargs)
        self._map_s = min(_MAP_S, answer_s)
        self._class = pools[0].connection_class
        self._given = [_address(pool.connection_kwargs) for pool in pools]
        self._known: set[Address] = set()
        self._owners: list[Address | None] = []
        self._doubted = True
        self._lock = Lock()

    def owner(self, key: str) -> Address:
        """The master that has this key.

        Raises:
            StoreUnavailable: no node answers, or none has the slot.

        """
        slot = _slot(key)
        found = self._current()[slot]
        if found is None:
            self.doubt()
            raise StoreUnavailable(
                f"{self.url}: no node has slot {slot}: is a master lost that had no replica? "
                "trying again helps once it is back"
            )
        return found

    def masters(self) -> list[Address]:
        """All masters that have a slot, at least one."""
        found = sorted({owner for owner in self._current() if owner is not None})
        if not found:
            self.doubt()
            raise StoreUnavailable(
                f"{self.url}: no node has a slot: is the cluster made yet? trying again helps"
            )
        return found

    def doubt(self) -> None:
        """A node did not answer as it should: read the map again before it is next used."""
        self._doubted = True

    def moved(self, slot: int, address: Address) -> None:
        """A node said who has this slot now."""
        self._current()[slot] = address

    def open(self, address: Address, **settings: Any) -> ServerWire:
        """A wire of one's own to a node."""
        settings = self._settings | {"host": address.host, "port": address.port} | settings
        name = f"{self.url} (node {address})"
        return ServerWire(self._class(**settings), name, self.doubt)

    def _current(self) -> list[Address | None]:
        with self._lock:
            if self._doubted:
                self._doubted = False
                try:
                    self._owners = self._read()
                except BaseException:
                    self._doubted = True
                    raise
            return self._owners

    def _read(self) -> list[Address | None]:
        """The map as the first node that answers with all slots sees it, else the fullest one.

        In no fixed order: a node that errs, because it has just started, is not asked first every time.
        """
        best: list[Address | None] = []
        trouble: StoreError | None = None
        others = sorted(self._known.difference(self._given))
        for address in _shuffled(self._given) + _shuffled(others):
            try:
                owners = self._ask(address)
            except StoreUnavailable as error:
                trouble = error
                continue
            best = max(best, owners, key=lambda each: len(each) - each.count(None))
            if None not in best:
                break
        if not best and trouble is not None:
            raise trouble
        return best

    def _ask(self, address: Address) -> list[Address | None]:
        wire = self.open(address, socket_timeout=self._map_s)
        try:
            (answer,) = wire.exchange([("CLUSTER", "SLOTS")], again=0)
        finally:
            wire.close()
        if "cluster support disabled" in str(answer):
            raise UsageError(f"{self.url}: {address} is a single server: expected redis://{address}/0")
        if isinstance(answer, Exception):
            raise wire.refused(answer)
        return self._owners_in(answer, address)

    def _owners_in(self, answer: list[Any], asked: Address) -> list[Address | None]:
        owners: list[Address | None] = [None] * _SLOTS
        for first, last, *nodes in answer:
            # a node that does not know its own name yet leaves it empty
            found = [Address(host.decode() if host else asked.host, port) for host, port, *_ in nodes]
            self._known.update(found)
            owners[first : last + 1] = found[:1] * (last + 1 - first)
        return owners


@lru_cache(1 << 12)  # of groups' own keys, which are asked for over and over
def _slot(key: str) -> int:
    return key_slot(key.encode())


def _shuffled(addresses: list[Address]) -> list[Address]:
    return random.sample(addresses, len(addresses))


def _address(settings: dict[str, Any]) -> Address:
    return Address(settings.get("host", "localhost"), settings.get("port", 6379))
