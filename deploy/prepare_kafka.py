"""Fetch Kafka's jars and let a broker make its class archive: `python deploy/prepare_kafka.py`.

Before many brokers are started: with an archive each takes half of the processor time. Nothing to do where
Java or Maven is missing, or the archive is there.
"""

import sys
import tempfile

from streamrec.errors import StreamrecError
from streamrec.services.class_archive import has_archive
from streamrec.services.java import cached_jars
from streamrec.services.kafka import KafkaCluster
from streamrec.testing.kafka_broker import kafka_missing


def main() -> None:
    """What goes wrong is said in one line, and is no failure: whoever needs a broker will say it again."""
    if kafka_missing() or ((jars := cached_jars()) and has_archive(jars)):
        return
    with tempfile.TemporaryDirectory(prefix="streamrec-kafka-") as folder:
        try:
            cluster = KafkaCluster(folder)
            cluster.start()
            cluster.stop()
        except StreamrecError as error:
            print(f"no class archive of Kafka was made: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
