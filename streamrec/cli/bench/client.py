"""Which library reads and writes Kafka while something is measured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["using"]

_CLIENT = "STREAMREC_KAFKA_CLIENT"


@contextmanager
def using(library: str) -> Iterator[None]:
    """`python` or `librdkafka`, in this process and those that it starts."""
    before = os.environ.get(_CLIENT)
    os.environ[_CLIENT] = library
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CLIENT]
        else:
            os.environ[_CLIENT] = before
