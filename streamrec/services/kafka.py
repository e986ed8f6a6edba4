"""A Kafka cluster of one or three brokers in a directory, each broker a process of its own."""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streamrec.errors import UsageError
from streamrec.services.class_archive import archive_options, keep_archive, making_options
from streamrec.services.daemon import STOP_S, Daemon, exclusive, make_directory, poll, remove
from streamrec.services.java import cached_jars, kafka_jars, require_java
from streamrec.services.kafka_nodes import Node, plan_nodes
from streamrec.services.kafka_settings import JAVA_OPTIONS, properties
from streamrec.services.kafka_storage import (
    ClusterState,
    broker_directory,
    format_storage,
    new_cluster_id,
    read_state,
    write_state,
)
from streamrec.services.port import HOST, require_free
from streamrec.services.probe import brokers_known

__all__ = ["BROKERS", "KafkaCluster"]

#: Numbers of brokers that a cluster may have: three is the least that goes on when one dies.
BROKERS = (1, 3)
#: A broker that ends gives up its partitions within a second or two, if anybody is there to take note.
_ALONE_S = 10.0
#: From start to in service: 2.5 s for one broker, 6 s for three; an overloaded machine takes longer.
_START_S = 90.0


def _silent(_: str) -> None:
    """Nobody to tell."""


