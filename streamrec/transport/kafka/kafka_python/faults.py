"""kafka-python's exceptions as ours."""

from kafka import errors

from streamrec.errors import StreamrecError
from streamrec.transport.kafka.faults import Trouble, make_error

__all__ = ["clear"]

#: The first that fits counts.
_TROUBLES: dict[Trouble, tuple[type[BaseException], ...]] = {
    Trouble.SUPERSEDED: (
        errors.ProducerFencedError,
        errors.InvalidProducerEpochError,
        errors.TransactionCoordinatorFencedError,
    ),
    Trouble.REBALANCED: (
        errors.CommitFailedError,
        errors.IllegalGenerationError,
        errors.UnknownMemberIdError,
        errors.RebalanceInProgressError,
        errors.FencedInstanceIdError,
    ),
    Trouble.LOGIN: (
        errors.SaslAuthenticationFailedError,
        errors.UnsupportedSaslMechanismError,
        errors.IllegalSaslStateError,
    ),
    Trouble.PERMISSION: (errors.AuthorizationError,),
    Trouble.TOO_LARGE: (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
    Trouble.UNKNOWN: (errors.UnknownTopicOrPartitionError,),
    Trouble.AWAY: (errors.RetriableError, errors.BrokerNotAvailableError, OSError),
}


def clear(fault: BaseException | int, where: str) -> StreamrecError:
    """The same fault as one of ours.

    fault: what the library raised, or Kafka's own error code.
    where: the cluster, and what of it.
    """
    if isinstance(fault, StreamrecError):
        return fault
    fault = errors.for_code(fault)() if isinstance(fault, int) else _innermost(fault)
    if "ProducerFencedError" in str(fault):  # later calls only quote it
        return make_error(Trouble.SUPERSEDED, where)
    for trouble, kinds in _TROUBLES.items():
        if isinstance(fault, kinds):
            return make_error(trouble, where, fault)
    return make_error(Trouble.REFUSED, where, fault)


def _innermost(fault: BaseException) -> BaseException:
    """What another exception of the library was wrapped around."""
    while True:
        inner = [each for each in fault.args if isinstance(each, Exception)]
        cause = inner[0] if inner else fault.__cause__
        if cause is None or type(fault) is not errors.KafkaError:
            return fault
        fault = cause
