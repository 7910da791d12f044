"""The TLS of RadSec fed with hostile bytes, in pieces: it is never open for somebody without a key.

An input is pieces of what a client sends, each after two octets of length, as for `tls_server`.
"""

import struct
from functools import partial

from evertunnel.servers.radsec_tls import RadSecContext, TLSClosedError
from tests.fuzz.target import Target
from tests.fuzz.targets import tls_server
from tests.unit.protocols.eap.conftest import House

_PIECES = 12


def build() -> Target:
    """What clients of EAP-TLS say, to a server that trusts whoever has a certificate of ours."""
    house = House()
    context = RadSecContext(
        chain=[house.server.certificate, house.issuing.certificate],
        key=house.server.key,
        trusted=[house.issuing.certificate],
        judge=lambda _der: "",
    )
    known = tls_server.build()
    return Target(partial(check, context), known.seeds, largest_bytes=known.largest_bytes, words=known.words)


def check(context: RadSecContext, data: bytes) -> None:
    """Feed it piece by piece, as a socket would: never nothing."""
    connection = context.new_connection()
    for _ in range(_PIECES):
        if len(data) < 3:
            return
        (length,) = struct.unpack("!H", data[:2])
        piece, data = data[2 : 2 + max(length, 1)], data[2 + max(length, 1) :]
        try:
            received = connection.receive(piece)
        except TLSClosedError as error:
            assert len(str(error)) < 1_000
            assert len(connection.take_outgoing()) < 20_000
            return
        assert not connection.is_open and received == b"", "open for somebody who proved no key"
        assert len(connection.take_outgoing()) < 20_000
