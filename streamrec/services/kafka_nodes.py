"""The brokers of a local cluster and where each of them listens."""

from collections.abc import Sequence
from typing import NamedTuple

from streamrec.services.port import free_port, require_free

__all__ = ["Node", "plan_nodes"]


class Node(NamedTuple):
    """One broker: its id from 1, the port for clients and the port among controllers."""

    id: int
    port: int
    controller_port: int


def plan_nodes(
    n_brokers: int, asked: Sequence[int], old: Sequence[Node], preferred: Sequence[int]
) -> tuple[Node, ...]:
    """Ports for all brokers, each free now.

    Args:
        n_brokers: how many.
        asked: their ports for clients; empty: those of the last run, which clients may know.
        old: the brokers of the last run; empty in a new cluster.
        preferred: ports to take in a new cluster where they are free.

    Raises:
        ServiceError: a port that was asked for, or is known from the last run, is taken.

    """
    ports = list(asked) or [node.port for node in old]
    for index, port in enumerate(ports):
        require_free(port, f"Kafka broker {index + 1}")
    taken = set(ports)
    controller_ports: list[int] = []
    for index in range(n_brokers):
        if len(ports) == index:
            ports.append(free_port(*preferred[index : index + 1], taken=taken))
            taken.add(ports[-1])
        # nobody but the brokers knows it: another one will do where it is taken
        last = [node.controller_port for node in old[index : index + 1]]
        controller_ports.append(free_port(*last, taken=taken))
        taken.add(controller_ports[-1])
    return tuple(Node(i + 1, ports[i], controller_ports[i]) for i in range(n_brokers))
