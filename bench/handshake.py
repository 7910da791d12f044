"""What OpenSSL alone takes for the server's side of a login's TLS 1.2 handshake: no login can cost less."""

import ssl
import time
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL

from evertunnel.protocols.eap import openssl

_HANDSHAKES = 500
_READ_BYTES = 4096


def measure_handshake(folder: Path) -> float:
    """CPU milliseconds, with the certificates of an installation and the binding that we use; the keys included.

    The client is another OpenSSL in this process and is not counted. Nothing else happens in between, so what the
    processor has to fetch again in a server that does other things too is not counted either.
    """
    server, client = _build_server(folder), _build_client(folder)
    spent = min(_measure_once(server, client) for _ in range(3))
    return spent / 1e6


def _measure_once(server: SSL.Context, client: ssl.SSLContext) -> float:
    """CPU nanoseconds of one handshake."""
    spent = 0
    for _ in range(_HANDSHAKES):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = client.wrap_bio(incoming, outgoing)
        _advance(peer)
        began = time.thread_time_ns()
        connection = SSL.Connection(server, None)
        connection.set_accept_state()
        spent += time.thread_time_ns() - began
        for _ in range(2):
            received = outgoing.read()
            began = time.thread_time_ns()
            answer = _answer(connection, received)
            spent += time.thread_time_ns() - began
            incoming.write(answer)
            _advance(peer)
        began = time.thread_time_ns()
        connection.export_keying_material(b"client EAP encryption", 64)
        del connection
        spent += time.thread_time_ns() - began
    return spent / _HANDSHAKES


def _answer(connection: SSL.Connection, received: bytes) -> bytes:
    connection.bio_write(received)
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(_READ_BYTES)


def _advance(peer: ssl.SSLObject) -> None:
    with suppress(ssl.SSLWantReadError):
        peer.do_handshake()


def _build_server(folder: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.use_certificate_chain_file(str(folder / "server.pem"))
    context.use_privatekey_file(str(folder / "server.key"))
    openssl.use_anchors(context, x509.load_pem_x509_certificates((folder / "access.pem").read_bytes()))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def _build_client(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(folder / "root.pem")
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context
