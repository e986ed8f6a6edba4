"""Every error that streamrec raises on purpose.

StreamrecError                 what, where, expected, got, what to do; in one line
├── UsageError                 wrong option, URL or argument           a retry does not help (exit code 2)
│   ├── ConfigError            wrong key or value in a settings file   a retry does not help
│   └── NoRetriever            the model ranks items, but finds none   learn one that does
├── SourceError                a stream is missing, empty or unreadable: mend the stream
│   └── TopicMissing           no such topic or partition              a retry helps once it is made
├── ServiceError               a local server could not be started     see the log that it names
├── BrokerError                Kafka refused: login, permission, size, a broken rule
│   ├── BrokerUnavailable      no answer                               a retry helps once a broker is back
│   │   └── Unacknowledged     not yet: it is still being sent         wait again, or ask whether it arrived
│   ├── Rebalanced             the group has moved on                  abort the transaction, poll, begin anew
│   └── Superseded             a newer producer of this name is there  a retry never helps: stop
├── StoreError                 the parameter store refused
│   ├── StoreUnavailable       no answer                               a retry helps once the store is back
│   ├── StoreFull              out of memory                           a retry helps once memory is free
│   ├── Fenced                 a newer learner owns the model          a retry never helps: stop
│   ├── Outdated               somebody else has changed it meanwhile  look at it again, then decide
│   └── StoreMismatch          the stored model is of another kind, layout or version
├── CutOff                     learning was stopped by its guards      only once somebody has looked: release
└── RecordError                one record cannot be used           where many come it is a value, never raised
"""

__all__ = [
    "BrokerError",
    "BrokerUnavailable",
    "ConfigError",
    "CutOff",
    "Fenced",
    "NoRetriever",
    "Outdated",
    "Rebalanced",
    "RecordError",
    "ServiceError",
    "SourceError",
    "StoreError",
    "StoreFull",
    "StoreMismatch",
    "StoreUnavailable",
    "StreamrecError",
    "Superseded",
    "TopicMissing",
    "Unacknowledged",
    "UsageError",
]


class StreamrecError(Exception):
    """Root of all; its text is one clear line. The command line prints it and exits with 1."""

    exit_code = 1


class UsageError(StreamrecError):
    """A wrong option, URL or argument."""

    exit_code = 2


class ConfigError(UsageError):
    """A wrong key or value in a settings file; names the line and the nearest valid key."""


class NoRetriever(UsageError):
    """The model ranks items, but does not find any."""


class SourceError(StreamrecError):
    """A stream is missing, empty or unreadable."""


class TopicMissing(SourceError):
    """A topic or partition does not exist, or a broker that has just started does not know it yet."""


class ServiceError(StreamrecError):
    """A local server could not be started or stopped."""


class BrokerError(StreamrecError):
    """Kafka refused."""


class BrokerUnavailable(BrokerError):
    """No Kafka broker answers; try again."""


class Unacknowledged(BrokerUnavailable):
    """Records are queued and still being sent, but were not acknowledged in time; wait again."""


class Rebalanced(BrokerError):
    """The consumer group has given partitions to other members; abort the transaction, poll, begin anew."""


class Superseded(BrokerError):
    """A newer producer with the same transactional id has taken over; this one must stop."""


class StoreError(StreamrecError):
    """The parameter store refused."""


class StoreUnavailable(StoreError):
    """The store does not answer; try again."""


class StoreFull(StoreError):
    """The store is out of memory; try again once memory is free."""


class Fenced(StoreError):
    """A newer learner has taken the model over; this one must stop."""


class Outdated(StoreError):
    """Somebody else has changed what was to be changed; nothing was done."""


class StoreMismatch(StoreError):
    """What is stored does not fit what was asked for."""


class CutOff(StreamrecError):
    """The guards on learning stopped it; what was committed before stays and is served.

    Attributes:
        is_stored: the model is marked with it, so that it can be released; not where nothing was committed.

    """

    is_stored = True


class RecordError(StreamrecError):
    """One record cannot be used; the text is the reason.

    Attributes:
        number: which one, from 0.

    """

    def __init__(self, reason: str, number: int = 0) -> None:
        super().__init__(reason)
        self.number = number
