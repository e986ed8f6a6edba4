"""One wire to a whole Redis Cluster: each command goes to the node that has its key.

A transaction, a script and a command of several keys must stay within one hash slot, which `keys.py` sees to.
A node that answers MOVED or ASK is believed; one that does not answer makes the slot map be read again, and
`StoreUnavailable` is raised as long as nobody else has the slot: trying again helps once its replica has
taken over.

What a master has acknowledged may be lost with it, because Redis tells replicas afterwards. `settle` waits
until one of them has it, and `marks.py` notices rows that were lost all the same. What this promises:

- A commit is acknowledged once a replica has it. A master without a replica (it has none, or its only one
  has just become the master) gives what a single server gives: what is in its file when it starts again.
- A learner that lives sends lost commits again and writes lost rows again. The next learner writes lost rows
  again, too: the log still has the commits of the last flush. If a node lost more than that (it comes back
  empty, a replica far behind is made master by force), the model is refused: restore a backup or use --fresh.
- If the head lost commits whose rows other nodes have, and the learner died with it, the model is refused,
  too.
- Nobody is ever given rows of one generation with a head of another.

And its price: a replica that hangs holds commits back until Redis drops it (`repl-timeout`, 60 s). While the
head's slot moves to another node commits are refused, while a group's moves flushes are; both are tried
again. Buckets that a node was told to delete, and forgot, stay as garbage.
"""

from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import AskError, MovedError

from streamrec.errors import StoreUnavailable
from streamrec.store.slots import Address, SlotMap
from streamrec.store.wire import Argument, ServerWire, Wire, Wires

__all__ = ["CONFIRM_MS", "ClusterWire", "cluster_wires"]

#: Redirections that one command may follow: a slot that moves while it is asked for takes two.
_HOPS = 5
#: How long a replica may take to confirm: it gets what a flush writes (64 MB and more) at the network's pace.
CONFIRM_MS = 10_000
#: Commands without a key go to every master; XREAD's key comes after STREAMS, that of a script after its
#: hash and their number.
_KEYLESS = {"INFO", "PING", "SCRIPT"}


class ClusterWire(Wire):
    """A connection to each node, opened when it is needed."""

    def __init__(self, slots: SlotMap) -> None:
        self._slots = slots
        self._nodes: dict[Address, ServerWire] = {}
        #: New nodes, perhaps, that have no slot yet but get one now.
        self._importing: set[Address] = set()
        self._over = False

    def call(self, *command: Argument) -> Any:
        """The answer to one command; of the first master where it has no key and goes to all."""
        if command[0] not in _KEYLESS:
            return super().call(*command)
        try:
            return self._everywhere(command)
        except StoreUnavailable:  # perhaps one that is no master any more
            self._importing.clear()
            return self._everywhere(command)

    def calls(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """The answers to commands, those for one node sent together; the first error is raised."""
        answers: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        for _ in range(_HOPS):
            left = self._hop(commands, left, answers)
            if not left:
                break
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, redis.ResponseError):
                raise self.at(_key(command)).refused(answer) from answer
        return answers

    def at(self, key: str) -> ServerWire:
        """The connection to the master that has this key."""
        return self._node(self._slots.owner(key))

    def settle(self, key: str | None = None) -> None:
        """Return once a replica has what was written to the master of this key, or to every master.

        Raises:
            StoreUnavailable: none of a master's replicas confirmed it in time, or the master is none any
                more: whether what was written is there is not known.

        """
        owners = self._slots.masters() if key is None else [self._slots.owner(key)]
        for address in owners:
            self._confirm(address)

    def close(self) -> None:
        """Drop every connection."""
        for node in self._nodes.values():
            node.close()

    def end(self) -> None:
        """Close for good."""
        self._over = True
        for node in list(self._nodes.values()):
            node.end()

    def _node(self, address: Address) -> ServerWire:
        if address not in self._nodes:
            self._nodes[address] = self._slots.open(address)
            if self._over:
                self._nodes[address].end()
        return self._nodes[address]

    def _everywhere(self, command: tuple[Argument, ...]) -> Any:
        addresses = [*self._slots.masters(), *self._importing]
        answers = [self._node(address).call(*command) for address in addresses]
        return answers[0]

    def _hop(
        self, commands: Sequence[tuple[Argument, ...]], left: list[int], answers: list[Any]
    ) -> list[int]:
        """Ask for these answers; returns those that another node must be asked for."""
        shares: dict[Address, list[int]] = {}
        for n in left:
            shares.setdefault(self._slots.owner(_key(commands[n])), []).append(n)
        again: list[int] = []
        for address, share in shares.items():
            try:
                got = self._node(address).exchange([commands[n] for n in share])
            except StoreUnavailable:
                if self._slots.owner(_key(commands[share[0]])) == address:
                    raise
                again += share  # its replica has taken over
                continue
            for n, answer in zip(share, got, strict=True):
                answers[n] = answer
                if isinstance(answer, AskError):
                    target = Address(answer.host or address.host, answer.port)
                    if isinstance(answer, MovedError):
                        self._slots.moved(answer.slot_id, target)
                        again.append(n)
                    else:
                        self._importing.add(target)
                        answers[n] = self._node(target).exchange([("ASKING",), commands[n]])[1]
        return again

    def _confirm(self, address: Address) -> None:
        node = self._node(address)
        # no connection but the one that was written to can tell
        (role,) = node.calls([("ROLE",)], again=0)
        if role[0] != b"master":
            raise node.refused(redis.ConnectionError("it is a replica now"))
        if role[2] and not node.calls([("WAIT", 1, CONFIRM_MS)], again=0)[0]:
            trouble = f"no replica confirmed within {CONFIRM_MS // 1000} s what was written"
            raise node.refused(redis.ConnectionError(trouble))


def _key(command: tuple[Argument, ...]) -> str:
    name = command[0]
    place = 3 if name == "EVALSHA" else command.index("STREAMS") + 1 if name == "XREAD" else 1
    return str(command[place])


def cluster_wires(url: str, answer_s: float | None = None) -> Wires:
    """Wires to the Redis Cluster at this URL, see `wire.Connect`."""
    slots = SlotMap(url, answer_s)
    return Wires(lambda: ClusterWire(slots), slots.url, spread=True)
