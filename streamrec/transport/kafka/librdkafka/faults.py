"""librdkafka's errors as ours."""

from confluent_kafka import KafkaError, KafkaException

from streamrec.errors import StreamrecError
from streamrec.transport.kafka.faults import Trouble, make_error

__all__ = ["clear", "passes"]

_TROUBLES: dict[Trouble, set[int]] = {
    Trouble.SUPERSEDED: {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
        # what was still queued is dropped, and that may be told before its reason is
        KafkaError._PURGE_INFLIGHT,
        KafkaError._PURGE_QUEUE,
    },
    Trouble.REBALANCED: {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._ASSIGNMENT_LOST,
    },
    Trouble.LOGIN: {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    },
    Trouble.TLS: {KafkaError._SSL},
    Trouble.PERMISSION: {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    },
    Trouble.TOO_LARGE: {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE},
    Trouble.UNKNOWN: {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    },
    Trouble.AWAY: {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._DESTROY_BROKER,  # a question's connection was replaced, since metadata changed meanwhile
        KafkaError._FAIL,
        KafkaError._INTR,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._NODE_UPDATE,
        KafkaError._OUTDATED,
        KafkaError._RESOLVE,
        KafkaError._RETRY,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._UNKNOWN_BROKER,
        KafkaError._WAIT_CACHE,
        KafkaError._WAIT_COORD,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    },
}
_BY_CODE = {code: trouble for trouble, codes in _TROUBLES.items() for code in codes}


def passes(error: KafkaError) -> bool:
    """Whether it is about connections and leaders, which the library goes on mending by itself."""
    return error.retriable() or _BY_CODE.get(error.code()) is Trouble.AWAY


def clear(fault: BaseException | KafkaError, where: str) -> StreamrecError:
    """The same fault as one of ours.

    where: the cluster, and what of it.
    """
    if isinstance(fault, StreamrecError):
        return fault
    error = fault.args[0] if isinstance(fault, KafkaException) else fault
    if not isinstance(error, KafkaError):
        return make_error(Trouble.REFUSED, where, error)
    if error.fatal() and "fenced" in error.str():
        return make_error(Trouble.SUPERSEDED, where)
    otherwise = Trouble.AWAY if passes(error) else Trouble.REFUSED
    return make_error(_BY_CODE.get(error.code(), otherwise), where, error.str())
