"""Bearer tokens (RFC 6750): who may ask, compared in constant time and never written down."""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from streamrec.errors import UsageError
from streamrec.serving.asset import ASSETS
from streamrec.serving.problem import problem

__all__ = ["PAGES", "BearerGate", "Tokens", "read_tokens"]

#: Shorter ones can be guessed over the network.
MIN_CHARS = 16
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
#: Pages and their files: a browser has no token when it opens them, and they hold nothing of the model.
PAGES = frozenset({"/docs", "/openapi.json", *ASSETS})


class Tokens:
    """The tokens that are good; several, so that a new one can be given out before the old one ends.

    Args:
        tokens: at least one.

    Raises:
        UsageError: one is too short, or has a character that no header takes. The text does not show it.

    """

    def __init__(self, tokens: Sequence[str]) -> None:
        for n, token in enumerate(tokens, 1):
            if len(token) < MIN_CHARS or not _TOKEN68.fullmatch(token):
                raise UsageError(
                    f"token {n}: expected {MIN_CHARS} or more of A-Z a-z 0-9 - . _ ~ + /, got {len(token)} "
                    "characters; make one with: openssl rand -hex 32"
                )
        if not tokens:
            raise UsageError("token: expected at least one, got none; make one with: openssl rand -hex 32")
        self._digests = [_digest(token.encode()) for token in tokens]

    def __repr__(self) -> str:
        return f"Tokens({len(self._digests)})"

    def accept(self, authorization: bytes) -> bool:
        """Whether an `authorization` header has a good one; how long that takes does not depend on it."""
        scheme, _, token = authorization.partition(b" ")
        given = _digest(token.strip())
        found = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(found)


def read_tokens(token: str | None, path: Path | None) -> Tokens | None:
    """The tokens of a setting and of a file with one a line (blank lines and # comments left out).

    Returns:
        None where neither is given.

    Raises:
        UsageError: the file cannot be read or has none, or a token cannot be used.

    """
    tokens = [] if token is None else [token]
    if path is not None:
        try:
            lines = path.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "expected ASCII text"
            raise UsageError(f"token file {path}: {reason}") from None
        tokens += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return Tokens(tokens) if tokens or path is not None else None


class BearerGate:
    """An ASGI app behind tokens: all of its paths but pages of documentation and those named.

    Args:
        app: what is behind.
        tokens: who may pass.
        open_paths: these need no token.
        refused: told of each refusal.

    """

    def __init__(
        self, app: ASGIApp, tokens: Tokens, open_paths: frozenset[str], refused: Callable[[str], None]
    ) -> None:
        self._app, self._tokens, self._refused = app, tokens, refused
        self._open = open_paths | PAGES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) == 1 and self._tokens.accept(given[0]):
            await self._app(scope, receive, send)
            return
        self._refused("token")
        answer = problem(401, _reason(given))
        # RFC 6750, section 3.1: no error code where no token was given
        answer.headers["www-authenticate"] = 'Bearer error="invalid_token"' if given else "Bearer"
        await answer(scope, receive, send)


def _reason(given: Sequence[bytes]) -> str:
    if not given:
        return "authorization: expected a header 'Bearer TOKEN', got none; ask the operator for a token"
    return "authorization: expected one header 'Bearer TOKEN' with a token of this service, got another"


def _digest(token: bytes) -> bytes:
    """All of one length, so that comparing tells nothing of a token's own."""
    return hashlib.sha256(token).digest()
