"""PEAP: who gets in, who is refused and why, and what a hostile client tries."""

import json
import struct
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel import clock
from evertunnel.actions.deny import deny
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.model import Authority, Reason, SubjectKind
from tests.peers import radius
from tests.peers.certificates import build_authority, build_leaf
from tests.peers.peap import EXTENSIONS, MSCHAPV2, InnerMSCHAPv2, PEAPClient, Twist
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import (
    ALICE,
    DAVE,
    PASSWORD,
    TLS_12,
    TLS_13,
    VERSIONS,
    allow_passwords,
    assert_accepted,
    assert_refused,
    new_certificate_client,
    new_inner_tls,
    new_password_client,
    new_peap,
)

HOUR = timedelta(hours=1)


@VERSIONS
def test_a_certificate_inside_gets_in(scene: Scene, version: int) -> None:
    client = new_certificate_client(scene, version=version)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, ALICE)
    attempt = scene.installation.list_attempts()[-1]
    assert attempt.claimed_identity == "anonymous@corp.example"
    steps = [text for _, text in json.loads(attempt.story)["steps"]]
    assert f"inside it the client calls itself '{ALICE}'" in steps
    assert "inner method eap-tls" in steps
    assert "the inner method is bound to the tunnel" in steps
    (session,) = scene.installation.list_sessions()
    assert (session.method, session.crypto_bound) == ("peap-eap-tls", True)


@VERSIONS
def test_a_password_inside_gets_in(scene: Scene, version: int) -> None:
    allow_passwords(scene)
    client = new_password_client(scene, version=version)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, DAVE)
    (session,) = scene.installation.list_sessions()
    assert (session.method, session.device_id, session.certificate_id) == ("peap-eap-mschapv2", None, None)


@VERSIONS
@pytest.mark.parametrize("framed_mtu", [150, 400, 1_400])
def test_no_packet_of_ours_is_longer_than_the_gateway_takes(scene: Scene, version: int, framed_mtu: int) -> None:
    gateway = scene.new_gateway(attributes=[(12, struct.pack("!I", framed_mtu))])
    client = new_certificate_client(scene, version=version, fragment_bytes=100)
    assert gateway.log_in(client).code == radius.ACCEPT
    assert max(len(answer.eap) for answer in gateway.answers) <= framed_mtu - 4


@VERSIONS
def test_a_chain_of_sixteen_kibibytes_gets_in_at_the_smallest_mtu(scene: Scene, version: int) -> None:
    more = tuple(build_authority(f"Another authority, number {number}").certificate for number in range(42))
    long = replace(scene.alice, chain=(*scene.alice.chain, *more))
    assert sum(len(each.public_bytes(Encoding.DER)) for each in long.chain) > 16 * 1024
    gateway = scene.new_gateway(attributes=[(12, struct.pack("!I", 150))])
    client = new_certificate_client(scene, long, version=version, fragment_bytes=140)
    assert gateway.log_in(client).code == radius.ACCEPT


@pytest.mark.parametrize("identity", ["dave@corp.example", "CORP\\dave", "corp.example\\DAVE", " Dave@Corp.Example"])
def test_a_user_is_known_by_the_forms_of_the_name(scene: Scene, identity: str) -> None:
    allow_passwords(scene)
    client = new_password_client(scene, identity=identity, outer_identity=identity)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, DAVE)


@pytest.mark.parametrize(
    "identity", ["dave", "EVIL\\dave", "host/dave.corp.example", "dave@evil.example", "\\dave", ""]
)
def test_other_forms_name_nobody(scene: Scene, identity: str) -> None:
    allow_passwords(scene)
    client = new_password_client(scene, identity=identity, name=identity or "x")
    assert_refused(scene, scene.gateway.log_in(client), Reason.PASSWORD_WRONG)


def test_a_short_domain_of_two_users_names_neither(scene: Scene) -> None:
    from tests.unit.servers.passwords import add_dave

    allow_passwords(scene)
    add_dave(scene, "dave@corp.test")
    scene.follow()
    client = new_password_client(scene, identity="CORP\\dave")
    assert_refused(scene, scene.gateway.log_in(client), Reason.PASSWORD_WRONG)
    client = new_password_client(scene, identity="corp.example\\dave")
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, DAVE)