class KafkaCluster:
    """The cluster of a directory, whoever started it.

    Args:
        directory: where it is kept; may be new.
        n_brokers: 1 or 3; None: as many as the directory has, one in a new one.
        port: where the first broker shall listen, the others on those that follow; None: where they did, else
            free ones.
        preferred: ports to take in a new directory where they are free.
        tell: takes one line about what takes time.

    Raises:
        UsageError: the directory is of a cluster of another size.

    """

    def __init__(
        self,
        directory: str | Path,
        *,
        n_brokers: int | None = None,
        port: int | None = None,
        preferred: Sequence[int] = (),
        tell: Callable[[str], None] = _silent,
    ) -> None:
        self.directory = Path(directory).absolute()
        self._preferred = tuple(preferred)
        self._tell = tell
        found = len(self.nodes) or None
        self.n_brokers = n_brokers or found or 1
        if self.n_brokers not in BROKERS:
            raise UsageError(f"a Kafka cluster has 1 or 3 brokers here, got {self.n_brokers}")
        if found not in (None, self.n_brokers):
            raise UsageError(
                f"the Kafka cluster in {self.directory} has {found} broker(s), asked for {self.n_brokers}: "
                "remove it with `streamrec services down kafka --purge`, or take another directory"
            )
        self._asked = () if port is None else tuple(range(port, port + self.n_brokers))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its brokers, with their ports; empty before the first start."""
        state = read_state(self.directory)
        return state.nodes if state else ()

    @property
    def bootstrap(self) -> str:
        """`host:port[,host:port…]`, for clients."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    @property
    def url(self) -> str:
        """`kafka://host:port[,…]`; a topic's is this, a slash and its name."""
        return f"kafka://{self.bootstrap}"

    def pids(self) -> list[int | None]:
        """Process ids in the order of the brokers; None for one that does not run."""
        return [self._daemon(node).pid() for node in self.nodes]

    def is_up(self) -> bool:
        """Whether every broker runs and knows all to be in service."""
        nodes = self.nodes
        ids = frozenset(node.id for node in nodes)
        return bool(ids) and None not in self.pids() and all(_knows(node, ids) for node in nodes)

    def start(self) -> bool:
        """Start the brokers that do not run; whether there were any. Returns once all are in service.

        Raises:
            ServiceError: Java or Maven is missing, a port is taken, or a broker ends or is not ready in time.
            UsageError: it runs on other ports than those asked for.

        """
        make_directory(self.directory)
        with exclusive(self.directory / "lock"):
            nodes = self.nodes
            down = [node for node in nodes if self._daemon(node).pid() is None]
            if len(down) < len(nodes) and self._asked not in ((), tuple(node.port for node in nodes)):
                raise UsageError(
                    f"Kafka runs at {self.bootstrap}, not at port {self._asked[0]}: stop it first"
                )
            if down or not nodes:
                self._start(any_up=len(down) < len(nodes))
            else:
                self._wait(nodes)
            return bool(down or not nodes)

    def stop(self) -> bool:
        """End the brokers in good order, data kept; whether any ran."""
        if not self.nodes:
            return False
        with exclusive(self.directory / "lock"):
            daemons = [self._daemon(node) for node in self.nodes]
            ran = [daemon for daemon in daemons if daemon.signal(signal.SIGTERM) is not None]  # all at once
            if len(ran) > 1:
                _end_the_last(ran)
            for daemon in ran:
                daemon.stop()
            if ran and (jars := cached_jars()):
                for node in self.nodes:
                    keep_archive(jars, broker_directory(self.directory, node))
            return bool(ran)

    def kill(self, index: int = 0) -> None:
        """`kill -9` of one broker, counted from 0; returns once it is gone. `start` starts it again."""
        self._daemon(self.nodes[index]).kill()

    def purge(self) -> bool:
        """Stop it and remove everything that it keeps; whether there was anything."""
        if not self.nodes:
            return False
        self.stop()
        remove(self.directory, "broker-*", "cluster.json*", "lock")
        return True

    def _start(self, *, any_up: bool) -> None:
        """Start what is down; where that fails, nothing that was started is left."""
        jars = kafka_jars(self._tell)
        java = [require_java(), "-cp", f"{jars}/*", *JAVA_OPTIONS, *archive_options(jars)]
        state = self._planned(any_up)
        write_state(self.directory, state)
        format_storage(java, self.directory, state)
        started: list[Daemon] = []
        try:
            for node in state.nodes:
                if self._daemon(node).pid() is None:
                    self._spawn(java, node, state, jars)
                    started.append(self._daemon(node))
            self._wait(state.nodes)
        except BaseException:
            for daemon in started:
                daemon.kill()
            raise

    def _planned(self, any_up: bool) -> ClusterState:
        """The cluster as it shall run: while some of it is up, as it is."""
        state = read_state(self.directory)
        if state and any_up:
            return state
        nodes = plan_nodes(self.n_brokers, self._asked, state.nodes if state else (), self._preferred)
        return ClusterState(state.cluster_id if state else new_cluster_id(), nodes)

    def _spawn(self, java: Sequence[str], node: Node, state: ClusterState, jars: Path) -> None:
        folder = broker_directory(self.directory, node)
        require_free(node.port, f"Kafka broker {node.id}")
        settings = folder / "server.properties"
        settings.write_text(properties(node, state.nodes, folder / "data"))
        # the native parts of compression are unpacked there
        (folder / "tmp").mkdir(exist_ok=True)
        options = [*making_options(jars, folder), f"-Djava.io.tmpdir={folder / 'tmp'}"]
        self._daemon(node).spawn([*java, *options, "kafka.Kafka", str(settings)])

    def _wait(self, nodes: Sequence[Node]) -> None:
        """Until each of them knows all of them."""
        ids = frozenset(node.id for node in nodes)
        for _ in poll(_START_S):
            if all(_knows(node, ids) for node in nodes):
                return
            for node in nodes:
                if self._daemon(node).pid() is None:
                    raise self._daemon(node).failure("ended instead of starting")
        late = next((node for node in nodes if not _knows(node, ids)), nodes[0])
        raise self._daemon(late).failure(f"is not ready after {_START_S:.0f} s")

    def _daemon(self, node: Node) -> Daemon:
        return Daemon(f"broker-{node.id}", self.directory / f"broker-{node.id}")


def _knows(node: Node, ids: frozenset[int]) -> bool:
    return ids <= brokers_known(HOST, node.port)


def _end_the_last(daemons: Sequence[Daemon]) -> None:
    """Kill the one that is left a while after the others: it may wait for a quorum that is gone.

    What it acknowledged is on disk, and the others have ended in good order.
    """
    alone_s: float | None = None
    for _ in poll(_ALONE_S + STOP_S):
        left = [daemon for daemon in daemons if daemon.pid() is not None]
        if len(left) != 1:
            alone_s = None
        elif alone_s is None:
            alone_s = time.monotonic()
        elif time.monotonic() - alone_s > _ALONE_S:
            left[0].kill()
        if not left:
            return
