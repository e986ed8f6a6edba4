"""What may go wrong with a broker: the same words, whichever library met it."""

from enum import Enum

from streamrec.errors import (
    BrokerError,
    BrokerUnavailable,
    Rebalanced,
    StreamrecError,
    Superseded,
    TopicMissing,
)

__all__ = ["Trouble", "make_error", "no_connection"]


class Trouble(Enum):
    """Each with what is said; `{0}` is what the library said."""

    SUPERSEDED = (
        Superseded,
        ": a newer producer has taken over this transactional id, or a transaction took longer than its "
        "limit: this one must stop",
    )
    REBALANCED = (Rebalanced, ": the group has moved on: {0}: abort and begin anew")
    LOGIN = (BrokerError, ": the login was refused: {0}: check user, password and sasl=")
    TLS = (BrokerError, ": TLS failed: {0}: check tls=, ca=, cert= and key=")
    PERMISSION = (BrokerError, ": not permitted: {0}: ask for the right, or use another user")
    TOO_LARGE = (BrokerError, ": a record is larger than accepted: {0}: see max.message.bytes")
    UNKNOWN = (TopicMissing, ": there is no such topic or partition")
    AWAY = (BrokerUnavailable, " does not answer: {0}: is the broker running and reachable?")
    HUNG_UP = (
        BrokerUnavailable,
        " hangs up: {0}: check user, password, sasl= and tls=, or wait if it is just starting",
    )
    REFUSED = (BrokerError, " refused: {0}")


def make_error(trouble: Trouble, where: str, text: object = "") -> StreamrecError:
    """One clear line.

    where: the cluster, and what of it.
    text: what the library said.
    """
    kind, sentence = trouble.value
    return kind(where + sentence.format(" ".join(str(text).split())))


def no_connection(where: str, reason: str) -> StreamrecError:
    """Why nothing could be opened, from the text of the last failed attempt."""
    if "SSL" in reason or "Handshake" in reason:
        return make_error(Trouble.TLS, where, reason)
    if "Sasl" in reason:
        return make_error(Trouble.LOGIN, where, reason)
    if "disconnected" in reason.lower():  # some brokers say no more to a wrong login or without TLS
        return make_error(Trouble.HUNG_UP, where, reason)
    return make_error(Trouble.AWAY, where, reason)