@pytest.mark.parametrize(
    ("inner", "outer", "reason"),
    [
        ("boss@corp.example", "anonymous@corp.example", Reason.IDENTITY_MISMATCH),
        (ALICE, "boss@corp.example", Reason.OUTER_IDENTITY_MISMATCH),
        (ALICE, "anonymous@evil.example", Reason.OUTER_IDENTITY_MISMATCH),
    ],
)
def test_names_inside_and_outside_are_held_against_the_certificate(
    scene: Scene, inner: str, outer: str, reason: Reason
) -> None:
    client = new_certificate_client(scene, identity=inner, outer_identity=outer)
    assert_refused(scene, scene.gateway.log_in(client), reason)
    assert scene.installation.list_attempts()[-1].user_name == ALICE
    assert client.result == 2, "the client was not told inside its tunnel"


@VERSIONS
def test_a_certificate_inside_passes_the_whole_decision(scene: Scene, version: int) -> None:
    deny(scene.installation.store, SubjectKind.USER, ALICE, reason="left", actor="t", now=clock.now())
    scene.follow()
    client = new_certificate_client(scene, version=version)
    assert_refused(scene, scene.gateway.log_in(client), Reason.USER_DENIED)
    assert client.result == 2


@VERSIONS
def test_the_alert_inside_says_why(scene: Scene, version: int) -> None:
    old = build_leaf(scene.installation.as_issuer(Authority.ISSUING), ALICE, begins=-2 * HOUR, ends=-HOUR)
    client = new_certificate_client(scene, old, version=version)
    assert_refused(scene, scene.gateway.log_in(client), Reason.CERTIFICATE_EXPIRED)
    assert "certificate expired" in client.inner.tls.alert  # type: ignore[union-attr]
    certificate_id = scene.installation.find_certificate_id(scene.alice)
    revoke_certificate(scene.installation.store, certificate_id, reason="key compromise", actor="t", now=clock.now())
    scene.follow()
    client = new_certificate_client(scene, version=version)
    assert_refused(scene, scene.gateway.log_in(client), Reason.CERTIFICATE_REVOKED)
    assert "certificate revoked" in client.inner.tls.alert  # type: ignore[union-attr]


def test_a_device_certificate_opens_no_user_tunnel_inside_peap(scene: Scene) -> None:
    from evertunnel.model import CertificateKind

    client = new_certificate_client(scene, scene.installation.issue(CertificateKind.GATEWAY))
    assert_refused(scene, scene.gateway.log_in(client), Reason.CERTIFICATE_WITHOUT_USAGE)


def test_a_policy_that_names_other_methods_refuses(scene: Scene) -> None:
    scene.installation.add_policy("Plain", position=1, settings={"authentication_methods": ["eap-tls"]})
    scene.follow()
    client = new_certificate_client(scene)
    assert "allows eap-tls and not peap-eap-tls" in assert_refused(
        scene, scene.gateway.log_in(client), Reason.METHOD_NOT_ALLOWED
    )


def test_peap_that_no_policy_allows_is_not_offered(scene: Scene) -> None:
    from evertunnel.actions.change_network_policies import remove_network_policy

    remove_network_policy(scene.installation.store, "Everybody", actor="t", now=clock.now())
    scene.installation.add_policy("Plain", position=1, settings={"authentication_methods": ["eap-tls"]})
    scene.follow()
    detail = assert_refused(scene, scene.gateway.log_in(new_certificate_client(scene)), Reason.METHOD_REFUSED)
    assert detail == "the client wants EAP type 25 and not 13"


def test_an_inner_method_that_no_policy_allows_is_refused(scene: Scene) -> None:
    client = new_password_client(scene, identity=ALICE)
    detail = assert_refused(scene, scene.gateway.log_in(client), Reason.METHOD_REFUSED)
    assert detail == "the client wants EAP type 26 and not 13"


# A hostile client.


@VERSIONS
def test_a_client_that_does_not_bind_is_refused(scene: Scene, version: int) -> None:
    client = new_certificate_client(scene, version=version, binds=False)
    assert_refused(scene, scene.gateway.log_in(client), Reason.CRYPTO_BINDING_MISSING)


