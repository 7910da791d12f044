"""Who is refused, what the client is told, and what the record says."""

from datetime import timedelta
from ssl import TLSVersion

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update

from evertunnel import clock
from evertunnel.actions.change_network_policies import remove_network_policy
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.model import Authority, CertificateKind, Outcome, Reason, SubjectKind
from evertunnel.pki import oids
from evertunnel.storage import tables
from tests.peers import radius
from tests.peers.certificates import (
    HOUR,
    Credential,
    build_authority,
    build_leaf,
    build_stolen_pem,
    encode_key,
)
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.unit.servers.conftest import Scene

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
ALICE = "alice@corp.example"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def assert_refused(scene: Scene, client: Client, reason: Reason, *, owner: str | None = ALICE) -> str:
    """The login ends with a failure; the record names the reason and the owner. Returns the record's detail."""
    scene.follow()
    answer = scene.gateway.log_in(client)
    assert answer.words == "Access-Reject, Failure"
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.outcome, attempt.reason) == (Outcome.REFUSED, reason)
    assert attempt.user_name == owner
    assert attempt.claimed_identity == client.identity
    assert scene.installation.list_sessions() == []
    assert not client.committed
    return str(attempt.detail)


def assert_told_by_decision(client: Client) -> None:
    """A decision, unlike a faulty certificate, is told by access_denied."""
    assert client.alert == "TLSV1_ALERT_ACCESS_DENIED"


@VERSIONS
def test_nobody_connects_without_a_policy(scene: Scene, version: TLSVersion) -> None:
    remove_network_policy(scene.installation.store, "Everybody", actor="t", now=clock.now())
    client = scene.new_client(version=version)
    assert assert_refused(scene, client, Reason.NO_NETWORK_POLICY) == "no network policy matches"
    assert_told_by_decision(client)


@VERSIONS
def test_the_first_policy_that_matches_denies(scene: Scene, version: TLSVersion) -> None:
    scene.installation.add_policy("First", "deny", position=1, conditions={"users": [ALICE]})
    client = scene.new_client(version=version)
    assert "'First' denies" in assert_refused(scene, client, Reason.NETWORK_POLICY_DENIES)
    assert_told_by_decision(client)


@VERSIONS
def test_revoked_says_revoked(scene: Scene, version: TLSVersion) -> None:
    certificate_id = scene.installation.find_certificate_id(scene.alice)
    revoke_certificate(scene.installation.store, certificate_id, reason="key compromise", actor="t", now=clock.now())
    client = scene.new_client(version=version)
    assert_refused(scene, client, Reason.CERTIFICATE_REVOKED)
    assert client.alert == "SSLV3_ALERT_CERTIFICATE_REVOKED"


@VERSIONS
def test_on_hold_by_denial_says_revoked_to_the_client_and_denied_to_the_record(
    scene: Scene, version: TLSVersion
) -> None:
    deny(scene.installation.store, SubjectKind.USER, ALICE, reason="left", actor="t", now=clock.now())
    client = scene.new_client(version=version)
    assert "the user is denied: left" in assert_refused(scene, client, Reason.USER_DENIED)
    assert client.alert == "SSLV3_ALERT_CERTIFICATE_REVOKED"


@VERSIONS
def test_a_disabled_user_is_told_by_decision(scene: Scene, version: TLSVersion) -> None:
    change_user(scene.installation.store, ALICE, enabled=False, actor="t", now=clock.now())
    client = scene.new_client(version=version)
    assert_refused(scene, client, Reason.USER_DISABLED)
    assert_told_by_decision(client)


@VERSIONS
def test_expired_says_expired(scene: Scene, version: TLSVersion) -> None:
    old = build_leaf(scene.installation.as_issuer(Authority.ISSUING), ALICE, begins=-2 * HOUR, ends=-HOUR)
    client = scene.new_client(old, version=version)
    assert_refused(scene, client, Reason.CERTIFICATE_EXPIRED, owner=None)
    assert client.alert == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


@VERSIONS
def test_a_certificate_that_ended_on_record_is_refused_whatever_stands_in_it(scene: Scene, version: TLSVersion) -> None:
    ended = clock.now() - timedelta(seconds=1)
    with scene.installation.store.write(clock.now()) as tx:
        tx.connection.execute(update(tables.certificates).values(not_after=ended))
        tx.raise_epoch("certificate", scene.installation.find_certificate_id(scene.alice))
    client = scene.new_client(version=version)
    assert_refused(scene, client, Reason.CERTIFICATE_EXPIRED)
    assert_told_by_decision(client)


@VERSIONS
@pytest.mark.parametrize("send_chain", [True, False])
def test_a_foreign_authority_is_unknown_ca(scene: Scene, version: TLSVersion, send_chain: bool) -> None:
    foreign = build_leaf(build_authority("Test Issuing CA 1"), ALICE)
    sent = foreign if send_chain else Credential(foreign.certificate, foreign.key)
    client = scene.new_client(sent, version=version)
    assert_refused(scene, client, Reason.CERTIFICATE_FOREIGN, owner=None)
    assert client.alert == "TLSV1_ALERT_UNKNOWN_CA"


