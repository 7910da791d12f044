"""The TLS server fed with hostile bytes, in pieces: it says TLSError or goes on, and never that a key was proven.

An input is pieces of what a client sends, each after two octets of length.
"""

import struct
from functools import partial

from evertunnel.protocols.eap.tls_server import TLSError
from tests.fuzz.target import Target
from tests.peers.certificates import build_stolen_pem
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.unit.protocols.eap.conftest import House
from tests.unit.protocols.eap.test_tls_server import take_tls

# More rounds of TLS than any handshake has.
_PIECES = 12


def build() -> Target:
    """Both flights of real clients, in both versions, with a certificate, without, and with one that is stolen."""
    house = House()
    seeds = []
    for version in (TLS_12, TLS_13):
        for pem in (b"", None, build_stolen_pem(house.alice)):
            flights = _record(house, house.new_client(pem, version=version, fragment_bytes=16_000))
            seeds.append(_pack(flights))
            seeds.append(_pack([flight[at : at + 200] for flight in flights for at in range(0, len(flight), 200)]))
    words = [b"\x16\x03\x01", b"\x15\x03\x03\0\2\2\x28", b"\x14\x03\x03\0\1\1", b"\x17\x03\x03", b"\0\x2b", b"\0\x33"]
    return Target(partial(check, house), seeds, largest_bytes=16_384, words=words)


def check(house: House, data: bytes) -> None:
    """Feed it piece by piece."""
    handshake = house.context.new_handshake()
    for _ in range(_PIECES):
        if len(data) < 2:
            return
        (length,) = struct.unpack("!H", data[:2])
        piece, data = data[2 : 2 + length], data[2 + length :]
        try:
            answer = handshake.receive(piece)
        except TLSError as error:
            assert handshake.peer is None
            # Our flight stands before the alert where a piece held a good ClientHello and then something else.
            assert len(error.detail) < 1000 and len(error.alert) < 20_000
            return
        assert handshake.peer is None, "a key counts as proven that was not"
        assert len(answer) < 20_000


def _record(house: House, client: Client) -> list[bytes]:
    handshake, flights, message = house.context.new_handshake(), [], b""
    while answer := take_tls(client, message):
        flights.append(answer)
        try:
            message = handshake.receive(answer)
        except TLSError:
            break
        if not message:
            break
    return flights


def _pack(pieces: list[bytes]) -> bytes:
    return b"".join(struct.pack("!H", len(piece)) + piece for piece in pieces)
