"""HEAD, which load balancers and `curl -I` send: what GET answers, without its body."""

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Probed"]


class Probed:
    """An ASGI app that answers HEAD as GET; the server leaves the body out.

    RFC 9110, section 9.1, has both wherever there is one; the framework's routes have what they name only.

    Args:
        app: answers GET.
        paths: of pages and of health. What is computed is not computed for nothing.

    """

    def __init__(self, app: ASGIApp, paths: frozenset[str]) -> None:
        self._app, self._paths = app, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] in self._paths:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
