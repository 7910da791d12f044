"""What strangers do to an HTTP server: silence, slowness, heads without end, too many at once."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from evertunnel.app import _asgi_server
from evertunnel.web.api.peers import PeerProtocol
from evertunnel.web.asgi_server import ASGIServer
from evertunnel.web.bounded_protocol import BoundedProtocol

LIMIT = 20


async def echo(request: Request) -> Response:
    return Response(await request.body() or b"hello")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    config = uvicorn.Config(
        app, http=BoundedProtocol, limit_concurrency=LIMIT, log_level="error", lifespan="off", timeout_keep_alive=5
    )
    server = ASGIServer(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def test_every_server_of_ours_has_it() -> None:
    with socket.socket() as listener:
        server, _ = _asgi_server(Starlette(), listener)
    assert server.config.http is BoundedProtocol
    assert issubclass(PeerProtocol, BoundedProtocol)


def ask(port: int) -> int:
    return httpx2.get(f"http://127.0.0.1:{port}/", timeout=10).status_code


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.settimeout(10)
    return connection


def is_ended(connection: socket.socket) -> bool:
    """Whether the server ends it, without a word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"


@pytest.mark.parametrize("said", [b"", b"GET / HT", HALF, HELLO, HELLO + HALF])
def test_silent_ones_keep_nobody_out(port: int, said: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(3 * LIMIT):
            connection = stack.enter_context(connect(port))
            connection.sendall(said)
            assert ask(port) == 200


def send_until_ended(connection: socket.socket, piece: bytes, *, at_most: int, pause: float = 0) -> int:
    """Send the same again and again; returns how many bytes it took until the server ended the connection."""
    sent = 0
    try:
        while sent < at_most:
            connection.sendall(piece)
            sent += len(piece)
            time.sleep(pause)
    except (ConnectionResetError, BrokenPipeError):
        return sent
    return sent


@pytest.mark.parametrize("said", [b"", b"GET / HT", HALF, HELLO + HALF])
def test_who_does_not_come_to_the_end_of_a_request_is_ended(
    port: int, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(BoundedProtocol, "REQUEST_WITHIN_SECONDS", 0.5)
    with connect(port) as connection:
        connection.sendall(said)
        while said.startswith(HELLO) and not connection.recv(4096).endswith(b"hello"):
            pass
        assert is_ended(connection)


def test_who_sends_byte_by_byte_has_no_longer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "REQUEST_WITHIN_SECONDS", 0.5)
    with connect(port) as connection:
        assert send_until_ended(connection, b"\r\n", at_most=400, pause=0.05) < 400


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (b"GET /", b"a" * 4096),
        (b"GET / HTTP/1.1\r\nA: ", b"a" * 4096),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 600),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 600),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 4096),
    ],
    ids=["line", "header", "headers", "trailers", "extension of a chunk"],
)
def test_a_head_without_end_ends_the_connection(port: int, beginning: bytes, more: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(beginning)
        assert send_until_ended(connection, more, at_most=64 << 20) < 64 << 20
    assert ask(port) == 200


@pytest.mark.parametrize(("requests", "answered"), [(5, True), (5000, False)])
def test_requests_wait_for_answers_in_small_number(port: int, requests: int, answered: bool) -> None:
    with connect(port) as connection:
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall((HELLO * requests)[:-2])
            if answered:
                connection.sendall(HELLO[-2:])
        received = b""
        with suppress(ConnectionResetError):
            while received.count(b"hello") < requests and (data := connection.recv(65536)):
                received += data
    assert (received.count(b"hello") == requests) is answered
    assert ask(port) == 200


def test_a_large_body_and_several_requests_are_no_head(port: int) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        for _ in range(3):
            assert len(client.post("/", content=b"x" * 500_000).content) == 500_000
        assert client.get("/", headers={"x": "y" * 30_000}).status_code == 200
