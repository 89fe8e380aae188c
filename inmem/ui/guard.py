"""Access control: which requests are answered, and under which rules a browser shows the answers.

The explorer listens on loopback only. That keeps out other machines, but not other users of this machine or other
pages in the user's browser. An attacker's page can send requests to loopback, and by rebinding its own DNS name to
127.0.0.1 it can even read the answers. So every path begins with a random token, and the Host header must be ours. The
contents of the database are not trusted either: pages run only our own script, and load nothing from elsewhere.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_BYTES: Final = 24
"""192 random bits cannot be guessed."""

METHODS: Final = ("GET", "HEAD")
"""The explorer is read-only."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Headers of every answer, including refusals."""


class Guard:
    """Wraps an ASGI application and passes on only read requests with the token and an allowed Host header.

    Args:
        app: the guarded application, mounted at the token.
        token: the first part of every path.
        hosts: the allowed Host headers, including the port.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # The application has no lifespan events and no web sockets.
            return
        await self._answer(scope)(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> ASGIApp:
        if scope["method"] not in METHODS:
            return PlainTextResponse("only GET and HEAD", 405, {"Allow": ", ".join(METHODS)})
        if Headers(scope=scope).getlist("host") not in [[host] for host in self._hosts]:
            return PlainTextResponse("not the address of this explorer", 403)
        path: str = scope["path"]
        token = path.split("/", 2)[1] if path.startswith("/") else ""
        if not secrets.compare_digest(token.encode(), self._token):
            return PlainTextResponse("the address lacks its token: use the one that was printed", 403)
        if path == f"/{token}":
            return RedirectResponse(f"/{token}/")
        # `path` keeps the token, so URLs made by the application, as for redirects, keep it, too.
        scope["root_path"] = f"/{token}"
        return self._app


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
