"""librdkafka's error codes as errors of ours."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamrec.errors import BrokerError, BrokerUnavailable
from streamrec.transport.kafka.librdkafka.faults import clear, passes

#: What happens by itself while a broker is restarted, and ends by itself: a worker that took one of these for
#: a refusal would end although it only had to wait.
PASSING = [
    "_ALL_BROKERS_DOWN",
    "_DESTROY_BROKER",
    "_FAIL",
    "_INTR",
    "_MSG_TIMED_OUT",
    "_NODE_UPDATE",
    "_OUTDATED",
    "_RESOLVE",
    "_RETRY",
    "_TIMED_OUT",
    "_TIMED_OUT_QUEUE",
    "_TRANSPORT",
    "_UNKNOWN_BROKER",
    "_WAIT_CACHE",
    "_WAIT_COORD",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_FOR_PARTITION",
]


@pytest.mark.parametrize("name", PASSING)
def test_a_restart_of_brokers_is_waited_for(name):
    error = KafkaError(getattr(KafkaError, name))
    assert passes(error)
    for fault in (error, KafkaException(error)):
        found = clear(fault, "kafka://there:1/topic")
        assert isinstance(found, BrokerUnavailable)
        assert str(found).startswith("kafka://there:1/topic does not answer: ")


@pytest.mark.parametrize("name", ["_INVALID_ARG", "_FS", "INVALID_CONFIG", "_BAD_MSG"])
def test_what_waiting_does_not_mend_is_a_refusal(name):
    error = KafkaError(getattr(KafkaError, name))
    assert not passes(error)
    found = clear(error, "kafka://there:1/topic")
    assert isinstance(found, BrokerError)
    assert not isinstance(found, BrokerUnavailable)
    assert "refused" in str(found)
