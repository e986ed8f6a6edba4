"""kafka-python's exceptions as ours, each one clear line."""

from kafka import errors

from streamrec.errors import (
    BrokerError,
    BrokerUnavailable,
    Rebalanced,
    StreamrecError,
    Superseded,
    TopicMissing,
)

__all__ = ["clear", "unreachable"]

_SUPERSEDED = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.TransactionCoordinatorFencedError,
)
_REBALANCED = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.FencedInstanceIdError,
)
_LOGIN = (
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_AWAY = (errors.RetriableError, errors.BrokerNotAvailableError, OSError)


def clear(fault: BaseException | int, where: str) -> StreamrecError:
    """The same fault as one of ours.

    fault: what the library raised, or Kafka's own error code.
    where: the cluster, and what of it.
    """
    if isinstance(fault, StreamrecError):
        return fault
    fault = errors.for_code(fault)() if isinstance(fault, int) else _innermost(fault)
    text = " ".join(str(fault).split())
    if isinstance(fault, _SUPERSEDED) or "ProducerFencedError" in text:  # later calls only quote it
        return Superseded(
            f"{where}: a newer producer has taken over this transactional id, or a transaction took longer "
            "than its limit: this one must stop"
        )
    if isinstance(fault, _REBALANCED):
        return Rebalanced(f"{where}: the group has moved on: {text}: abort and begin anew")
    if isinstance(fault, _LOGIN):
        return BrokerError(f"{where}: the login was refused: {text}: check user, password and sasl=")
    if isinstance(fault, errors.AuthorizationError):
        return BrokerError(f"{where}: not permitted: {text}: ask for the right, or use another user")
    if isinstance(fault, _TOO_LARGE):
        return BrokerError(f"{where}: a record is larger than accepted: {text}: see max.message.bytes")
    if isinstance(fault, errors.UnknownTopicOrPartitionError):
        return TopicMissing(f"{where}: there is no such topic or partition")
    if isinstance(fault, _AWAY):
        return BrokerUnavailable(f"{where} does not answer: {text}: is the broker running and reachable?")
    return BrokerError(f"{where} refused: {text}")


def unreachable(where: str, reason: str) -> BrokerError:
    """Why nothing could be opened, from the text of the last failed attempt."""
    reason = " ".join(reason.split())
    if "SSL" in reason or "Handshake" in reason:
        return BrokerError(f"{where}: TLS failed: {reason}: check tls=, ca=, cert= and key=")
    return BrokerUnavailable(f"{where} does not answer: {reason}: is the broker running and reachable?")


def _innermost(fault: BaseException) -> BaseException:
    """What another exception of the library was wrapped around."""
    while True:
        inner = [each for each in fault.args if isinstance(each, Exception)]
        cause = inner[0] if inner else fault.__cause__
        if cause is None or type(fault) is not errors.KafkaError:
            return fault
        fault = cause
