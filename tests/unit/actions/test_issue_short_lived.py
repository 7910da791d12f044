"""Short-lived certificates: the device proves itself, the user signs in, conditional access decides."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.actions.import_access_policies import import_access_policies, switch_access_policy
from evertunnel.actions.import_facts import import_facts
from evertunnel.actions.issue_short_lived import ShortLivedRequest
from evertunnel.actions.report_device import report_device
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import InvalidInputError
from evertunnel.model import Authority, CertificateKind, Reason, SubjectKind
from evertunnel.pki import oids
from evertunnel.pki.keys import PrivateKey
from evertunnel.pki.security_identifiers import build_sid_extension
from evertunnel.storage import tables
from evertunnel.storage.recorded_results import decode_results
from evertunnel.storage.store import Store, Transaction
from tests.installation import ALICE, LAPTOP, Installation, copy_installation
from tests.unit.access.samples import make_document
from tests.unit.actions.enrolling import Ready, ReadyTemplate, make_ready
from tests.unit.pki.samples import make_key, make_request

Template = tuple[Path, Mapping[Authority, PrivateKey]]


@pytest.fixture(scope="module")
def ready_template(template: Template, tmp_path_factory: pytest.TempPathFactory) -> ReadyTemplate:
    """Made once."""
    path = tmp_path_factory.mktemp("ready") / "evertunnel.db"
    installation = copy_installation(template[0], path, template[1])
    ready = make_ready(installation, make_key("p256", "device"))
    installation.store.close()
    return ReadyTemplate(path, template[1], ready)


@pytest.fixture
def ready(ready_template: ReadyTemplate, tmp_path: Path) -> Iterator[Ready]:
    """Everything as it must be, for this test alone."""
    ready = ready_template.copy(tmp_path / "evertunnel.db")
    yield ready
    ready.installation.store.close()


@pytest.mark.parametrize("key_type", ["p256", "p384", "rsa2048"])
def test_a_certificate_of_an_hour_is_issued_for_the_requests_key(installation: Installation, key_type: str) -> None:
    certificate = make_ready(installation, make_key(key_type, "device")).issue()
    assert certificate.public_key() == make_key().public_key()
    assert certificate.not_valid_after_utc == installation.now + timedelta(hours=1)
    assert certificate.subject.rfc4514_string() == f"CN={ALICE}"


def test_a_grant_is_recorded_with_everything_that_led_to_it(ready: Ready) -> None:
    certificate = ready.issue()
    row = ready.find_attempt()
    assert (row.kind, row.outcome, row.reason) == ("certificate", "granted", "granted")
    assert (row.user_id, row.device_id, row.client_address) == (ready.user_id, ready.device_id, "192.0.2.7")
    story = json.loads(row.story)
    assert [text for _, text in story["steps"]] == [
        f"request for {ALICE!r}, its key proven by the request's own signature",
        "the device proved its key over this request",
        f"the password of {ALICE} is right",
        "conditional access is satisfied",
    ]
    assert [said.result for said in decode_results(story)] == ["success"]
    with ready.installation.store.read() as connection:
        issued = connection.execute(select(tables.certificates).where(tables.certificates.c.attempt_id == row.id)).one()
    assert int(issued.serial, 16) == certificate.serial_number


def make_user_certificate(ready: Ready) -> bytes:
    return ready.installation.issue(
        CertificateKind.USER, ALICE, key=ready.device_key, user_id=ready.user_id
    ).certificate_der


# Everything an attacker may show instead of a device of ours; none of it leads to a look at the password.
UNPROVEN: dict[str, Callable[[Ready], ShortLivedRequest]] = {
    "no certificate": lambda ready: ready.ask(device_certificate_der=b""),
    "noise for a certificate": lambda ready: ready.ask(device_certificate_der=b"noise"),
    "a certificate and a byte": lambda ready: ready.ask(device_certificate_der=ready.device_certificate_der + b"\0"),
    "a user's certificate": lambda ready: ready.ask(device_certificate_der=make_user_certificate(ready)),
    "no signature": lambda ready: replace(ready.ask(), device_signature=b""),
    "noise for a signature": lambda ready: ready.ask(device_signature=b"noise"),
    "another key": lambda ready: ready.ask(
        device_signature=ready.sign(ready.ask(device_signature=b"-"), make_key("p256", "thief"))
    ),
    "a signature for another nonce": lambda ready: replace(ready.ask(), nonce=b"m" * 32),
    "a signature for another user": lambda ready: replace(ready.ask(), user_name="bob@corp.example"),
    "a signature for another key": lambda ready: replace(ready.ask(), csr_der=make_request(make_key("p384"))),
}


@pytest.mark.parametrize("what", UNPROVEN)
def test_without_proof_of_a_device_nothing_is_granted_and_no_password_is_tried(ready: Ready, what: str) -> None:
    row = ready.refuse(UNPROVEN[what](ready))
    assert row.reason == Reason.DEVICE_PROOF_FAILED.value
    assert "password" not in row.story
    assert row.user_id is None


def test_the_devices_proof_is_looked_at_before_the_password(ready: Ready) -> None:
    wrong_both = ready.ask(device_signature=b"noise", password="wrong")
    assert ready.refuse(wrong_both).reason == Reason.DEVICE_PROOF_FAILED.value
    assert ready.refuse(ready.ask(password="wrong")).reason == Reason.SIGN_IN_FAILED.value


def take_away(ready: Ready, what: str) -> None:
    do = ready.installation.do
    actions: dict[str, Callable[[], Any]] = {
        "revoked": lambda: do(revoke_certificate, ready.device_certificate_id, reason="key compromise"),
        "ended": lambda: ready.installation.clock.forward(days=366),
        "user denied": lambda: do(deny, SubjectKind.USER, ALICE, reason="left"),
        "device denied": lambda: do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen"),
        "device denied and revoked": lambda: do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen", revoke=True),
        "user disabled": lambda: do(change_user, ALICE, enabled=False),
        "device disabled": lambda: do(change_device, LAPTOP, enabled=False),
        "not assigned": lambda: do(assign_device, LAPTOP, ALICE, assigned=False),
        "not compliant": lambda: do(report_device, LAPTOP, "compliant", value=False, source="administrator"),
        "blocked": lambda: do(import_access_policies, make_document("block", name="block")),
        "password changed": lambda: do(change_user, ALICE, password="another password"),
    }
    actions[what]()


TAKEN_AWAY = {
    "revoked": Reason.DEVICE_PROOF_FAILED,
    "ended": Reason.DEVICE_PROOF_FAILED,
    "user denied": Reason.USER_DENIED,
    "device denied": Reason.DEVICE_DENIED,
    "device denied and revoked": Reason.DEVICE_DENIED,
    "user disabled": Reason.USER_DISABLED,
    "device disabled": Reason.DEVICE_DISABLED,
    "not assigned": Reason.DEVICE_NOT_ASSIGNED,
    "not compliant": Reason.DEVICE_NOT_COMPLIANT,
    "blocked": Reason.BLOCKED_BY_ACCESS_POLICY,
    "password changed": Reason.SIGN_IN_FAILED,
}


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_each_refusal_has_its_own_reason(ready: Ready, what: str) -> None:
    take_away(ready, what)
    assert ready.refuse().reason == TAKEN_AWAY[what].value


class Interrupted(Store):
    """A store on which something happens just before the next transaction begins."""

    def __init__(self, url: str, event: Callable[[], None]) -> None:
        super().__init__(url)
        self._event: Callable[[], None] | None = event

    @contextmanager
    def write(self, now: datetime) -> Iterator[Transaction]:
        """The event, then the transaction."""
        event, self._event = self._event, None
        if event is not None:
            event()
        with super().write(now) as tx:
            yield tx


@pytest.mark.parametrize("what", ["revoked", "user denied", "device disabled", "not assigned", "password changed"])
def test_what_is_taken_away_between_proof_and_grant_counts(ready: Ready, tmp_path: Path, what: str) -> None:
    store = Interrupted(f"sqlite:///{tmp_path}/evertunnel.db", lambda: take_away(ready, what))
    installation = replace(ready.installation, store=store)
    assert replace(ready, installation=installation).refuse().reason == TAKEN_AWAY[what].value
    store.close()


def test_no_policy_means_no_certificate(ready: Ready) -> None:
    for state in ("off", "report-only"):
        ready.installation.do(switch_access_policy, "policy", state)
        assert ready.refuse().reason == Reason.NO_ACCESS_POLICY.value


@pytest.mark.parametrize("name", ["bob@corp.example", "nobody@corp.example", "\x00' OR 1=1"])
def test_a_user_who_is_not_ours_cannot_be_told_from_a_wrong_password(ready: Ready, name: str) -> None:
    ready.installation.add_user("bob@corp.example")  # exists, and has no password here
    row = ready.refuse(ready.ask(user_name=name))
    assert (row.reason, row.detail) == (Reason.SIGN_IN_FAILED.value, "user name or password is wrong")


def test_a_name_in_another_case_is_the_same_user_and_the_certificate_has_the_stored_one(ready: Ready) -> None:
    certificate = ready.issue(ready.ask(user_name=ALICE.upper()))
    assert certificate.subject.rfc4514_string() == f"CN={ALICE}"


def test_a_request_that_cannot_be_read_is_bad_input_and_no_attempt(ready: Ready) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        ready.issue(ready.ask(csr_der=b"noise"))
    with ready.installation.store.read() as connection:
        assert connection.execute(select(tables.attempts)).all() == []


def test_names_in_the_request_are_ignored(ready: Ready) -> None:
    csr_der = make_request(subject="administrator@corp.example", names=["evil.example"])
    certificate = ready.issue(ready.ask(csr_der=csr_der))
    assert b"evil" not in certificate.public_bytes(Encoding.DER)
    assert certificate.subject.rfc4514_string() == f"CN={ALICE}"


def test_a_long_claimed_name_is_cut_in_the_record(ready: Ready) -> None:
    assert len(ready.refuse(ready.ask(user_name="x" * 5000)).claimed_identity) == 256


def test_guessing_ends_after_five_tries_on_a_device_however_the_name_is_written(ready: Ready) -> None:
    names = (ALICE, ALICE.upper(), ALICE.title(), ready.user_id, "somebody@corp.example")
    for name in names:
        assert ready.refuse(ready.ask(user_name=name, password="a guess")).reason == Reason.SIGN_IN_FAILED.value
    assert ready.refuse(ready.ask(user_name=ALICE.capitalize())).reason == Reason.TOO_MANY_SIGN_INS.value
    assert ready.refuse().reason == Reason.TOO_MANY_SIGN_INS.value
    ready.installation.clock.forward(minutes=5, seconds=1)
    ready.issue()


def test_guessing_on_one_device_does_not_lock_its_user_out_on_another(ready: Ready) -> None:
    other, key = "laptop2.corp.example", make_key("p256", "other device")
    do = ready.installation.do
    device_id = ready.installation.add_device(other)
    issued = ready.installation.issue(CertificateKind.DEVICE, other, key=key, device_id=device_id)
    do(assign_device, other, ALICE)
    do(report_device, other, "compliant", value=True, source="administrator")
    for _ in range(6):
        ready.refuse(ready.ask(password="a guess"))
    assert ready.refuse().reason == Reason.TOO_MANY_SIGN_INS.value
    replace(ready, device_key=key, device_certificate_der=issued.certificate_der).issue()


def test_who_proves_no_device_locks_neither_user_nor_device_out(ready: Ready) -> None:
    for _ in range(20):
        ready.refuse(ready.ask(device_signature=b"noise", password="a guess"))
    ready.issue()


def bound(ready: Ready, monkeypatch: pytest.MonkeyPatch, seconds: int | None) -> None:
    """Have conditional access bound what it grants."""
    decide = ready.installation.decider.decide_certificate
    monkeypatch.setattr(
        ready.installation.decider,
        "decide_certificate",
        lambda facts: replace(decide(facts), lifetime_seconds=seconds),
    )


@pytest.mark.parametrize(
    ("seconds", "lasts"), [(None, 3600), (7200, 3600), (3600, 3600), (3599, 3599), (1234, 1234), (120, 120)]
)
def test_it_lasts_an_hour_or_as_long_as_conditional_access_allows(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, seconds: int | None, lasts: int
) -> None:
    bound(ready, monkeypatch, seconds)
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(seconds=lasts)


@pytest.mark.parametrize("seconds", [119, 1, 0, -5])
def test_a_bound_below_two_minutes_is_not_stretched_but_refused(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    bound(ready, monkeypatch, seconds)
    row = ready.refuse()
    assert row.reason == Reason.LIFETIME_TOO_SHORT
    assert f"for {max(seconds, 0)} seconds; no certificate is given for less than 120" in row.detail
    with ready.installation.store.read() as connection:
        kinds = connection.execute(select(tables.certificates.c.kind)).scalars().all()
    assert CertificateKind.SHORT_LIVED not in kinds


def test_the_users_security_identifier_is_in_it_once_it_is_known(ready: Ready) -> None:
    sid = "S-1-5-21-1004336348-1177238915-682003330-1104"

    def find(certificate: x509.Certificate) -> list[bytes]:
        return [
            extension.value.public_bytes()
            for extension in certificate.extensions
            if extension.oid == oids.SECURITY_IDENTIFIER
        ]

    assert find(ready.issue()) == []
    ready.installation.do(change_user, ALICE, sid=sid)
    assert find(ready.issue()) == [build_sid_extension(sid).value]
    issued = ready.installation.issue(CertificateKind.USER, ALICE, user_id=ready.user_id)
    assert find(x509.load_der_x509_certificate(issued.certificate_der)) == [build_sid_extension(sid).value]
    ready.installation.do(change_user, ALICE, sid="")
    assert find(ready.issue()) == []


@pytest.mark.parametrize(
    ("frequency", "lasts"),
    [
        ({"frequencyInterval": "everyTime", "authenticationType": "primaryAndSecondaryAuthentication"}, 300),
        ({"frequencyInterval": "timeBased", "type": "hours", "value": 1}, 3600),
        ({"frequencyInterval": "timeBased", "type": "days", "value": 1}, 3600),
    ],
)
def test_sign_in_frequency_bounds_it(ready: Ready, frequency: dict[str, Any], lasts: int) -> None:
    document = make_document("compliantDevice", name="Sign in often")
    document["sessionControls"] = {"signInFrequency": {"isEnabled": True, **frequency}}
    ready.installation.do(import_access_policies, document)
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(seconds=lasts)


def say_compliant(ready: Ready, source: str, **life: float) -> None:
    ready.installation.do(report_device, LAPTOP, "compliant", value=True, source=source, life=timedelta(**life))


def test_it_lasts_no_longer_than_the_fact_that_it_rests_on(ready: Ready) -> None:
    say_compliant(ready, "administrator", minutes=20)
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(minutes=20)
    assert "is satisfied, until a fact ends that it rests on" in ready.find_attempt().detail
    say_compliant(ready, "mdm", minutes=30)
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(minutes=30), "the other goes on"
    say_compliant(ready, "administrator", hours=2)
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(hours=1)


def test_a_fact_that_nothing_rests_on_bounds_nothing(ready: Ready) -> None:
    ready.installation.do(report_device, LAPTOP, "domain_joined", value=True, source="mdm", life=timedelta(minutes=20))
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(hours=1)


def test_a_property_that_keeps_a_policy_away_bounds_it(ready: Ready) -> None:
    document = make_document("block", name="Toasters")
    rule = 'device.model -eq "Toaster"'
    document["conditions"]["devices"] = {"deviceFilter": {"mode": "include", "rule": rule}}
    ready.installation.do(import_access_policies, document)
    rows = f"device,fact,value,life\n{LAPTOP},model,Latitude,15m\n".encode()
    ready.installation.do(import_facts, rows, source="mdm")
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(minutes=15)


def test_a_fact_that_ends_within_two_minutes_is_no_ground_for_one(ready: Ready) -> None:
    say_compliant(ready, "administrator", seconds=119)
    row = ready.refuse()
    assert row.reason == Reason.LIFETIME_TOO_SHORT
    say_compliant(ready, "administrator", seconds=120)
    assert ready.issue().not_valid_after_utc == ready.installation.now + timedelta(seconds=120)