@VERSIONS
def test_a_policy_may_name_an_exception_and_the_record_shows_it(scene: Scene, version: int) -> None:
    scene.installation.add_policy("Old", position=1, settings={"without_crypto_binding": True})
    scene.follow()
    client = new_certificate_client(scene, version=version, binds=False)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, ALICE)
    attempt = scene.installation.list_attempts()[-1]
    assert "without crypto-binding: weak" in attempt.story
    assert "all conditions match; weak: without crypto-binding" in attempt.story


def test_the_exception_is_taken_back_between_promise_and_accept(scene: Scene) -> None:
    scene.installation.add_policy("Old", position=1, settings={"without_crypto_binding": True})
    scene.follow()

    def take_back(what: str, plain: bytes) -> bytes:
        if what == "result":
            scene.installation.add_policy("New", position=1)
        return plain

    client = new_certificate_client(scene, binds=False, twist=take_back)
    assert_refused(scene, scene.gateway.log_in(client), Reason.CRYPTO_BINDING_MISSING)


def turn(at: int) -> Twist:
    """One bit of the result's packet."""

    def twist(what: str, plain: bytes) -> bytes:
        if what != "result":
            return plain
        changed = bytearray(plain)
        changed[at] ^= 1
        return bytes(changed)

    return twist


# Header 5, result 6, then the binding: 4 head, reserved, version, received version, subtype, nonce 32, MAC 20.
@pytest.mark.parametrize("at", [15, 16, 17, 18, 19, 50, 51, 70], ids=str)
def test_a_binding_that_was_touched_is_refused(scene: Scene, at: int) -> None:
    client = new_certificate_client(scene, twist=turn(at))
    assert_refused(scene, scene.gateway.log_in(client), Reason.CRYPTO_BINDING_WRONG)


def test_even_where_none_is_needed_a_wrong_binding_is_refused(scene: Scene) -> None:
    scene.installation.add_policy("Old", position=1, settings={"without_crypto_binding": True})
    scene.follow()
    client = new_certificate_client(scene, twist=turn(60))
    assert_refused(scene, scene.gateway.log_in(client), Reason.CRYPTO_BINDING_WRONG)


def test_a_binding_of_another_login_is_refused(scene: Scene) -> None:
    first = new_certificate_client(scene)
    assert scene.gateway.log_in(first).code == radius.ACCEPT

    def replay(what: str, plain: bytes) -> bytes:
        return plain[:11] + first.binding if what == "result" else plain

    before = len(scene.installation.list_sessions())
    answer = scene.gateway.log_in(new_certificate_client(scene, twist=replay))
    assert answer.code == radius.REJECT
    assert scene.installation.list_attempts()[-1].reason == Reason.CRYPTO_BINDING_WRONG
    assert len(scene.installation.list_sessions()) == before


def test_the_servers_own_binding_sent_back_is_refused(scene: Scene) -> None:
    client: PEAPClient

    def reflect(what: str, plain: bytes) -> bytes:
        return plain[:11] + client.heard[-1][11:] if what == "result" else plain

    client = new_certificate_client(scene, twist=reflect)
    assert_refused(scene, scene.gateway.log_in(client), Reason.CRYPTO_BINDING_WRONG)


RESULT_OK = struct.pack("!HHH", 0x8003, 2, 1)


def wrap(values: bytes, identifier: int = 9) -> bytes:
    return struct.pack("!BBHB", 2, identifier, 5 + len(values), EXTENSIONS) + values


SHORTCUTS = {
    "success instead of an identity": ("identity", wrap(RESULT_OK)),
    "success instead of the method": ("method", wrap(RESULT_OK)),
    "success without a header": ("method", bytes((EXTENSIONS,)) + RESULT_OK),
    "an identity again": ("method", b"\x01" + ALICE.encode()),
    "another method at once": ("method", bytes((MSCHAPV2, 3))),
    "nothing known": ("method", b"\xff\xff"),
    "a refusal in the middle": ("third", b"\x03\x1a"),
    "no result": ("result", wrap(b"")),
    "a result twice": ("result", wrap(RESULT_OK + RESULT_OK)),
    "a result that is cut off": ("result", wrap(RESULT_OK[:5])),
    "a result of neither": ("result", wrap(struct.pack("!HHH", 0x8003, 2, 3))),
    "a mandatory value nobody knows": ("result", wrap(RESULT_OK + struct.pack("!HH", 0x8009, 0))),
    "a binding longer than all": ("result", wrap(RESULT_OK + struct.pack("!HH", 12, 60_000))),
    "the method again instead of a result": ("result", b"\x0d\x00"),
    "a request": ("result", b"\x01" + wrap(RESULT_OK)[1:]),
    "a length that lies": ("result", wrap(RESULT_OK)[:2] + b"\0\x05" + wrap(RESULT_OK)[4:]),
}


