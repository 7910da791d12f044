"""Logins through the policy server, line by line."""

from pathlib import Path
from ssl import TLSVersion

import pytest

from evertunnel.model import AttemptKind, CertificateKind, Outcome, Reason, SessionState, TunnelKind
from tests.peers import radius
from tests.peers.certificates import new_key
from tests.peers.eap_tls import TLS_12, TLS_13
from tests.peers.tls_keys import compute_msk
from tests.unit.servers.conftest import Scene

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
LOGIN = [(radius.CALLING_STATION_ID, b"192.0.2.7[4500]"), (radius.NAS_PORT, b"\0\0\0\x2a")]


def test_a_login_with_tls_12(scene: Scene) -> None:
    """What we say first fits into one packet, so four of the gateway's are enough for a client that can say as much."""
    scene.gateway.log_in(scene.new_client(version=TLS_12))
    assert scene.gateway.lines == [
        "gateway: Access-Request, Identity",
        "server: Access-Challenge, TLS start",
        "gateway: Access-Request, TLS handshake",
        "server: Access-Challenge, TLS handshake",
        "gateway: Access-Request, TLS fragment",
        "server: Access-Challenge, TLS empty",
        "gateway: Access-Request, TLS last fragment",
        "server: Access-Challenge, TLS handshake",
        "gateway: Access-Request, TLS empty",
        "server: Access-Accept, Success",
    ]


def test_a_login_with_tls_13(scene: Scene) -> None:
    client = scene.new_client(version=TLS_13, fragment_bytes=4_000)
    scene.gateway.log_in(client)
    assert scene.gateway.lines == [
        "gateway: Access-Request, Identity",
        "server: Access-Challenge, TLS start",
        "gateway: Access-Request, TLS handshake",
        "server: Access-Challenge, TLS fragment",
        "gateway: Access-Request, TLS empty",
        "server: Access-Challenge, TLS last fragment",
        "gateway: Access-Request, TLS change cipher spec",
        "server: Access-Challenge, TLS fragment",
        "gateway: Access-Request, TLS empty",
        "server: Access-Challenge, TLS last fragment",
        "gateway: Access-Request, TLS empty",
        "server: Access-Accept, Success",
    ]
    assert client.committed


def test_a_login_that_begins_with_eap_start(scene: Scene) -> None:
    client = scene.new_client()
    asked = scene.gateway.ask(b"")
    assert scene.gateway.lines == ["gateway: Access-Request, EAP-Start", "server: Access-Challenge, Identity"]
    answer = scene.gateway.ask(client.answer(asked.eap), asked.state)
    while answer.code == radius.CHALLENGE:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.code == radius.ACCEPT


@VERSIONS
def test_the_gateway_gets_the_keys_the_client_has(scene: Scene, tmp_path: Path, version: TLSVersion) -> None:
    client = scene.new_client(version=version, keylog=tmp_path / "keys.log")
    accept = scene.gateway.log_in(client)
    assert accept.session_keys == compute_msk(client, tmp_path / "keys.log")


def test_the_accept_carries_session_and_owner_and_no_time_limit_of_its_own(scene: Scene) -> None:
    accept = scene.gateway.log_in(scene.new_client())
    (session,) = scene.installation.list_sessions()
    assert accept.packet[radius.CLASS] == [session.id.encode()]
    assert accept.packet[radius.USER_NAME] == [b"alice@corp.example"]
    assert radius.SESSION_TIMEOUT not in accept.packet
    assert accept.state is None


def test_a_policys_session_timeout_goes_into_the_accept(scene: Scene) -> None:
    scene.installation.add_policy("First", position=1, settings={"session_timeout_seconds": 3_600})
    accept = scene.gateway.log_in(scene.new_client())
    assert accept.packet[radius.SESSION_TIMEOUT] == [(3_600).to_bytes(4, "big")]


def test_a_login_is_recorded_with_its_story(scene: Scene) -> None:
    gateway = scene.new_gateway(attributes=LOGIN)
    gateway.log_in(scene.new_client(version=TLS_12, identity="Alice@Corp.Example"))
    (attempt,) = scene.installation.list_attempts()
    (session,) = scene.installation.list_sessions()
    assert (attempt.kind, attempt.outcome, attempt.reason) == (
        AttemptKind.USER_TUNNEL,
        Outcome.GRANTED,
        Reason.GRANTED,
    )
    assert (attempt.user_name, attempt.gateway_name) == ("alice@corp.example", "gw1")
    assert (attempt.claimed_identity, attempt.client_address) == ("Alice@Corp.Example", "192.0.2.7[4500]")
    assert attempt.certificate_id == scene.installation.find_certificate_id(scene.alice)
    assert attempt.session_id == session.id
    assert (session.kind, session.state) == (TunnelKind.USER, SessionState.PENDING)
    assert (session.unique_id, session.attempt_id) == (42, attempt.id)
    assert session.user_id == attempt.user_id


