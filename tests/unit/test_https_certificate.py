"""The HTTPS side of a renewal: new connections see the new certificate, open ones are not disturbed."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from evertunnel.app import build_https_context, load_https_certificate
from tests.unit.pki.samples import make_key

KEY = make_key()


def make_certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)  # noqa: TID251
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(KEY, hashes.SHA256())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"still there\n")
    return await reader.readline()


def read_shown(writer: asyncio.StreamWriter) -> x509.Certificate:
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


async def renew_between_two_connections(first: x509.Certificate, second: x509.Certificate) -> None:
    context = build_https_context()
    load_https_certificate(context, [first], KEY)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    old = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    assert read_shown(old[1]) == first
    load_https_certificate(context, [second], KEY)
    new = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    assert read_shown(new[1]) == second
    for connection in (old, new):
        assert await ask(*connection) == b"still there\n"
        connection[1].close()
        await connection[1].wait_closed()
    server.close()
    await server.wait_closed()


def test_a_renewed_certificate_is_shown_to_new_connections_only() -> None:
    asyncio.run(renew_between_two_connections(make_certificate(), make_certificate()))
