"""Whether the worker of this container answers, for Docker's HEALTHCHECK: `python -m workers.health`.

STREAMREC_HEALTH_URL (http://127.0.0.1:8080/healthz, the scoring service; the other workers answer at
http://127.0.0.1:9464/metrics): what is asked. Ends with 0 on any 2xx answer, else with 1 and one line.
"""

import urllib.request

from streamrec.errors import ServiceError
from workers.environment import run, text

__all__ = ["main"]

#: Docker's own time-out is set to 5 s: the reason shall be told before.
_ANSWER_S = 4.0
#: No proxy between a container and itself, whatever the environment says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> None:
    """Ask once.

    Raises:
        ServiceError: no answer, or not a good one.

    """
    url = text("HEALTH_URL", "http://127.0.0.1:8080/healthz")
    try:
        with _OPENER.open(url, timeout=_ANSWER_S) as answer:
            answer.read()
    except (OSError, ValueError) as error:  # HTTPError and time-outs are OSErrors
        raise ServiceError(f"{url}: expected an answer, got: {error}") from None


if __name__ == "__main__":
    run(main)
