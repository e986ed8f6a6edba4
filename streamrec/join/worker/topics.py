"""The topics of a join: whether they fit each other, and those that are made."""

from collections import Counter
from collections.abc import Iterable

from streamrec.errors import UsageError
from streamrec.join.worker.state import CONFIG, state_topic
from streamrec.join.worker.unit import Topics
from streamrec.transport.kafka.client import Partition
from streamrec.transport.kafka.open import open_admin
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["check_clusters", "equally_many", "made_topics"]


def check_clusters(source: KafkaUrl, target: KafkaUrl) -> None:
    """Raises UsageError where source and target are in two clusters."""
    if set(source.servers) != set(target.servers):
        raise UsageError(
            f"{target.shown}: expected the cluster of {source.shown}: a transaction holds the positions of "
            "the input, so both must be in one, named by the same servers"
        )


def equally_many(partitions: Iterable[Partition]) -> int:
    """How many partitions each topic has.

    Raises:
        UsageError: not all have equally many.

    """
    counts = Counter(partition.topic for partition in partitions)
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{topic} {n}" for topic, n in sorted(counts.items()))
        raise UsageError(
            f"topics joined together must have equally many partitions, got {found}: "
            "an impression and its click meet in partitions of one number"
        )
    return next(iter(counts.values()))


def made_topics(target: KafkaUrl, rejects: str, source: KafkaUrl, n: int) -> tuple[Topics, list[Partition]]:
    """The topics to write to; those that are missing are made, with n partitions as the source has.

    Returns also the partitions of the rejects.

    Raises:
        UsageError: one is there with another number, or two of them are one.
        BrokerError: the cluster does not answer, or refuses.

    """
    topics = Topics(target.one_topic(), state_topic(target.one_topic()), rejects)
    names = [*source.some_topics(), *topics]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"topic {twice[0]}: source, target, {topics.state} and rejects must be different")
    admin = open_admin(target)
    try:
        for name, config in ((topics.target, None), (topics.state, CONFIG)):
            found = admin.ensure_topic(name, n, config=config)
            if found != n:
                raise UsageError(
                    f"topic {name}: expected {n} partitions, as {source.shown} has, got {found}: "
                    "partition i is joined into partition i"
                )
        n_rejects = admin.ensure_topic(topics.rejects, 1)
    finally:
        admin.close()
    return topics, [Partition(topics.rejects, number) for number in range(n_rejects)]
