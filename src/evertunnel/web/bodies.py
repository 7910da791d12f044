"""Request bodies, bounded in size and time before anything is made of them."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WITHIN_SECONDS = 10.0


async def read_body(request: Request, maximum_bytes: int) -> bytes | None:
    """The body, or None as soon as it proves longer than allowed."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > maximum_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


class BoundedBodies:
    """Hands an application whole, small bodies only: 413 for a larger one, 408 for one that does not come."""

    def __init__(self, app: ASGIApp, maximum_bytes: int) -> None:
        self._app = app
        self._maximum_bytes = maximum_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        try:
            async with asyncio.timeout(_WITHIN_SECONDS):
                body = await self._read(receive)
        except TimeoutError:
            await Response(status_code=408)(scope, receive, send)
            return
        if body is None:
            await Response(status_code=413, headers={"Connection": "close"})(scope, receive, send)
            return
        given = False

        async def give() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, give, send)

    async def _read(self, receive: Receive) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b""  # the client went away; nobody waits for an answer
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._maximum_bytes:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)
