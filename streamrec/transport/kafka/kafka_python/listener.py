"""Group callbacks over kafka-python, which calls them from its own thread while `poll` waits."""

from collections.abc import Callable, Collection, Mapping
from threading import Thread

from kafka import TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.future import Future

from streamrec.errors import UsageError
from streamrec.transport.kafka.client import GroupListener, Partition

__all__ = ["Callbacks"]


class Callbacks(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Runs our callbacks in a thread of their own, so that heartbeats go on however long they take.

    start_at: sets where the partitions given are read from.
    wake: makes the library's thread look whether a callback has returned.
    """

    def __init__(
        self,
        listener: GroupListener,
        start_at: Callable[[Mapping[Partition, int]], None],
        wake: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._start_at = start_at
        self._wake = wake
        self._fault: BaseException | None = None

    def raise_fault(self) -> None:
        """Raise what a callback raised, once."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Start reading."""
        await self._run(self._assigned, assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """The last moment."""
        await self._run(self._listener.revoked, revoked)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        """Too late."""
        await self._run(self._listener.lost, lost)

    def _assigned(self, partitions: list[Partition]) -> None:
        positions = self._listener.assigned(partitions)
        if missing := [str(each) for each in partitions if each not in positions]:
            raise UsageError(f"no position was given for {', '.join(missing)}")
        self._start_at({each: positions[each] for each in partitions})

    async def _run(
        self, call: Callable[[list[Partition]], None], library: Collection[TopicPartition]
    ) -> None:
        if not library:
            return
        returned = Future()
        partitions = sorted(Partition(*each) for each in library)

        def work() -> None:
            try:
                call(partitions)
            except BaseException as fault:  # of the caller's; `poll` raises it
                self._fault = fault
            finally:
                returned.success(None)
                self._wake()

        Thread(target=work, name="streamrec-rebalance", daemon=True).start()
        await returned
