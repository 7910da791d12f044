"""Connections that never shake hands keep nobody out of a server with TLS, and none is forgotten or kept."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import httpx2
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from evertunnel import clock
from evertunnel.app import build_https_context, load_https_certificate
from evertunnel.pki.keys import generate_key
from evertunnel.web.asgi_server import ASGIServer
from evertunnel.web.bounded_listener import BoundedListener
from evertunnel.web.bounded_protocol import build_protocol

SHAKING = 10


@pytest.fixture(scope="module")
def listener() -> Iterator[BoundedListener]:
    async def hello(_request: Request) -> Response:
        return Response("hello")

    key, now = generate_key(), clock.now()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    context = build_https_context()
    load_https_certificate(context, (certificate,), key)
    bounded = BoundedListener(socket.create_server(("127.0.0.1", 0)), shaking_at_most=SHAKING)
    config = uvicorn.Config(
        Starlette(routes=[Route("/", hello)]),
        http=build_protocol(bounded),
        log_level="error",
        lifespan="off",
        ssl_context_factory=lambda _config, _default: context,
    )
    server = ASGIServer(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bounded])), daemon=True)
    thread.start()
    yield bounded
    server.should_exit = True
    thread.join(10)


def ask(port: int) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return httpx2.get(f"https://127.0.0.1:{port}/", timeout=10, verify=context).status_code


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x40\x00"], ids=["nothing", "half a ClientHello"])
def test_who_shakes_no_hands_keeps_nobody_out(listener: BoundedListener, said: bytes) -> None:
    port = listener.getsockname()[1]
    with ExitStack() as stack:
        silent = []
        for number in range(5 * SHAKING):
            silent.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
            silent[-1].sendall(said)
            if number % SHAKING == 0:
                assert ask(port) == 200
        assert silent[0].recv(1) == b""  # the first ones were ended
        silent[-1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)
    assert ask(port) == 200


def test_who_shook_hands_is_on_no_list_any_more(listener: BoundedListener) -> None:
    port = listener.getsockname()[1]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with ExitStack() as stack:
        for _ in range(2 * SHAKING):
            assert ask(port) == 200
        raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        shaken = stack.enter_context(context.wrap_socket(raw, server_hostname="x"))
        shaken.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for _ in range(2 * SHAKING):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        assert ask(port) == 200
        shaken.sendall(b"\r\n")
        assert shaken.recv(15) == b"HTTP/1.1 200 OK"
