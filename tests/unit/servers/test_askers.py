"""Who asks: by address, by network, over TLS; and with which of two secrets."""

import pytest

from evertunnel.errors import UnavailableError
from evertunnel.model import Gateway
from evertunnel.protocols.radius.packet import ForgedError, PacketError, decode_access_request
from evertunnel.servers.askers import Asker, Askers
from evertunnel.storage.snapshot import SealedGateway
from tests.peers import radius

EAP = b"\x02\x01\x00\x05\x01"


def load(*addresses: str, radsec: bool = False) -> Askers:
    made = Askers()
    gateways = [Gateway(address, address, address, radsec=radsec) for address in addresses]
    made.load([(each, SealedGateway(each.name.encode(), b"")) for each in gateways], lambda _gateway, sealed: sealed)
    return made


def find(askers: Askers, address: str) -> str | None:
    found = askers.find(address)
    return found.gateway.name if found is not None else None


@pytest.mark.parametrize(
    ("asks_from", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.8", "192.0.2.0/28"),
        ("192.0.2.16", "192.0.2.0/24"),
        ("::ffff:192.0.2.8", "192.0.2.0/28"),
        ("192.0.3.1", None),
        ("2001:db8:0:1::9", "2001:db8:0:1::/64"),
        ("2001:db8::1", "2001:db8::/32"),
        ("2001:DB8::7", "2001:db8::7"),
        ("fe80::1%eth0", None),
        ("::1", None),
        ("0.0.0.0", None),
    ],
)
def test_the_longest_prefix_wins(asks_from: str, expected: str | None) -> None:
    askers = load("192.0.2.0/24", "192.0.2.7", "192.0.2.0/28", "2001:db8::/32", "2001:db8:0:1::/64", "2001:db8::7")
    assert find(askers, asks_from) == expected


def test_the_name_of_radsec_is_nobodys_address_and_only_of_whom_it_was_given_to() -> None:
    assert find(load("192.0.2.7", radsec=True), "radsec:192.0.2.7") == "192.0.2.7"
    assert find(load("192.0.2.7"), "radsec:192.0.2.7") is None
    asker = load("192.0.2.7", radsec=True).find("radsec:192.0.2.7")
    assert asker is not None
    assert asker.secrets == (b"radsec",)


def test_one_that_is_disabled_may_not_ask_and_may_say_what_is_over() -> None:
    """Its sessions are cut when it is disabled; its accounting is what shows that they are gone."""
    made = Askers()
    wide, narrow = Gateway("a", "a", "192.0.2.0/24"), Gateway("b", "b", "192.0.2.7", enabled=False)
    made.load([(each, SealedGateway(b"x", b"")) for each in (wide, narrow)], lambda _gateway, sealed: sealed)
    told = made.find_any("192.0.2.7")
    assert told is not None and told.gateway == narrow
    assert made.find("192.0.2.7") is None, "not as the gateway around it either"
    assert find(made, "192.0.2.8") == "a"


def test_one_that_is_disabled_or_whose_secret_does_not_open_is_left_out() -> None:
    def unseal(_gateway: Gateway, sealed: bytes) -> bytes:
        if sealed == b"broken":
            raise UnavailableError("it does not open")
        return sealed

    askers = Askers()
    askers.load(
        [
            (Gateway("a", "a", "192.0.2.1"), SealedGateway(b"broken", b"")),
            (Gateway("b", "b", "192.0.2.2", enabled=False), SealedGateway(b"b", b"")),
            (Gateway("c", "c", "192.0.2.3"), SealedGateway(b"c", b"")),
        ],
        unseal,
    )
    assert [find(askers, f"192.0.2.{number}") for number in (1, 2, 3)] == [None, None, "c"]


def test_each_of_two_secrets_is_known_by_its_packets() -> None:
    askers = Askers()
    gateway = Gateway("g", "g", "192.0.2.1")
    askers.load([(gateway, SealedGateway(b"new", b"", b"old"))], lambda _gateway, sealed: sealed)
    asker = askers.find("192.0.2.1")
    assert asker is not None
    for position, secret in ((1, b"old"), (0, b"new")):
        data = radius.build_request(secret, radius.split_eap(EAP))
        request, used = asker.read(decode_access_request, data)
        assert (used, request.eap_message) == (secret, EAP)
        assert askers.take_used() == {"g": {position}}
    assert askers.take_used() == {}
    with pytest.raises(ForgedError):
        asker.read(decode_access_request, radius.build_request(b"neither", radius.split_eap(EAP)))
    assert askers.take_used() == {}


def test_what_is_malformed_is_tried_once_only() -> None:
    tried = []

    def decode(_data: bytes, secret: bytes) -> None:
        tried.append(secret)
        raise PacketError("malformed")

    with pytest.raises(PacketError):
        Asker(Gateway("g", "g", ""), (b"new", b"old")).read(decode, b"")
    assert tried == [b"new"]