@pytest.mark.parametrize("kind", [CertificateKind.USER, CertificateKind.SHORT_LIVED])
@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048"])
def test_user_and_short_lived_certificates_of_every_key_are_accepted(
    scene: Scene, kind: CertificateKind, key: str
) -> None:
    credential = scene.installation.issue(kind, key=new_key(key))
    scene.follow()
    assert scene.gateway.log_in(scene.new_client(credential)).code == radius.ACCEPT


@pytest.mark.parametrize(
    "identity",
    ["alice@corp.example", "ALICE@CORP.EXAMPLE", "@corp.example", "anonymous@corp.example", "anonymous", ""],
)
def test_the_own_name_and_nobodys_name_are_accepted(scene: Scene, identity: str) -> None:
    assert scene.gateway.log_in(scene.new_client(identity=identity)).code == radius.ACCEPT


@VERSIONS
@pytest.mark.parametrize("mtu", [64, 150, 250, 576, 1_000, 1_280, 1_400, 1_500, 9_000])
def test_framed_mtu_bounds_eap_in_answers(scene: Scene, version: TLSVersion, mtu: int) -> None:
    gateway = scene.new_gateway(attributes=[(radius.FRAMED_MTU, mtu.to_bytes(4, "big"))])
    client = scene.new_client(version=version, fragment_bytes=1_300)
    assert gateway.log_in(client).code == radius.ACCEPT
    longest = max(len(answer.eap) for answer in gateway.answers)
    # Four octets of the frame are the header below EAP (RFC 3579 2.4, IEEE 802.1X).
    assert longest <= min(mtu - 4, 1_390)
    in_pieces = "server: Access-Challenge, TLS fragment" in gateway.lines
    assert longest > min(mtu - 4, 1_390) - (20 if in_pieces else 100), "the room is used"


@pytest.mark.parametrize("mtu", [b"", b"\0\0\1", b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_framed_mtu_that_makes_no_sense_does_no_harm(scene: Scene, mtu: bytes) -> None:
    gateway = scene.new_gateway(attributes=[(radius.FRAMED_MTU, mtu)])
    assert gateway.log_in(scene.new_client()).code == radius.ACCEPT
    assert max(len(answer.data) for answer in gateway.answers) < 1_472, "one datagram, one Ethernet frame"


@VERSIONS
@pytest.mark.parametrize("mtu", [150, 400, 1_400])
@pytest.mark.parametrize("fragment_bytes", [100, 400, 1_400])
def test_fragments_both_ways(scene: Scene, version: TLSVersion, mtu: int, fragment_bytes: int) -> None:
    gateway = scene.new_gateway(attributes=[(radius.FRAMED_MTU, mtu.to_bytes(4, "big"))])
    assert gateway.log_in(scene.new_client(version=version, fragment_bytes=fragment_bytes)).code == radius.ACCEPT


def test_the_packets_of_one_conversation_may_come_from_different_ports(scene: Scene) -> None:
    ports = iter(range(50_000, 50_100))
    scene.gateway.road = lambda data: scene.carry(data, ("127.0.0.1", next(ports)))
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_two_logins_at_once_do_not_mix(scene: Scene) -> None:
    scene.installation.add_user("bob@corp.example")
    bob = scene.installation.issue(user="bob@corp.example")
    scene.follow()
    clients = [scene.new_client(), scene.new_client(bob, identity="bob@corp.example")]
    answers = [scene.gateway.ask(client.answer_identity()) for client in clients]
    while all(answer.code == radius.CHALLENGE for answer in answers):
        answers = [
            scene.gateway.ask(client.answer(answer.eap), answer.state)
            for client, answer in zip(clients, answers, strict=True)
        ]
    names = [answer.packet[radius.USER_NAME] for answer in answers]
    assert names == [[b"alice@corp.example"], [b"bob@corp.example"]]


def test_a_login_may_be_one_of_many_in_a_row(scene: Scene) -> None:
    for _ in range(20):
        assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT
    assert len(scene.installation.list_attempts()) == 20


def test_a_renewed_certificate_is_shown_to_new_logins_and_open_ones_go_on_with_theirs(scene: Scene) -> None:
    client = scene.new_client()
    answer = scene.gateway.ask(client.answer_identity())
    answer = scene.gateway.ask(client.answer(answer.eap), answer.state)  # our certificate is on its way
    renewed = scene.installation.renew_server_certificate()
    scene.server.use_tls(scene.build_tls(renewed))
    while answer.code == radius.CHALLENGE:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.code == radius.ACCEPT
    assert client.server_certificate() == scene.installation.server_certificate
    second = scene.new_client()
    assert scene.gateway.log_in(second).code == radius.ACCEPT
    assert second.server_certificate() == renewed