@VERSIONS
@pytest.mark.parametrize("name", list(SHORTCUTS))
def test_no_shortcut_leads_in(scene: Scene, version: int, name: str) -> None:
    where, lie = SHORTCUTS[name]
    said: list[str] = []

    def twist(what: str, plain: bytes) -> bytes:
        said.append(what)
        return lie if what == where or (where == "third" and said.count("method") == 3) else plain

    answer = scene.gateway.log_in(new_certificate_client(scene, version=version, twist=twist))
    assert_refused(scene, answer, Reason.TLS_FAILED)


def test_failure_said_by_the_client_is_no_success(scene: Scene) -> None:
    def refuse(what: str, plain: bytes) -> bytes:
        return wrap(struct.pack("!HHH", 0x8003, 2, 2) + plain[11:]) if what == "result" else plain

    answer = scene.gateway.log_in(new_certificate_client(scene, twist=refuse))
    assert "did not take our result" in assert_refused(scene, answer, Reason.TLS_FAILED)


def test_a_binding_before_the_result_is_as_good(scene: Scene) -> None:
    def swap(what: str, plain: bytes) -> bytes:
        return wrap(plain[11:] + plain[5:11]) if what == "result" else plain

    client = new_certificate_client(scene, twist=swap)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, ALICE)


def test_a_client_that_leaves_the_inner_header_on_is_understood(scene: Scene) -> None:
    def keep(what: str, plain: bytes) -> bytes:
        return struct.pack("!BBH", 2, 77, 4 + len(plain)) + plain if what == "identity" else plain

    client = new_certificate_client(scene, twist=keep)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, ALICE)


@pytest.mark.parametrize("flags", [1, 2, 3])
def test_another_version_of_peap_is_refused(scene: Scene, flags: int) -> None:
    answer = scene.gateway.log_in(new_certificate_client(scene, outer_flags=flags))
    assert f"PEAP version {flags}" in assert_refused(scene, answer, Reason.TLS_FAILED)


@VERSIONS
def test_silence_inside_the_tunnel_is_refused(scene: Scene, version: int) -> None:
    answer = scene.gateway.log_in(new_certificate_client(scene, version=version, twist=lambda *_: None))
    assert "said nothing inside its tunnel" in assert_refused(scene, answer, Reason.TLS_FAILED)


@VERSIONS
@pytest.mark.parametrize("when", ["identity", "method", "result"])
def test_a_client_that_closes_its_tunnel_is_recorded_so(scene: Scene, version: int, when: str) -> None:
    """And not as one whose handshake failed."""

    def close(what: str, plain: bytes) -> bytes | None:
        if what != when:
            return plain
        client.tls.connection.shutdown()
        return None

    client = new_certificate_client(scene, version=version, twist=close)
    detail = assert_refused(scene, scene.gateway.log_in(client), Reason.TLS_FAILED)
    assert detail == "the peer sent the alert close_notify"


def test_no_session_of_the_tunnel_is_resumed(scene: Scene) -> None:
    for version in (TLS_12, TLS_13):
        first = new_certificate_client(scene, version=version)
        assert scene.gateway.log_in(first).code == radius.ACCEPT
        second = new_certificate_client(scene, version=version)
        if first.tls.connection.get_session() is not None:
            second.tls.resume(first.tls)
        assert scene.gateway.log_in(second).code == radius.ACCEPT
        assert len(second.heard) >= 3, "the inner method was skipped"


def test_a_login_that_tells_its_inner_method_apart_offers_passwords_after_certificates(scene: Scene) -> None:
    allow_passwords(scene, ["peap-eap-tls", "peap-eap-mschapv2"])
    client = new_peap(scene, InnerMSCHAPv2(DAVE, PASSWORD), identity=DAVE)
    assert_accepted(scene, scene.gateway.log_in(client), client.keys, DAVE)
    assert client.heard[1][0] == 13, "the certificate was to be asked for first"
    assert new_inner_tls(scene).type == 13
