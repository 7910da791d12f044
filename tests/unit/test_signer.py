"""The signer: signs what a stored, granted row says within its ceilings, and nothing else; keeps lists up to date."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import insert, select, update

from evertunnel.actions.allow import allow
from evertunnel.actions.deny import deny
from evertunnel.actions.issue_certificate import Wanted, grant_certificate
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import Authority, CertificateKind, SubjectKind
from evertunnel.pki import issuance
from evertunnel.pki.keys import encode_public_key
from evertunnel.pki.kinds import AGENT_SERVER_NAME, KINDS
from evertunnel.signer import EVERYTHING, LocalSigner, publish_until_stopped
from evertunnel.storage import authorities, tables
from evertunnel.storage.store import Watch
from evertunnel.storage.tables import AnyRow
from tests.installation import ADDRESSES, ADMIN, ALICE, LAPTOP, Installation
from tests.unit.pki.samples import CA, bend, make_grant, make_key

USER_ONLY = frozenset({(CertificateKind.USER, Authority.ISSUING)})


def grant(installation: Installation, kind: CertificateKind = CertificateKind.USER, **changes: Any) -> str:
    """A granted row; `changes` to its columns are made behind the actions' back, as an intruder would."""
    key = make_grant(kind).public_key_der
    name = installation.choose_name(kind)
    authority = None if len(KINDS[kind].authorities) == 1 else Authority.ISSUING
    with installation.store.write(installation.now) as tx:
        wanted = Wanted(kind, public_key_der=key, authority=authority, **name)
        certificate_id = grant_certificate(tx, wanted, actor=ADMIN)
        if changes:
            row = tables.certificates.c.id == certificate_id
            tx.connection.execute(update(tables.certificates).where(row).values(**changes))
    return certificate_id


def get(installation: Installation, certificate_id: str) -> AnyRow:
    with installation.store.read() as connection:
        statement = select(tables.certificates).where(tables.certificates.c.id == certificate_id)
        return connection.execute(statement).one()


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_a_granted_row_is_signed_stored_and_valid(installation: Installation, kind: CertificateKind) -> None:
    certificate_id = grant(installation, kind)
    der = installation.signer.sign(certificate_id)
    row = get(installation, certificate_id)
    assert (row.status, row.certificate_der) == ("valid", der)
    assert x509.load_der_x509_certificate(der).serial_number == int(row.serial, 16)


@pytest.mark.parametrize("name", ["vpn.example.test", "alice@corp.example", "radius.example.test.evil.example"])
def test_the_radsec_listener_is_called_as_the_policy_server_is(installation: Installation, name: str) -> None:
    """Whoever takes that process over could be a gateway to clients, or the enrolment server, by another name."""
    certificate_id = grant(installation, CertificateKind.RADSEC_SERVER, subject_name=name)
    with pytest.raises(InvalidInputError, match="is not the name of our policy server"):
        installation.signer.sign(certificate_id)


def test_a_row_that_claims_to_be_the_policy_servers_gives_no_name(installation: Installation) -> None:
    made = installation.issue_device(installation.add_device())
    with installation.store.write(installation.now) as tx:
        row = tables.certificates.c.id == made
        tx.connection.execute(update(tables.certificates).where(row).values(kind="policy-server"))
    with pytest.raises(InvalidInputError, match="is not the name of our policy server"):
        installation.signer.sign(grant(installation, CertificateKind.RADSEC_SERVER, subject_name=LAPTOP))


def test_asking_again_gives_the_same_certificate(installation: Installation) -> None:
    certificate_id = grant(installation)
    assert installation.signer.sign(certificate_id) == installation.signer.sign(certificate_id)


def test_a_row_that_is_not_there_is_not_signed(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match="was granted"):
        installation.signer.sign("nothing")


@pytest.mark.parametrize("status", ["on hold", "revoked", "valid", "anything"])
def test_a_row_that_is_not_granted_is_not_signed(installation: Installation, status: str) -> None:
    certificate_id = grant(installation, status=status)
    with pytest.raises(InvalidInputError, match=f"is {status}, not granted"):
        installation.signer.sign(certificate_id)
    assert get(installation, certificate_id).certificate_der is None


def test_a_caller_gets_the_kinds_it_may_ask_for_only(installation: Installation) -> None:
    installation.signer.sign_for(grant(installation), USER_ONLY)
    certificate_id = grant(installation, CertificateKind.GATEWAY)
    with pytest.raises(InvalidInputError, match="may not ask for gateway certificates"):
        installation.signer.sign_for(certificate_id, USER_ONLY)
    with pytest.raises(InvalidInputError):
        installation.signer.sign_for(grant(installation), frozenset())


