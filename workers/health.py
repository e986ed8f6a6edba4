"""Whether the worker of this container answers, for Docker's HEALTHCHECK: `python -m workers.health`.

STREAMREC_HEALTH_URL (http://127.0.0.1:8080/healthz, the scoring service; the other workers answer at
http://127.0.0.1:9464/healthz): what is asked. Ends with 0 on any 2xx answer, else with 1 and one line, which
has the reason where a `/readyz` is asked.

On loopback an https:// URL is asked without a look at whose certificate it is: the container asks itself, and
a certificate names the service, not 127.0.0.1. STREAMREC_HEALTH_CERT: PEM file with a certificate and its
key, where the service wants one of its clients.
"""

import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from streamrec.errors import ServiceError
from workers.environment import path, run, text

__all__ = ["main"]

#: Docker's own time-out is set to 5 s: the reason shall be told before.
_ANSWER_S = 4.0
_MOST_BYTES = 2000  # of a reason
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main() -> None:
    """Ask once.

    Raises:
        ServiceError: no answer, or not a good one.

    """
    url = text("HEALTH_URL", "http://127.0.0.1:8080/healthz")
    try:
        with _opener(url).open(url, timeout=_ANSWER_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            reason = " ".join(error.read(_MOST_BYTES).decode(errors="replace").split())
        raise ServiceError(f"{url}: expected an answer, got: {error} {reason}".rstrip()) from None
    except (OSError, ValueError) as error:  # time-outs are OSErrors
        raise ServiceError(f"{url}: expected an answer, got: {error}") from None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Without a proxy between a container and itself, whatever the environment says."""
    tls = ssl.create_default_context()
    if urlsplit(url).hostname in _LOOPBACK:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if (certificate := path("HEALTH_CERT")) is not None:
        tls.load_cert_chain(certificate)
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )


if __name__ == "__main__":
    run(main)
