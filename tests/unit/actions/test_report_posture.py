"""Posture under the device's key: only of ours, only fresh, only once, never older over newer, and only what it may."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from evertunnel.access.facts import COMPLIANT, find_device_fact
from evertunnel.actions.change_compliance_policies import import_compliance_policies
from evertunnel.actions.change_device import change_device
from evertunnel.actions.deny import deny
from evertunnel.actions.report_posture import LIFE, PostureReport, report_posture
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import AccessDeniedError, InvalidInputError, UnavailableError
from evertunnel.model import CertificateKind, SubjectKind
from evertunnel.protocols.enrolment import build_signed_report, build_signed_text
from evertunnel.storage import facts
from evertunnel.storage.snapshot import Changes
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.actions.posture import POLICY, is_compliant, list_said, load
from tests.unit.pki.samples import make_key

GOOD = {"operatingSystem": "Linux", "firewall": True, "disk_encryption": True}


@dataclass
class Reporting:
    """A laptop with a device certificate, and its key."""

    installation: Installation
    device_id: str
    certificate_id: str
    certificate_der: bytes
    key: Any

    def make(self, posture: Any, *, given_at: datetime | None = None, nonce: bytes = b"n" * 32) -> PostureReport:
        """A report signed over a nonce."""
        data = posture if isinstance(posture, bytes) else json.dumps(posture).encode()
        signature = self.key.sign(build_signed_report(nonce=nonce, posture_json=data), ec.ECDSA(hashes.SHA256()))
        return PostureReport(data, self.certificate_der, signature, nonce, given_at or self.installation.now)

    def send(self, report: PostureReport, **options: Any) -> None:
        """Hand it in."""
        report_posture(self.installation.store, self.installation.decider, report, now=self.installation.now, **options)

    def refuse(self, report: PostureReport) -> str:
        """Hand it in and be refused."""
        with pytest.raises(AccessDeniedError) as caught:
            self.send(report)
        assert caught.value.public == "The report was refused."
        return str(caught.value)


@pytest.fixture
def reporting(installation: Installation) -> Reporting:
    installation.do(import_compliance_policies, POLICY)
    device_id, key = installation.add_device(), make_key("p256", "device")
    issued = installation.issue(CertificateKind.DEVICE, LAPTOP, key=key, device_id=device_id)
    return Reporting(installation, device_id, issued.id, issued.certificate_der, key)


def test_a_report_makes_the_device_compliant_for_a_day(reporting: Reporting) -> None:
    reporting.send(reporting.make(GOOD))
    assert is_compliant(reporting.installation, reporting.device_id) is True
    reporting.installation.clock.forward(seconds=LIFE.total_seconds())
    assert is_compliant(reporting.installation, reporting.device_id) is None


def follow(installation: Installation) -> Changes:
    with installation.store.read() as connection:
        return installation.decider.refresh(connection)


def test_the_same_said_again_decides_nothing_anew_and_is_believed_longer(reporting: Reporting) -> None:
    installation = reporting.installation
    reporting.send(reporting.make(GOOD))
    installation.refresh()
    epoch = installation.decider.epoch
    for _ in range(5):
        installation.clock.forward(seconds=3600)
        reporting.send(reporting.make(GOOD))
        assert follow(installation) == Changes()
    assert installation.decider.epoch == epoch
    with installation.store.read() as connection:
        said = facts.list_facts(connection, SubjectKind.DEVICE, reporting.device_id)
    assert {fact.observed_at for fact in said if fact.source == "device"} == {installation.now}
    installation.clock.forward(seconds=3601)
    reporting.send(reporting.make(GOOD))
    assert follow(installation).ids == {reporting.device_id}, "its end would have come near"
    last = installation.now
    installation.clock.moment = last + timedelta(hours=18) - timedelta(seconds=1)
    assert is_compliant(installation, reporting.device_id) is True
    installation.clock.moment = last + LIFE
    assert is_compliant(installation, reporting.device_id) is None


def test_something_else_said_decides_anew_at_once(reporting: Reporting) -> None:
    reporting.send(reporting.make(GOOD))
    reporting.installation.clock.forward(seconds=600)
    reporting.send(reporting.make(GOOD | {"firewall": False}))
    assert is_compliant(reporting.installation, reporting.device_id) is False
    reporting.installation.clock.forward(seconds=600)
    reporting.send(reporting.make(GOOD))
    assert is_compliant(reporting.installation, reporting.device_id) is True


def test_its_source_says_that_the_device_said_it_and_more_may_be_demanded(reporting: Reporting) -> None:
    reporting.send(reporting.make(GOOD))
    installation = reporting.installation
    assert {source for _, source in list_said(installation, reporting.device_id)} == {"device", "device posture"}
    installation.refresh()
    facts = installation.decider.gather_facts(
        at=installation.now, tunnel=None, device=installation.decider.find_device(reporting.device_id)
    )
    assert find_device_fact(facts, COMPLIANT, least_source="device")[0] is True
    assert find_device_fact(facts, COMPLIANT, least_source="import")[0] is None


def test_what_a_later_report_leaves_out_is_unknown(reporting: Reporting) -> None:
    reporting.send(reporting.make(GOOD))
    reporting.send(reporting.make({"operatingSystem": "Linux", "firewall": True, "disk_encryption": None}))
    assert ("disk_encryption", "device") not in list_said(reporting.installation, reporting.device_id)
    assert is_compliant(reporting.installation, reporting.device_id) is False


def test_an_old_good_report_held_back_does_not_replace_a_newer_bad_one(reporting: Reporting) -> None:
    held_back = reporting.make(GOOD)
    reporting.installation.clock.forward(seconds=5)
    reporting.send(reporting.make(GOOD | {"firewall": False}, nonce=b"m" * 32))
    reporting.installation.clock.forward(seconds=5)
    assert reporting.refuse(held_back) == f"{LAPTOP} reported something newer since"
    assert is_compliant(reporting.installation, reporting.device_id) is False


def test_a_clock_set_back_does_not_silence_a_device(reporting: Reporting) -> None:
    reporting.send(reporting.make(GOOD))
    reporting.installation.clock.forward(days=-1)
    reporting.send(reporting.make(GOOD | {"firewall": False}))
    assert is_compliant(reporting.installation, reporting.device_id) is False


def test_the_signature_covers_every_part(reporting: Reporting) -> None:
    report = reporting.make(GOOD | {"firewall": False})
    forged = {
        "posture": replace(report, posture_json=json.dumps(GOOD).encode()),
        "nonce": replace(report, nonce=b"o" * 32),
        "signature": replace(report, device_signature=b"x" * 70),
        "none": replace(report, device_signature=b""),
    }
    for each in forged.values():
        assert reporting.refuse(each) == "the device did not sign this report with its key"


def test_the_signature_of_a_certificate_request_is_none_of_a_report(reporting: Reporting) -> None:
    report = reporting.make(GOOD)
    signed = build_signed_text(nonce=report.nonce, user_name="", csr_der=report.posture_json)
    taken = replace(report, device_signature=reporting.key.sign(signed, ec.ECDSA(hashes.SHA256())))
    assert reporting.refuse(taken) == "the device did not sign this report with its key"


def test_only_a_device_certificate_of_ours_in_force_may_report(reporting: Reporting) -> None:
    installation, report = reporting.installation, reporting.make(GOOD)
    user = installation.issue(
        CertificateKind.USER, ALICE, key=reporting.key, user_id=installation.add_user(), device_id=reporting.device_id
    )
    for der in (user.certificate_der, b"", b"no certificate"):
        assert "not a device certificate of ours" in reporting.refuse(replace(report, device_certificate_der=der))
    installation.do(change_device, LAPTOP, enabled=False)
    assert "disabled" in reporting.refuse(report)
    installation.do(change_device, LAPTOP, enabled=True)
    installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="lost")
    assert "on hold" in reporting.refuse(report)
    installation.do(revoke_certificate, reporting.certificate_id, reason="key compromise")
    assert "revoked" in reporting.refuse(report)


def test_a_certificate_that_ended_may_not_report(reporting: Reporting) -> None:
    reporting.installation.clock.forward(days=4000)
    assert "has ended" in reporting.refuse(reporting.make(GOOD))


@pytest.mark.parametrize(
    ("posture", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 20_000, "not JSON"),
        ([], "must be an object"),
        ({}, "must be an object"),
        ({"compliant": True}, "'compliant' is nothing a device may say of itself"),
        ({"trustType": "AzureAD"}, "'trustType' is nothing a device may say"),
        ({"extensionAttribute1": "SAW"}, "is nothing a device may say"),
        ({"not_compliant_since": "2026"}, "is nothing a device may say"),
        ({"firewall": "on"}, "firewall is true or false"),
        ({"firewall": 1}, "firewall: must be true, false or a text"),
        ({"model": "x" * 257}, "model is a text"),
        ({"model": "\x1b[31m"}, "model holds a character"),
    ],
)
def test_what_a_device_may_not_say_changes_nothing(reporting: Reporting, posture: Any, words: str) -> None:
    reporting.send(reporting.make(GOOD))
    with pytest.raises(InvalidInputError, match=words):
        reporting.send(reporting.make(posture))
    assert is_compliant(reporting.installation, reporting.device_id) is True


def test_a_device_that_reports_too_often_is_told_to_come_again(reporting: Reporting) -> None:
    with pytest.raises(UnavailableError, match="too often"):
        reporting.send(reporting.make(GOOD), allows=lambda device_id: device_id != reporting.device_id)


def test_a_report_from_before_the_life_of_a_nonce_counts_from_then(reporting: Reporting) -> None:
    given = reporting.installation.now - timedelta(seconds=50)
    reporting.send(reporting.make(GOOD, given_at=given))
    with reporting.installation.store.read() as connection:
        assert {fact.expires_at for fact in load(connection, reporting.device_id) if fact.source == "device"} == {
            given + LIFE
        }