def test_a_certificate_that_was_signed_is_not_given_to_those_who_may_not_ask_for_it(
    installation: Installation,
) -> None:
    certificate_id = grant(installation, CertificateKind.GATEWAY)
    installation.signer.sign(certificate_id)
    with pytest.raises(InvalidInputError):
        installation.signer.sign_for(certificate_id, USER_ONLY)


ROWS: dict[str, tuple[CertificateKind, dict[str, Any], str]] = {
    "another authority": (CertificateKind.USER, {"authority": "device"}, "the device authority signs no user"),
    "the root": (CertificateKind.USER, {"authority": "root"}, "may not ask for user certificates of that authority"),
    "too weak a key": (CertificateKind.USER, {"public_key_der": b"no key"}, "the public key cannot be read"),
}


@pytest.mark.parametrize("what", ROWS)
def test_a_row_somebody_bent_is_not_signed(installation: Installation, what: str) -> None:
    kind, changes, words = ROWS[what]
    certificate_id = grant(installation, kind, **changes)
    with pytest.raises(InvalidInputError, match=words):
        # Everything our processes may ever ask for, and what a bent row says besides.
        installation.signer.sign_for(certificate_id, EVERYTHING | {(CertificateKind.USER, Authority.DEVICE)})
    assert get(installation, certificate_id).certificate_der is None


@pytest.mark.parametrize("kind", list(CertificateKind))
def test_no_row_lasts_longer_than_its_kinds_ceiling(installation: Installation, kind: CertificateKind) -> None:
    ceiling = timedelta(seconds=KINDS[kind].ceiling_lifetime_seconds)
    installation.signer.sign(grant(installation, kind, not_after=installation.now + ceiling))
    too_long = grant(installation, kind, not_after=installation.now + ceiling + timedelta(seconds=1))
    with pytest.raises(InvalidInputError, match="may last"):
        installation.signer.sign(too_long)


@pytest.mark.parametrize("kind", [kind for kind, rules in KINDS.items() if not rules.only_name])
def test_nobody_else_is_called_what_agents_dial(installation: Installation, kind: CertificateKind) -> None:
    """Whoever has a server's certificate with that name could speak to agents as the server."""
    for names in (
        {"subject_name": AGENT_SERVER_NAME},
        {"dns_names": ["a.example", AGENT_SERVER_NAME.upper()]},
        {"subject_name": "*.evertunnel.internal"},
        {"dns_names": ["*.evertunnel.internal"]},
    ):
        certificate_id = grant(installation, kind)
        with installation.store.write(installation.now) as tx:
            row = tables.certificates.c.id == certificate_id
            tx.connection.execute(tables.certificates.update().where(row).values(**names))
        with pytest.raises(InvalidInputError, match="may not be called"):
            installation.signer.sign(certificate_id)


@pytest.mark.parametrize("name", ["a.example\n", "agents.evertunnel.internal.", "192.0.2.1", ""])
def test_no_server_is_called_what_is_no_dns_name(installation: Installation, name: str) -> None:
    certificate_id = grant(installation, CertificateKind.POLICY_SERVER, dns_names=[name])
    with pytest.raises(InvalidInputError, match="is not a DNS name"):
        installation.signer.sign(certificate_id)


@pytest.mark.parametrize(
    "changes",
    [{"subject_name": "radius.example"}, {"dns_names": ["vpn.example.test", "radius.example"]}, {"gateway_id": None}],
    ids=["another name", "one more", "nobody's"],
)
def test_a_gateways_certificate_has_its_public_name_and_no_other(
    installation: Installation, changes: dict[str, Any]
) -> None:
    """Else whoever may ask for these could be the policy server, or the place where passwords are typed."""
    certificate_id = grant(installation, CertificateKind.GATEWAY, **changes)
    with pytest.raises(InvalidInputError, match="is not the public name of the gateway"):
        installation.signer.sign(certificate_id)


def test_the_listener_of_agents_is_called_nothing_else(installation: Installation) -> None:
    certificate_id = grant(installation, CertificateKind.AGENT_SERVER)
    with installation.store.write(installation.now) as tx:
        row = tables.certificates.c.id == certificate_id
        tx.connection.execute(tables.certificates.update().where(row).values(dns_names=["radius.example"]))
    with pytest.raises(InvalidInputError, match="may not be called"):
        installation.signer.sign(certificate_id)


