"""Who may ask, what, and under which rules a browser shows the answer.

The explorer listens on loopback only. That keeps other machines out, but neither other users of this one nor other
pages in the user's browser: a page of an attacker can send requests to loopback, and by rebinding a name of its own to
127.0.0.1 even read the answers. So every address begins with a random token, and the Host header must be ours. What
the database holds is not trusted either: pages run no script but ours, and load nothing from anywhere else.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_BYTES: Final = 24
"""192 random bits: nobody guesses them."""

METHODS: Final = ("GET", "HEAD")
"""The explorer changes nothing."""

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
"""On every answer, refusals included."""


class Guard:
    """Lets pass what is asked with the token, under a name of ours, and only to read. Wraps an ASGI application.

    Args:
        app: what is guarded; to it the token is where it is mounted.
        token: the first part of every address.
        hosts: the Host headers that are ours, ports included.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            # Nothing here starts up or shuts down, or speaks over web sockets.
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
        # Not cut off from the path: addresses that are made there, such as those of redirects, keep the token.
        scope["root_path"] = f"/{token}"
        return self._app


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending
