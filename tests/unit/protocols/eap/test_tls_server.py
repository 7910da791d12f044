"""The server's half of TLS: whom it trusts, what it tells whom, and what it never does."""

import contextlib
import random
import ssl
import sys
from ssl import TLSVersion

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from evertunnel.protocols.eap import openssl
from evertunnel.protocols.eap.conversation import Accepted, Refused
from evertunnel.protocols.eap.tls_server import TLSError, TLSFailure, TLSHandshake
from tests.peers.certificates import (
    HOUR,
    SERVER,
    Credential,
    build_authority,
    build_leaf,
    build_stolen_pem,
    new_key,
)
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.unit.protocols.eap.conftest import House, Talk, hold_talk

CERTIFICATE_REQUEST = 13
VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])


def log_in(house: House, pem: bytes | None, version: TLSVersion, **options: object) -> tuple[Talk, Client]:
    client = house.new_client(pem, version=version, **options)
    return hold_talk(house.new_conversation(), client), client


def assert_refused(
    house: House, pem: bytes | None, version: TLSVersion, failure: TLSFailure, alert: str
) -> bytes | None:
    """The login fails for the reason, the client is told by the alert. Returns the certificate that was shown."""
    talk, client = log_in(house, pem, version)
    assert isinstance(talk.turn, Refused)
    assert talk.turn.failed.failure is failure
    assert alert in client.alert
    assert talk.decisions == 0
    assert talk.lines[-1] == "server: Failure"
    assert talk.lines[-3].startswith("server: TLS "), "the alert comes in an EAP-Request and is answered"
    return talk.turn.failed.certificate_der


@VERSIONS
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_keys_of_every_kind_are_accepted(house: House, kind: str, version: TLSVersion) -> None:
    credential = build_leaf(house.issuing, "bob@corp.example", key=new_key(kind))
    talk, _ = log_in(house, credential.pem, version)
    assert isinstance(talk.turn, Accepted)
    assert talk.turn.peer.certificate_der == credential.der


@VERSIONS
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_our_own_key_may_be_of_every_kind(house: House, kind: str, version: TLSVersion) -> None:
    server = build_leaf(house.issuing, "vpn.example.test", usages=SERVER, key=new_key(kind))
    house.context = house.new_context(chain=[server.certificate, house.issuing.certificate], key=server.key)
    assert isinstance(log_in(house, house.alice.pem, version)[0].turn, Accepted)


@VERSIONS
@pytest.mark.parametrize("octets", [1, 1_000])
def test_what_is_to_be_sent_may_be_longer_than_one_reading(
    house: House, version: TLSVersion, octets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssl, "_READ_BYTES", octets)
    assert isinstance(log_in(house, house.alice.pem, version)[0].turn, Accepted)


@VERSIONS
def test_a_client_without_certificate_is_refused(house: House, version: TLSVersion) -> None:
    alert = "HANDSHAKE_FAILURE" if version == TLS_12 else "CERTIFICATE_REQUIRED"
    assert assert_refused(house, None, version, TLSFailure.CERTIFICATE_MISSING, alert) is None


@VERSIONS
def test_expired_says_expired(house: House, version: TLSVersion) -> None:
    old = build_leaf(house.issuing, "alice@corp.example", begins=-2 * HOUR, ends=-HOUR)
    shown = assert_refused(house, old.pem, version, TLSFailure.CERTIFICATE_EXPIRED, "CERTIFICATE_EXPIRED")
    assert shown == old.der


@VERSIONS
def test_a_certificate_from_the_future_is_not_valid_now(house: House, version: TLSVersion) -> None:
    early = build_leaf(house.issuing, "alice@corp.example", begins=HOUR, ends=2 * HOUR)
    assert_refused(house, early.pem, version, TLSFailure.CERTIFICATE_EXPIRED, "BAD_CERTIFICATE")


@VERSIONS
def test_revoked_says_revoked(house: House, version: TLSVersion) -> None:
    house.withdrawn.add(house.alice.der)
    shown = assert_refused(house, house.alice.pem, version, TLSFailure.CERTIFICATE_REVOKED, "CERTIFICATE_REVOKED")
    assert shown == house.alice.der


@VERSIONS
def test_revocation_counts_from_the_next_handshake_on_and_so_does_its_end(house: House, version: TLSVersion) -> None:
    assert isinstance(log_in(house, house.alice.pem, version)[0].turn, Accepted)
    house.withdrawn.add(house.alice.der)
    assert isinstance(log_in(house, house.alice.pem, version)[0].turn, Refused)
    house.withdrawn.clear()
    assert isinstance(log_in(house, house.alice.pem, version)[0].turn, Accepted)


@VERSIONS
@pytest.mark.parametrize("send_chain", [True, False])
def test_a_foreign_authority_is_unknown_ca_and_the_leaf_is_known(
    house: House, version: TLSVersion, send_chain: bool
) -> None:
    foreign = build_leaf(build_authority("Elsewhere"), "alice@corp.example")
    sent = foreign if send_chain else Credential(foreign.certificate, foreign.key)
    assert assert_refused(house, sent.pem, version, TLSFailure.CERTIFICATE_FOREIGN, "UNKNOWN_CA") == foreign.der


@VERSIONS
def test_a_self_signed_certificate_is_foreign(house: House, version: TLSVersion) -> None:
    own = build_authority("alice@corp.example")
    assert_refused(house, own.pem, version, TLSFailure.CERTIFICATE_FOREIGN, "UNKNOWN_CA")


@VERSIONS
def test_an_authority_of_the_same_name_is_foreign(house: House, version: TLSVersion) -> None:
    twin = build_leaf(build_authority("Issuing", issuer=build_authority("Root")), "alice@corp.example")
    assert_refused(house, twin.pem, version, TLSFailure.CERTIFICATE_FOREIGN, "UNKNOWN_CA")


@VERSIONS
def test_a_forged_signature_under_our_authoritys_name_is_foreign(house: House, version: TLSVersion) -> None:
    forged = build_leaf(house.issuing, "alice@corp.example", signing_key=new_key())
    assert_refused(house, forged.pem, version, TLSFailure.CERTIFICATE_FOREIGN, "DECRYPT_ERROR")


@VERSIONS
def test_a_sister_of_the_trusted_authority_is_foreign(house: House, version: TLSVersion) -> None:
    # The issuing authority is the anchor, not the root above it.
    sister = build_leaf(build_authority("Sister", issuer=house.root), "alice@corp.example")
    assert_refused(house, sister.pem, version, TLSFailure.CERTIFICATE_FOREIGN, "UNKNOWN_CA")


@VERSIONS
def test_a_leaf_cannot_sign_another(house: House, version: TLSVersion) -> None:
    child = build_leaf(house.alice, "root@corp.example")
    assert_refused(house, child.pem, version, TLSFailure.CERTIFICATE_USAGE, "UNKNOWN_CA")


@VERSIONS
def test_a_server_certificate_is_an_unsupported_certificate(house: House, version: TLSVersion) -> None:
    wrong = build_leaf(house.issuing, "vpn.example.test", usages=SERVER)
    shown = assert_refused(house, wrong.pem, version, TLSFailure.CERTIFICATE_USAGE, "UNSUPPORTED_CERTIFICATE")
    assert shown == wrong.der


@VERSIONS
def test_a_stolen_certificate_without_its_key_is_refused(house: House, version: TLSVersion) -> None:
    stolen = build_stolen_pem(house.alice)
    assert assert_refused(house, stolen, version, TLSFailure.KEY_NOT_PROVEN, "DECRYPT_ERROR") == house.alice.der


@VERSIONS
def test_a_client_that_does_not_trust_us_is_told_apart(house: House, version: TLSVersion) -> None:
    talk, client = log_in(house, house.alice.pem, version, server_name="other.example.test")
    assert client.alert == "CERTIFICATE_VERIFY_FAILED"
    assert isinstance(talk.turn, Refused)
    assert talk.turn.failed.failure is TLSFailure.CLIENT_ALERT
    assert "bad certificate" in talk.turn.failed.detail
    assert talk.lines[-2:] == ["client: TLS alert 42", "server: Failure"]


