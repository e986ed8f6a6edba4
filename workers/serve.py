"""The scoring service, configured by its environment: `python -m workers.serve`.

STREAMREC_STORE (needed), STREAMREC_NAME (default), STREAMREC_HOST (0.0.0.0), STREAMREC_PORT (8080).
"""

import sys

from streamrec.serving.service import listen, serve
from streamrec.store.registry import open_store
from workers.environment import integer, run, text

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM."""
    name = text("NAME", "default")
    store = open_store(text("STORE"))
    try:
        listener = listen(text("HOST", "0.0.0.0"), integer("PORT", 8080))
        serve(store, name, listener, lambda url: print(f"serving model {name!r} on {url}", file=sys.stderr))
    finally:
        store.close()


if __name__ == "__main__":
    run(main)