def test_no_row_is_dated_back_further_than_five_minutes_and_the_wait_for_the_signer(
    installation: Installation,
) -> None:
    certificate_id = grant(installation, not_before=installation.now - timedelta(minutes=7))
    with pytest.raises(InvalidInputError, match="dated back"):
        installation.signer.sign(certificate_id)


def test_no_more_are_signed_within_an_hour_than_the_kinds_ceiling(installation: Installation) -> None:
    kind = CertificateKind.GATEWAY
    first = grant(installation, kind)
    template = dict(get(installation, first)._mapping)
    with installation.store.write(installation.now) as tx:
        rows = [
            template | {"id": str(number), "serial": f"{number:x}", "certificate_der": b"x", "fingerprint": None}
            for number in range(KINDS[kind].ceiling_per_hour)
        ]
        tx.connection.execute(insert(tables.certificates), rows)
    with pytest.raises(UnavailableError, match="100 gateway certificates were signed within an hour"):
        installation.signer.sign(first)
    installation.signer.sign(grant(installation))  # another kind has its own ceiling
    installation.clock.forward(hours=1)
    installation.signer.sign(grant(installation, kind))


def test_a_key_that_is_not_here_is_told(installation: Installation) -> None:
    signer = LocalSigner(installation.store, {}, ADDRESSES, installation.clock)
    with pytest.raises(UnavailableError, match="the key of the issuing authority is not here"):
        signer.sign(grant(installation))


def test_what_fails_its_own_check_is_neither_stored_nor_given(installation: Installation) -> None:
    """An authority narrowed in the database: the certificate would carry a usage its authority may not give."""
    with installation.store.read() as connection:
        known = authorities.load_authorities(connection)
    usages = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING])
    root = CA(known[Authority.ROOT], installation.keys[Authority.ROOT])
    narrowed = bend(known[Authority.ISSUING], root, extensions=[(usages, False)]).public_bytes(Encoding.DER)
    with installation.store.write(installation.now) as tx:
        issuing = tables.authorities.c.name == "issuing"
        tx.connection.execute(update(tables.authorities).where(issuing).values(certificate_der=narrowed))
    certificate_id = grant(installation)
    with pytest.raises(UnavailableError, match="failed its own check"):
        installation.signer.sign(certificate_id)
    assert (get(installation, certificate_id).status, get(installation, certificate_id).certificate_der) == (
        "granted", None,
    )  # fmt: skip


def load_list(installation: Installation, authority: Authority) -> x509.CertificateRevocationList:
    with installation.store.read() as connection:
        row = authorities.find_revocation_list(connection, authority)
        issuer = authorities.load_authorities(connection)[authority]
    assert row is not None
    found = x509.load_der_x509_crl(row.der)
    assert found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    return found


def find_number(revocation_list: x509.CertificateRevocationList) -> int:
    return revocation_list.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_every_authority_gets_a_list_and_then_only_when_it_is_due(installation: Installation) -> None:
    assert set(installation.signer.publish_revocations()) == set(Authority)
    assert installation.signer.publish_revocations() == []
    installation.clock.forward(hours=23, minutes=59)
    assert installation.signer.publish_revocations() == []
    installation.clock.forward(minutes=1)
    assert set(installation.signer.publish_revocations()) == set(Authority) - {Authority.ROOT}
    installation.clock.forward(days=30)
    assert Authority.ROOT in installation.signer.publish_revocations()


@pytest.mark.parametrize(("authority", "days"), [(Authority.ISSUING, 7), (Authority.ROOT, 365)])
def test_a_list_outlives_its_renewal_by_far(installation: Installation, authority: Authority, days: int) -> None:
    installation.signer.publish_revocations()
    found = load_list(installation, authority)
    assert found.next_update_utc == installation.now + timedelta(days=days)
    assert found.last_update_utc == installation.now - timedelta(minutes=5)


