"""librdkafka's errors as ours, each one clear line."""

from confluent_kafka import KafkaError, KafkaException

from streamrec.errors import (
    BrokerError,
    BrokerUnavailable,
    Rebalanced,
    StreamrecError,
    Superseded,
    TopicMissing,
)

__all__ = ["clear", "unreachable"]

_SUPERSEDED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.TRANSACTION_COORDINATOR_FENCED,
}
_REBALANCED = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._ASSIGNMENT_LOST,
}
_LOGIN = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
}
_PERMISSION = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_UNKNOWN = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
_AWAY = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError._WAIT_COORD,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,  # from here on: somebody new is just taking over
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
}


def clear(fault: BaseException | KafkaError, where: str) -> StreamrecError:
    """The same fault as one of ours.

    where: the cluster, and what of it.
    """
    if isinstance(fault, StreamrecError):
        return fault
    error = fault.args[0] if isinstance(fault, KafkaException) else fault
    if not isinstance(error, KafkaError):
        return BrokerError(f"{where} refused: {error}")
    text = " ".join(error.str().split())
    code = error.code()
    if code in _SUPERSEDED or (error.fatal() and "fenced" in text):
        return Superseded(
            f"{where}: a newer producer has taken over this transactional id, or a transaction took longer "
            "than its limit: this one must stop"
        )
    if code in _REBALANCED:
        return Rebalanced(f"{where}: the group has moved on: {text}: abort and begin anew")
    if code in _LOGIN:
        return BrokerError(f"{where}: the login was refused: {text}: check user, password and sasl=")
    if code == KafkaError._SSL:
        return BrokerError(f"{where}: TLS failed: {text}: check tls=, ca=, cert= and key=")
    if code in _PERMISSION:
        return BrokerError(f"{where}: not permitted: {text}: ask for the right, or use another user")
    if code in _TOO_LARGE:
        return BrokerError(f"{where}: a record is larger than accepted: {text}: see max.message.bytes")
    if code in _UNKNOWN:
        return TopicMissing(f"{where}: there is no such topic or partition")
    if code in _AWAY or error.retriable():
        return unreachable(where, text)
    return BrokerError(f"{where} refused: {text}")


def unreachable(where: str, reason: str) -> BrokerUnavailable:
    """No answer, and why."""
    return BrokerUnavailable(f"{where} does not answer: {reason}: is the broker running and reachable?")