@VERSIONS
def test_should_the_revocation_check_break_the_answer_is_no(
    house: House, version: TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)  # where cffi reports what a callback raised

    def broken(_der: bytes) -> bool:
        raise RuntimeError("the list is gone")

    house.context = house.new_context(is_revoked=broken)
    talk, _ = log_in(house, house.alice.pem, version)
    assert isinstance(talk.turn, Refused)
    assert talk.decisions == 0
    assert [str(each.exc_value) for each in printed] == ["the list is gone"]


@VERSIONS
def test_a_session_is_never_resumed_and_the_certificate_asked_for_again(house: House, version: TLSVersion) -> None:
    first = house.new_client(version=version)
    hold_talk(house.new_conversation(), first)
    second = house.new_client(version=version, context=first.context, resume=first.tls.session)
    house.withdrawn.add(house.alice.der)
    talk = hold_talk(house.new_conversation(), second)
    assert second.tls.session_reused is False
    assert isinstance(talk.turn, Refused)
    assert talk.turn.failed.failure is TLSFailure.CERTIFICATE_REVOKED


@VERSIONS
def test_a_session_is_not_resumed_either_while_its_first_connection_is_open(house: House, version: TLSVersion) -> None:
    # OpenSSL forgets a session whose connection was dropped; as long as that is held the session could be found.
    first = house.new_client(version=version)
    held = shake_hands(house, first)
    second = house.new_client(version=version, context=first.context, resume=first.tls.session)
    house.withdrawn.add(house.alice.der)
    with pytest.raises(TLSError) as refused:
        shake_hands(house, second)
    assert refused.value.failure is TLSFailure.CERTIFICATE_REVOKED
    assert held.peer is not None


def shake_hands(house: House, client: Client) -> TLSHandshake:
    """TLS alone, until both are done."""
    server, flight = house.context.new_handshake(), b""
    while not (server.peer and client.handshake_done):
        flight = server.receive(take_tls(client, flight))
        if server.peer:
            take_tls(client, flight)
    return server


def test_handshakes_side_by_side_are_not_mixed_up(house: House) -> None:
    bob = build_leaf(house.issuing, "bob@corp.example")
    house.withdrawn.add(house.alice.der)
    clients = [house.new_client(version=TLS_12), house.new_client(bob.pem, version=TLS_12)]
    servers = [house.context.new_handshake() for _ in clients]
    flights = [server.receive(take_tls(client, b"")) for client, server in zip(clients, servers, strict=True)]
    answers = [take_tls(client, flight) for client, flight in zip(clients, flights, strict=True)]
    with pytest.raises(TLSError) as refused:
        servers[0].receive(answers[0])
    servers[1].receive(answers[1])
    assert refused.value.certificate_der == house.alice.der
    assert servers[1].peer is not None
    assert servers[1].peer.certificate_der == bob.der


def take_tls(client: Client, message: bytes) -> bytes:
    """What a client's TLS says to a message, without EAP around it."""
    flags = b"\0" if message else b"\x20"
    return client.answer(b"\x01\x01" + (6 + len(message)).to_bytes(2, "big") + b"\x0d" + flags + message)[6:]


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_12_is_refused(house: House, version: int) -> None:
    old = SSL.Context(SSL.TLS_CLIENT_METHOD)
    old.set_min_proto_version(version)
    old.set_max_proto_version(version)
    old.set_cipher_list(b"ALL:@SECLEVEL=0")
    assert "protocol" in refuse_hello(house, old)


@pytest.mark.parametrize("ciphers", [b"AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-SHA256", b"DHE-RSA-AES256-GCM-SHA384"])
def test_tls_12_without_forward_secrecy_or_authenticated_encryption_is_refused(house: House, ciphers: bytes) -> None:
    weak = SSL.Context(SSL.TLS_CLIENT_METHOD)
    weak.set_max_proto_version(SSL.TLS1_2_VERSION)
    weak.set_cipher_list(ciphers)
    assert "no shared cipher" in refuse_hello(house, weak)


