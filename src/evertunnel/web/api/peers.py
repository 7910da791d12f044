"""Who asks over the admin socket: the kernel's word (SO_PEERCRED), checked before any route sees the request."""

import json
import pwd
import socket
import struct
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from evertunnel.web.bounded_protocol import BoundedProtocol

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class PeerProtocol(BoundedProtocol):
    """One that also notes the user id of the peer for the application: every local user may connect."""

    REQUEST_WITHIN_SECONDS = 60.0  # an import may be large

    def connection_made(self, transport: Any) -> None:
        """A connection begins."""
        peer: socket.socket = transport.get_extra_info("socket")
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.app_state = {**self.app_state, "user_id": _CREDENTIALS.unpack(credentials)[1]}
        super().connection_made(transport)


class AdministratorsOnly:
    """Lets administrators through and names them `actor`; everybody else gets 403, whatever the route."""

    def __init__(self, app: ASGIApp, administrators: frozenset[int]) -> None:
        self._app = app
        self._administrators = administrators

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":  # of the server itself, and of no caller
            await self._app(scope, receive, send)
        if scope["type"] != "http":  # nothing else is spoken here, so nothing else gets past the check
            return
        user_id = scope.get("state", {}).get("user_id")
        if user_id not in self._administrators:
            body = json.dumps({"title": "Only administrators may use this socket.", "status": 403}).encode()
            headers = [(b"content-type", b"application/problem+json")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        scope["state"]["actor"] = _name(user_id)
        await self._app(scope, receive, send)


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"
