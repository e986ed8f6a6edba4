"""The scoring service, configured by its environment: `python -m workers.serve`.

STREAMREC_STORE (needed), STREAMREC_NAME (default), STREAMREC_HOST (0.0.0.0), STREAMREC_PORT (8080),
STREAMREC_EVENTS: where `POST /v1/events` puts events, kafka://host:port/topic or a file; unset: it takes
none.

STREAMREC_APPROXIMATE_ABOVE (300000): among more items than this, where the model finds any and the extra
`ann` is installed, the search is approximate.

STREAMREC_MODE (mirror): "lookup" holds STREAMREC_LOOKUP_ROWS (1000000) rows only and reads others from the
store when they are needed, for models larger than this process's memory. STREAMREC_LOOKUP_STALE_MS (1000): it
asks the store first where that has confirmed for so long that nothing newer is there.

STREAMREC_ARMS: other models and their shares of the users in per cent, as "challenger=10 idea=shadow", where
the store has no arms yet.

STREAMREC_TOKEN, STREAMREC_TOKEN_FILE: bearer tokens, one, and a file with one a line; who asks for scores or
state, or sends events, needs one of them; neither set: anybody may.

STREAMREC_TLS_CERT, STREAMREC_TLS_KEY, STREAMREC_TLS_CLIENT_CA: PEM files, for HTTPS; the last one for clients
that need a certificate, too.

STREAMREC_MAX_REQUESTS (128): under way at once. STREAMREC_MAX_DELAY_MS (400): while a request would wait for
longer it is answered 503. STREAMREC_RECEIVE_TIMEOUT (10): whole seconds that a client may take over the head
of a request, and over its body. STREAMREC_IDLE_TIMEOUT (75): whole seconds that a connection is kept for the
next request: more than a load balancer before it keeps it.
"""

from pydantic import ValidationError

from streamrec.errors import UsageError
from streamrec.log import tell
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.service import listen, serve
from streamrec.serving.settings import LookupSettings, RetrievalSettings
from streamrec.serving.split import Split, parse_shares
from streamrec.serving.tls import server_context
from streamrec.serving.token import read_tokens
from streamrec.store.registry import open_store
from streamrec.transport.registry import open_sink
from workers.environment import integer, path, run, text

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM."""
    name = text("NAME", "default")

    def ready(url: str) -> None:
        tell(f"serving model {name!r} on {url}")

    events = text("EVENTS", "")
    open_events = open_sink(events) if events else None
    protection, mode = _protection(), _mode()
    arms = parse_shares(text("ARMS", "").split())
    Split.alone(name).with_shares(arms)  # a mistake shows before anything is opened
    store = open_store(text("STORE"))
    try:
        listener = listen(text("HOST", "0.0.0.0"), integer("PORT", 8080))
        serve(store, name, listener, ready, open_events, protection, mode, arms)
    finally:
        store.close()


def _mode() -> RetrievalSettings | LookupSettings:
    mode = text("MODE", "mirror")
    if mode not in ("mirror", "lookup"):
        raise UsageError(f"environment variable STREAMREC_MODE: expected mirror or lookup, got {mode!r}")
    above = integer("APPROXIMATE_ABOVE", 300_000)
    rows, stale_ms = integer("LOOKUP_ROWS", 1_000_000), integer("LOOKUP_STALE_MS", 1000)
    if rows < 0 or stale_ms < 0:
        raise UsageError(
            "environment variables STREAMREC_LOOKUP_ROWS and STREAMREC_LOOKUP_STALE_MS: expected 0 or more, "
            f"got {rows} and {stale_ms}"
        )
    return LookupSettings(rows, stale_ms) if mode == "lookup" else RetrievalSettings(above)


def _protection() -> Protection:
    requests, delay_ms = integer("MAX_REQUESTS", 128), integer("MAX_DELAY_MS", 400)
    receive_s, idle_s = integer("RECEIVE_TIMEOUT", 10), integer("IDLE_TIMEOUT", 75)
    try:
        limits = Limits(requests=requests, delay_ms=delay_ms, receive_s=receive_s, idle_s=idle_s)
    except ValidationError:
        raise UsageError(
            "environment variables STREAMREC_MAX_REQUESTS, STREAMREC_MAX_DELAY_MS, STREAMREC_RECEIVE_TIMEOUT "
            "and STREAMREC_IDLE_TIMEOUT: expected 1 or more, "
            f"got {requests}, {delay_ms}, {receive_s} and {idle_s}"
        ) from None
    tls = server_context(path("TLS_CERT"), path("TLS_KEY"), path("TLS_CLIENT_CA"))
    return Protection(limits, read_tokens(text("TOKEN", "") or None, path("TOKEN_FILE")), tls)


if __name__ == "__main__":
    run(main)