def test_hold_release_and_revocation_stand_on_the_next_list_whose_number_grows(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    serial = int(get(installation, certificate_id).serial, 16)
    installation.signer.publish_revocations()

    def publish() -> x509.RevokedCertificate | None:
        assert installation.signer.publish_revocations() == [Authority.ISSUING]
        return load_list(installation, Authority.ISSUING).get_revoked_certificate_by_serial_number(serial)

    def find_reason(entry: x509.RevokedCertificate | None) -> x509.ReasonFlags:
        assert entry is not None
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason

    installation.do(deny, SubjectKind.USER, ALICE, reason="test")
    assert find_reason(publish()) is x509.ReasonFlags.certificate_hold
    installation.do(allow, SubjectKind.USER, ALICE)
    assert publish() is None
    installation.do(revoke_certificate, certificate_id, reason="key compromise")
    assert find_reason(publish()) is x509.ReasonFlags.key_compromise
    assert find_number(load_list(installation, Authority.ISSUING)) == 4


def test_one_authority_that_is_away_does_not_keep_the_others_from_publishing(installation: Installation) -> None:
    without_root = {name: key for name, key in installation.keys.items() if name != Authority.ROOT}
    signer = LocalSigner(installation.store, without_root, ADDRESSES, installation.clock)
    assert set(signer.publish_revocations()) == set(Authority) - {Authority.ROOT}


def test_revocation_lists_are_published_again_after_the_database_was_away(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([UnavailableError("the database cannot be read: disk I/O error")])
    changed = Watch.changed

    def fail_once(watch: Watch) -> bool:
        for failure in failures:
            raise failure
        return changed(watch)

    monkeypatch.setattr(Watch, "changed", fail_once)
    stopped = threading.Event()
    thread = threading.Thread(target=publish_until_stopped, args=(installation.signer, installation.store, stopped))
    thread.start()
    time.sleep(0.4)
    alive = thread.is_alive()
    stopped.set()
    thread.join()
    assert alive


SERVER = frozenset({(CertificateKind.POLICY_SERVER, Authority.ISSUING)})
BENT_RENEWALS: dict[str, dict[str, Any]] = {
    "another key": {"public_key_der": encode_public_key(make_key("p256", "another").public_key())},
    "another name": {"subject_name": "gateway.example.test"},
    "another DNS name": {"dns_names": ["vpn.example.test", "gateway.example.test"]},
    "one DNS name less": {"dns_names": []},
}


def grant_server(installation: Installation, **changes: Any) -> str:
    changes = {"subject_name": "vpn.example.test", "dns_names": ["vpn.example.test"]} | changes
    return grant(installation, CertificateKind.POLICY_SERVER, **changes)


def test_a_server_renews_what_was_signed_before_and_asks_for_nothing_new(installation: Installation) -> None:
    first = grant_server(installation)
    with pytest.raises(InvalidInputError, match="but to renew one"):
        installation.signer.sign_for(first, frozenset(), renewed=SERVER)
    installation.signer.sign(first)
    with pytest.raises(InvalidInputError, match="but to renew one"):
        installation.signer.sign_for(first, frozenset(), renewed=SERVER)
    assert installation.signer.sign_for(grant_server(installation), frozenset(), renewed=SERVER)
    with pytest.raises(InvalidInputError, match="may not ask for gateway"):
        installation.signer.sign_for(grant(installation, CertificateKind.GATEWAY), frozenset(), renewed=SERVER)


def test_a_certificate_with_the_long_key_identifier_of_before_is_renewed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(issuance, "build_key_identifier", x509.SubjectKeyIdentifier.from_public_key)
        old = installation.signer.sign(grant_server(installation))
    new = installation.signer.sign_for(grant_server(installation), frozenset(), renewed=SERVER)
    assert [len(find_key_identifier(each)) for each in (old, new)] == [20, 8]


def find_key_identifier(certificate_der: bytes) -> bytes:
    certificate = x509.load_der_x509_certificate(certificate_der)
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@pytest.mark.parametrize("what", BENT_RENEWALS)
def test_a_renewal_with_something_new_in_it_is_not_signed(installation: Installation, what: str) -> None:
    installation.signer.sign(grant_server(installation))
    with pytest.raises(InvalidInputError, match="but to renew one"):
        installation.signer.sign_for(grant_server(installation, **BENT_RENEWALS[what]), frozenset(), renewed=SERVER)


def test_a_row_somebody_wrote_vouches_for_no_renewal(installation: Installation) -> None:
    """A thief of a process can write rows, but not make a certificate that verifies."""
    key = make_key("p256", "another")
    changes = {"public_key_der": encode_public_key(key.public_key())}
    signed = x509.load_der_x509_certificate(installation.signer.sign(grant_server(installation)))
    forged = bytes(signed.public_bytes(Encoding.DER))
    grant_server(installation, **changes, status="valid", certificate_der=forged)
    with pytest.raises(InvalidInputError, match="but to renew one"):
        installation.signer.sign_for(grant_server(installation, **changes), frozenset(), renewed=SERVER)


def test_what_was_taken_back_is_not_renewed(installation: Installation) -> None:
    first = grant_server(installation)
    installation.signer.sign(first)
    installation.do(revoke_certificate, first, reason="key compromise")
    with pytest.raises(InvalidInputError, match="but to renew one"):
        installation.signer.sign_for(grant_server(installation), frozenset(), renewed=SERVER)