@VERSIONS
@pytest.mark.parametrize("send_chain", [True, False])
def test_a_device_certificate_is_of_the_wrong_kind(scene: Scene, version: TLSVersion, send_chain: bool) -> None:
    device = scene.installation.issue(CertificateKind.DEVICE)
    authority = scene.installation.authorities[Authority.DEVICE]
    sent = Credential(device.certificate, device.key, (authority,) if send_chain else ())
    client = scene.new_client(sent, version=version, identity="laptop1.corp.example")
    detail = assert_refused(scene, client, Reason.CERTIFICATE_WRONG_KIND, owner=None)
    assert detail == "a device certificate may not bring up the user tunnel"
    assert client.alert == "TLSV1_ALERT_UNKNOWN_CA"


@VERSIONS
@pytest.mark.parametrize("kind", [CertificateKind.GATEWAY, CertificateKind.POLICY_SERVER])
def test_a_server_certificate_is_an_unsupported_certificate(
    scene: Scene, version: TLSVersion, kind: CertificateKind
) -> None:
    client = scene.new_client(scene.installation.issue(kind), version=version)
    assert_refused(scene, client, Reason.CERTIFICATE_WITHOUT_USAGE, owner=None)
    assert client.alert == "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"


@VERSIONS
def test_a_client_without_certificate_is_told_so(scene: Scene, version: TLSVersion) -> None:
    client = scene.new_client(version=version, pem=None)
    assert_refused(scene, client, Reason.CERTIFICATE_MISSING, owner=None)
    assert client.alert == (
        "SSLV3_ALERT_HANDSHAKE_FAILURE" if version == TLS_12 else "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    )


@VERSIONS
def test_a_stolen_certificate_is_recorded_as_shown_not_as_proven(scene: Scene, version: TLSVersion) -> None:
    client = scene.new_client(version=version, pem=build_stolen_pem(scene.alice))
    assert_refused(scene, client, Reason.KEY_NOT_PROVEN)
    assert client.alert == "TLSV1_ALERT_DECRYPT_ERROR"
    steps = scene.installation.describe_attempts()[-1]["steps"]
    (told,) = [step["text"] for step in steps if step["stage"] == "certificate"]
    assert told.startswith("shown, its key not proven: user, serial ")


@VERSIONS
def test_a_signed_but_unknown_certificate_is_refused(scene: Scene, version: TLSVersion) -> None:
    for authority in (Authority.ISSUING, Authority.ACCESS):
        ghost = build_leaf(scene.installation.as_issuer(authority), ALICE)
        client = scene.new_client(ghost, version=version)
        assert_refused(scene, client, Reason.CERTIFICATE_UNKNOWN, owner=None)
        assert_told_by_decision(client)


@VERSIONS
def test_an_unknown_certificate_with_the_serial_of_a_known_one_is_refused(scene: Scene, version: TLSVersion) -> None:
    issuer = scene.installation.as_issuer(Authority.ISSUING)
    twin = build_leaf(issuer, ALICE, serial=scene.alice.certificate.serial_number)
    assert_refused(scene, scene.new_client(twin, version=version), Reason.CERTIFICATE_UNKNOWN, owner=None)


@VERSIONS
def test_a_certificate_without_any_usage_is_unknown_to_us(scene: Scene, version: TLSVersion) -> None:
    ghost = build_leaf(scene.installation.as_issuer(Authority.ISSUING), ALICE, usages=())
    assert_refused(scene, scene.new_client(ghost, version=version), Reason.CERTIFICATE_UNKNOWN, owner=None)


@VERSIONS
def test_a_signature_turned_inside_out_does_not_shake_off_a_revocation(scene: Scene, version: TLSVersion) -> None:
    # (r, n - s) verifies as well as (r, s), so a revoked certificate has a second form with another fingerprint.
    certificate_id = scene.installation.find_certificate_id(scene.alice)
    revoke_certificate(scene.installation.store, certificate_id, reason="key compromise", actor="t", now=clock.now())
    signature = scene.alice.certificate.signature
    r, s = decode_dss_signature(signature)
    twin_der = rebuild(scene.alice.certificate, encode_dss_signature(r, P256_ORDER - s))
    twin = x509.load_der_x509_certificate(twin_der)
    twin.verify_directly_issued_by(scene.installation.authorities[Authority.ISSUING])
    client = scene.new_client(Credential(twin, scene.alice.key, scene.alice.chain), version=version)
    assert_refused(scene, client, Reason.CERTIFICATE_UNKNOWN, owner=None)


def rebuild(certificate: x509.Certificate, signature: bytes) -> bytes:
    """The certificate with another signature: SEQUENCE of what was signed, the algorithm, and a BIT STRING."""
    der = certificate.public_bytes(Encoding.DER)
    tail = b"\x03" + bytes((len(certificate.signature) + 1,)) + b"\0" + certificate.signature
    assert der.endswith(tail)
    body = der[4 : -len(tail)] + b"\x03" + bytes((len(signature) + 1,)) + b"\0" + signature
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


@VERSIONS
def test_somebody_elses_identity_before_a_good_certificate_is_refused(scene: Scene, version: TLSVersion) -> None:
    scene.installation.add_user("boss@corp.example")
    for identity in ("boss@corp.example", "EVIL\\alice", "host/laptop1", "alice", "alice@evil.example", "x" * 300):
        client = scene.new_client(version=version, identity=identity)
        scene.follow()
        assert scene.gateway.log_in(client).code == radius.REJECT
        attempt = scene.installation.list_attempts()[-1]
        assert (attempt.reason, attempt.user_name) == (Reason.IDENTITY_MISMATCH, ALICE)
        assert attempt.claimed_identity == identity[:256]
        assert len(attempt.detail) < 400
        assert_told_by_decision(client)


@VERSIONS
def test_a_long_lived_certificate_where_the_short_lived_is_demanded_is_refused(
    scene: Scene, version: TLSVersion
) -> None:
    settings = {"allowed_certificate_oids": [oids.CONDITIONAL_ACCESS.dotted_string]}
    scene.installation.add_policy("Short-lived only", position=1, settings=settings)
    client = scene.new_client(version=version)
    assert "1.3.6.1.4.1.311.87" in assert_refused(scene, client, Reason.CERTIFICATE_USAGE_DEMANDED)
    assert_told_by_decision(client)
    short_lived = scene.installation.issue(CertificateKind.SHORT_LIVED)
    scene.follow()
    assert scene.gateway.log_in(scene.new_client(short_lived, version=version)).code == radius.ACCEPT


@VERSIONS
def test_a_client_that_distrusts_the_server_is_recorded_with_its_alert(scene: Scene, version: TLSVersion) -> None:
    client = scene.new_client(version=version, server_name="other.example.test")
    detail = assert_refused(scene, client, Reason.TLS_FAILED, owner=None)
    assert detail == "tls alert bad certificate"
    assert scene.gateway.lines[-2:] == ["gateway: Access-Request, TLS alert 42", "server: Access-Reject, Failure"]


@VERSIONS
def test_a_certificate_revoked_in_the_middle_of_a_login_is_refused_at_its_end(
    scene: Scene, version: TLSVersion
) -> None:
    client = scene.new_client(version=version)
    last = scene.gateway.build_last_request(client)
    certificate_id = scene.installation.find_certificate_id(scene.alice)
    revoke_certificate(scene.installation.store, certificate_id, reason="superseded", actor="t", now=clock.now())
    reject = scene.gateway.send(last)
    assert reject is not None
    assert reject.words == "Access-Reject, Failure"
    (attempt,) = scene.installation.list_attempts()
    assert attempt.reason == Reason.CERTIFICATE_REVOKED
    assert scene.installation.list_sessions() == []


@VERSIONS
@pytest.mark.parametrize(
    "refused", ["expired", "without certificate", "denied by policy"], ids=lambda text: text.replace(" ", "-")
)
def test_the_reason_is_kept_when_the_client_hangs_up_on_the_alert(
    scene: Scene, version: TLSVersion, refused: str
) -> None:
    issuer = scene.installation.as_issuer(Authority.ISSUING)
    old = build_leaf(issuer, ALICE, begins=-2 * HOUR, ends=-HOUR)
    pem = {"expired": old.pem, "without certificate": None}.get(refused, scene.alice.pem)
    if refused == "denied by policy":
        scene.installation.add_policy("First", "deny", position=1)
        scene.follow()
    hang_up(scene, scene.new_client(version=version, pem=pem))
    assert scene.installation.list_attempts() == []
    scene.uptime += 30.1
    scene.expire()
    (attempt,) = scene.installation.list_attempts()
    expected = {"expired": Reason.CERTIFICATE_EXPIRED, "without certificate": Reason.CERTIFICATE_MISSING}
    assert attempt.reason == expected.get(refused, Reason.NETWORK_POLICY_DENIES)


def hang_up(scene: Scene, client: Client) -> None:
    """Log in, and say nothing more once the server's refusal came."""
    answer = scene.gateway.ask(client.answer_identity())
    while answer.code == radius.CHALLENGE:
        eap = client.answer(answer.eap)
        if client.alert:
            return
        answer = scene.gateway.ask(eap, answer.state)


def test_keys_of_the_client_never_reach_the_record(scene: Scene) -> None:
    client = scene.new_client()
    accept = scene.gateway.log_in(client)
    written = b"".join(path.read_bytes() for path in scene.installation.database.parent.iterdir())
    for secret in (accept.session_keys[:32], accept.session_keys[32:], scene.secret, encode_key(scene.alice.key)):
        assert secret not in written
        assert secret.hex().encode() not in written
