"""Bodies are bounded before anything is made of them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from evertunnel.web import bodies
from evertunnel.web.bodies import BoundedBodies, read_body


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def echo_read(request: Request) -> Response:
    body = await read_body(request, 10)
    return Response("too long" if body is None else body)


APP = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/read", echo_read, methods=["POST"])])


def parts(*sizes: int) -> Iterator[bytes]:
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize(("sizes", "status"), [((), 200), ((10,), 200), ((5, 5), 200), ((11,), 413), ((5, 5, 1), 413)])
def test_a_body_within_the_bound_arrives_whole_and_another_not_at_all(sizes: tuple[int, ...], status: int) -> None:
    with TestClient(BoundedBodies(APP, 10)) as client:
        answer = client.post("/", content=parts(*sizes))
        assert answer.status_code == status
        assert status != 200 or len(answer.content) == sum(sizes)
        assert client.get("/").status_code == 200


@pytest.mark.parametrize(("sizes", "text"), [((10,), "x" * 10), ((5, 6), "too long"), ((10**6,), "too long")])
def test_reading_stops_as_soon_as_it_is_too_long(sizes: tuple[int, ...], text: str) -> None:
    with TestClient(APP) as client:
        assert client.post("/read", content=parts(*sizes)).text == text


async def run(messages: list[Message], *, within: float) -> list[Any]:
    """What is sent to a client that sends these messages and then nothing more."""
    sent: list[Any] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    async with asyncio.timeout(within):
        await BoundedBodies(APP, 10)(scope, receive, send)
    return sent


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_WITHIN_SECONDS", 0.05)
    sent = asyncio.run(run([{"type": "http.request", "body": b"x", "more_body": True}], within=5))
    assert sent[0]["status"] == 408


def test_a_client_that_went_away_does_no_harm() -> None:
    asyncio.run(run([{"type": "http.disconnect"}], within=5))


def test_nothing_but_http_gets_through() -> None:
    async def call() -> None:
        async def never(*_arguments: Any) -> Any:
            raise AssertionError("asked")

        await BoundedBodies(never, 10)({"type": "websocket"}, never, never)

    asyncio.run(call())