def refuse_hello(house: House, context: SSL.Context) -> str:
    client = SSL.Connection(context, None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    with pytest.raises(TLSError) as refused:
        house.context.new_handshake().receive(client.bio_read(4_096))
    assert refused.value.failure is TLSFailure.PROTOCOL
    return refused.value.detail


def test_a_maximum_version_is_kept(house: House) -> None:
    house.context = house.new_context(maximum_version=SSL.TLS1_2_VERSION)
    talk, client = log_in(house, house.alice.pem, TLS_12)
    assert isinstance(talk.turn, Accepted)
    talk, client = log_in(house, house.alice.pem, TLS_13)
    assert isinstance(talk.turn, Refused)
    assert client.alert == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_the_first_flight_names_no_authorities_and_no_weak_signatures(house: House) -> None:
    """Profiles say which certificate to choose. With names it would need a second packet (docs/decisions/0017)."""
    access = build_authority("Conditional Access", issuer=house.root)
    context = house.new_context(trusted=[house.issuing.certificate, access.certificate])
    flight = context.new_handshake().receive(take_tls(house.new_client(version=TLS_12), b""))
    requested = next(message[4:] for message in split_messages(flight) if message[0] == CERTIFICATE_REQUEST)
    signatures = requested[1 + requested[0] :]  # after the certificate types (RFC 5246 7.4.4)
    length = int.from_bytes(signatures[:2], "big")
    offered = {int.from_bytes(signatures[at : at + 2], "big") for at in range(2, 2 + length, 2)}
    assert signatures[2 + length :] == b"\0\0"
    # ecdsa, rsa_pss_rsae and rsa_pkcs1 (RFC 8446 4.2.3): nothing with SHA-1, SHA-224 or DSA.
    assert offered == {0x403, 0x503, 0x603, 0x804, 0x805, 0x806, 0x401, 0x501, 0x601}


def split_messages(flight: bytes) -> list[bytes]:
    """The handshake messages of plain records, one in each."""
    messages = []
    while flight:
        length = int.from_bytes(flight[3:5], "big")
        messages.append(flight[5 : 5 + length])
        flight = flight[5 + length :]
    return messages


def test_our_chain_is_our_leaf_and_the_issuing_authority(house: House) -> None:
    flight = house.context.new_handshake().receive(take_tls(house.new_client(version=TLS_12), b""))
    assert house.server.der in flight
    assert house.issuing.certificate.public_bytes(Encoding.DER) in flight
    assert house.root.certificate.public_bytes(Encoding.DER) not in flight


@VERSIONS
def test_noise_fails_the_handshake_and_nothing_else(house: House, version: TLSVersion) -> None:
    # A fixed seed; hypothesis would make thousands of TLS connections for one shrink.
    chance = random.Random(version)
    hello = take_tls(house.new_client(version=version), b"")
    for _ in range(150):
        handshake = house.context.new_handshake()
        if chance.random() < 0.5:
            handshake.receive(hello)
        feed(handshake, chance.randbytes(chance.randint(1, 300)))
        changed = bytearray(hello)
        changed[chance.randrange(len(hello))] ^= chance.randint(1, 255)
        feed(house.context.new_handshake(), bytes(changed))
        feed(house.context.new_handshake(), hello[: chance.randrange(len(hello))])


def feed(handshake: TLSHandshake, data: bytes) -> None:
    with contextlib.suppress(TLSError):
        handshake.receive(data)
    assert handshake.peer is None


def test_the_peers_library_is_not_ours() -> None:
    # Two builds of OpenSSL with years between them; else these tests would ask a program about itself.
    assert ssl.OPENSSL_VERSION.encode() != SSL.OpenSSL_version(SSL.OPENSSL_VERSION)


def test_nothing_is_no_failure_before_or_between_flights(house: House) -> None:
    handshake, client = house.context.new_handshake(), house.new_client()
    assert handshake.receive(b"") == b""
    assert handshake.receive(take_tls(client, b"")) != b""
    assert handshake.receive(b"") == b""
    assert handshake.peer is None
