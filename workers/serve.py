"""The scoring service, configured by its environment: `python -m workers.serve`.

STREAMREC_STORE (needed), STREAMREC_NAME (default), STREAMREC_HOST (0.0.0.0), STREAMREC_PORT (8080),
STREAMREC_EVENTS: where `POST /v1/events` puts events, kafka://host:port/topic or a file; unset: it takes
none.
"""

import sys

from streamrec.serving.service import listen, serve
from streamrec.store.registry import open_store
from streamrec.transport.registry import open_sink
from workers.environment import integer, run, text

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM."""
    name = text("NAME", "default")

    def tell(url: str) -> None:
        print(f"serving model {name!r} on {url}", file=sys.stderr)

    events = text("EVENTS", "")
    open_events = open_sink(events) if events else None
    store = open_store(text("STORE"))
    try:
        listener = listen(text("HOST", "0.0.0.0"), integer("PORT", 8080))
        serve(store, name, listener, tell, open_events)
    finally:
        store.close()


if __name__ == "__main__":
    run(main)
