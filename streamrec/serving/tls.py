"""TLS of the service: its certificate, and optionally whose certificates its clients need."""

import ssl
from pathlib import Path

from streamrec.errors import UsageError

__all__ = ["server_context"]


def server_context(
    certificate: Path | None, key: Path | None, client_ca: Path | None
) -> ssl.SSLContext | None:
    """What the listening socket speaks; TLS 1.2 or newer.

    Args:
        certificate: PEM file, the service's own first, then the chain; None: plain HTTP.
        key: PEM file without a password; None: it is in the certificate's file.
        client_ca: PEM file; clients need a certificate that one of these has signed; None: they need none.

    Raises:
        UsageError: a file is missing or no PEM, they do not fit each other, or there is no certificate.

    """
    if certificate is None:
        if key is not None or client_ca is not None:
            raise UsageError("TLS: a key or client CA, but no certificate; give the certificate's file, too")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    where = f"{certificate}" + (f" and {key}" if key is not None else "")
    try:
        # A password would be asked for at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise _unusable("certificate and key", where, error) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("client CA", f"{client_ca}", error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _unusable(what: str, where: str, error: OSError) -> UsageError:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return UsageError(f"TLS: {what} in {where}: expected PEM without a password that fit, got: {reason}")
