"""What a local Kafka broker is told: its `server.properties` and its Java options.

KRaft, every node broker and controller at once. The voters are in the settings and not in the data, so that
the same data starts on other ports.
"""

from collections.abc import Sequence
from pathlib import Path

from streamrec.services.kafka_nodes import Node
from streamrec.services.port import HOST

__all__ = ["JAVA_OPTIONS", "properties"]

#: Starts in 2.5 s. Without the second compiler it has enough speed for one machine and takes less of it.
JAVA_OPTIONS = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    # 300 lines that repeat the settings
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
)
#: Topics are kept on three brokers where there are three, and a write needs two of them: one may die.
_REPLICAS = {1: (1, 1), 3: (3, 2)}
_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # a misspelt topic is an error and not a new topic
    "auto.create.topics.enable": "false",
    # one consumer is the usual group: nobody is waited for
    "group.initial.rebalance.delay.ms": "0",
    # a member that was killed may ask for less than the 6 s that are Kafka's least
    "group.min.session.timeout.ms": "1000",
    # internal topics come with the first use: 50 partitions each take seconds
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    # an abandoned transaction holds back every reader: looked for each second instead of ten
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # recorded events may be decades old by their time: nothing is deleted for its age
    "log.retention.ms": "-1",
    # 128 MB by default, of a heap of 512
    "log.cleaner.dedupe.buffer.size": "8388608",
    # a broker that was killed is let in again once its old session is over: 9 s by default
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.io.threads": "4",
}


def properties(node: Node, nodes: Sequence[Node], data: Path) -> str:
    """The text of its `server.properties`."""
    replicas, in_sync = (str(n) for n in _REPLICAS[len(nodes)])
    voters = ",".join(f"{each.id}@{HOST}:{each.controller_port}" for each in nodes)
    settings = _SETTINGS | {
        "node.id": str(node.id),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
        "log.dirs": str(data),
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: str) -> str:
    """Java reads a backslash as an escape, and Latin-1."""
    text = value.replace("\\", "\\\\")
    return "".join(c if c.isascii() else f"\\u{ord(c):04x}" for c in text)
