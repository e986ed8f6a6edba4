"""What a Kafka cluster keeps in its directory, and formatting it.

DIR/cluster.json        id of the cluster, ports of its brokers
DIR/lock                held while somebody starts or stops brokers
DIR/broker-1/           server.properties, broker-1.pid, broker-1.log, data/
"""

import base64
import json
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from streamrec.errors import ServiceError
from streamrec.services.kafka_nodes import Node
from streamrec.services.kafka_settings import properties

__all__ = [
    "ClusterState",
    "broker_directory",
    "format_storage",
    "new_cluster_id",
    "read_state",
    "write_state",
]


class ClusterState(NamedTuple):
    """Which cluster a directory has."""

    cluster_id: str
    nodes: tuple[Node, ...]


def read_state(directory: Path) -> ClusterState | None:
    """What is there; None in a new directory.

    Raises:
        ServiceError: the file is damaged.

    """
    path = directory / "cluster.json"
    try:
        found = json.loads(path.read_text())
        return ClusterState(found["cluster_id"], tuple(Node(*map(int, node)) for node in found["nodes"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ServiceError(
            f"{path} cannot be read ({error}): remove {directory} with what it holds"
        ) from error


def write_state(directory: Path, state: ClusterState) -> None:
    """Write it whole or not at all."""
    new = directory / "cluster.json.new"
    new.write_text(json.dumps(state._asdict()))
    new.replace(directory / "cluster.json")


def new_cluster_id() -> str:
    """22 characters as Kafka makes them; none that begins like an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def broker_directory(directory: Path, node: Node) -> Path:
    """The place of one broker, made where it is not there."""
    path = directory / f"broker-{node.id}"
    path.mkdir(exist_ok=True)
    return path


def format_storage(java: Sequence[str], directory: Path, state: ClusterState) -> None:
    """Make the data folder of every broker that has none, all at the same time; whole or not at all.

    Args:
        java: program, class path and options.
        directory: of the cluster.
        state: the cluster.

    Raises:
        ServiceError: Kafka's storage tool failed.

    """
    tools = []
    for node in state.nodes:
        folder = broker_directory(directory, node)
        if not (folder / "data").exists():
            tools.append((folder, _formatting(java, folder, node, state)))
    for folder, process in tools:
        said, _ = process.communicate()
        if process.returncode:
            raise ServiceError(f"Kafka's storage tool could not format {folder}: {_last(said)}")
        (folder / "data.new").rename(folder / "data")


def _formatting(
    java: Sequence[str], folder: Path, node: Node, state: ClusterState
) -> "subprocess.Popen[str]":
    """Kafka's storage tool at work on `data.new`."""
    shutil.rmtree(folder / "data.new", ignore_errors=True)
    settings = folder / "format.properties"
    settings.write_text(properties(node, state.nodes, folder / "data.new"))
    return subprocess.Popen(
        [
            *java,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            state.cluster_id,
            "-c",
            str(settings),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _last(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
