"""Request bodies, bounded before they are read."""

from starlette.requests import Request


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
