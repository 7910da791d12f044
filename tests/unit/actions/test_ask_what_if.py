"""What would come of it: what is known, what is supposed, and everything that stands in the way."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from evertunnel.access.what_if import Prospect, Supposition
from evertunnel.actions.ask_what_if import Question, ask_what_if
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.report_device import report_device
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import CertificateKind, Reason, SubjectKind, TunnelKind
from evertunnel.storage import tables
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document

QUESTION = Question(user=ALICE, device=LAPTOP)


@pytest.fixture
def office(installation: Installation) -> Installation:
    """Alice and her laptop; everything is granted that is compliant and not from France."""
    installation.add_user()
    installation.add_device()
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, [make_document("compliantDevice", name="Compliant"), make_mfa()])
    return installation


def make_mfa() -> dict[str, Any]:
    return make_document("mfa", name="MFA", state="enabledForReportingButNotEnforced")


def ask(installation: Installation, question: Question = QUESTION, **supposed: Any) -> Prospect:
    return ask_what_if(installation.store, question, Supposition(**supposed), now=installation.now)


def test_what_is_known_decides_where_nothing_is_supposed(office: Installation) -> None:
    assert ask(office).decision.reason is Reason.DEVICE_NOT_COMPLIANT
    office.do(report_device, LAPTOP, "compliant", value=True, source="mdm")
    assert ask(office).decision.granted


def test_what_is_supposed_takes_the_place_of_what_is_known(office: Installation) -> None:
    office.do(report_device, LAPTOP, "compliant", value=False, source="mdm")
    assert ask(office, compliant=True).decision.granted
    office.do(report_device, LAPTOP, "compliant", value=True, source="mdm")
    prospect = ask(office, compliant=False)
    assert (prospect.decision.reason, prospect.access.error_code) == (Reason.DEVICE_NOT_COMPLIANT, 53000)


def test_every_policy_is_told_although_a_denial_refuses_first(office: Installation) -> None:
    office.do(deny, SubjectKind.USER, ALICE, reason="left")
    prospect = ask(office)
    assert prospect.decision.reason is Reason.USER_DENIED
    assert [reason for reason, _ in prospect.obstacles] == [Reason.USER_DENIED]
    assert [(result.policy, result.result) for result in prospect.network] == [("everything", "success")]
    told = {outcome.result.policy: outcome.result.result for outcome in prospect.access.outcomes}
    assert told == {"Compliant": "failure", "MFA": "reportOnlyInterrupted"}
    assert [missing.control for missing in prospect.access.missing] == ["compliantDevice"]


def test_methods_that_are_supposed_satisfy_what_demands_them(office: Installation) -> None:
    told = ask(office, methods=("password", "softwareOath")).access.outcomes
    assert {outcome.result.policy: outcome.result.result for outcome in told}["MFA"] == "reportOnlySuccess"


def test_who_passed_no_method_did_not_sign_in_now(office: Installation) -> None:
    often = make_document(name="Often")
    often["grantControls"] = None
    often["sessionControls"] = {"signInFrequency": {"isEnabled": True, "type": "hours", "value": 4}}
    office.do(import_access_policies, often)
    assert ask(office, compliant=True, methods=("password",)).decision.granted
    assert ask(office, compliant=True, methods=()).decision.reason is Reason.SIGN_IN_TOO_OLD
    assert ask(office, compliant=True).decision.reason is Reason.SIGN_IN_TOO_OLD


@pytest.mark.parametrize("kind", [CertificateKind.DEVICE, CertificateKind.USER, CertificateKind.SHORT_LIVED])
def test_the_certificate_that_is_asked_with_matters(office: Installation, kind: CertificateKind) -> None:
    decision = ask(office, replace(QUESTION, certificate=kind), compliant=True).decision
    assert decision.granted is (kind is not CertificateKind.DEVICE)


def test_a_certificate_and_a_device_tunnel_can_be_asked_for(office: Installation) -> None:
    assert ask(office, replace(QUESTION, tunnel=None), compliant=True).decision.granted
    assert ask(office, Question(device=LAPTOP, tunnel=TunnelKind.DEVICE)).decision.granted


def test_somebody_elses_device_gets_no_certificate(office: Installation) -> None:
    office.add_device("other.corp.example")
    question = Question(user=ALICE, device="other.corp.example", tunnel=None)
    assert ask(office, question, compliant=True).decision.reason is Reason.DEVICE_NOT_ASSIGNED


@pytest.mark.parametrize(
    "question",
    [
        Question(),
        Question(device=LAPTOP),
        Question(user=ALICE, tunnel=TunnelKind.DEVICE),
        replace(QUESTION, certificate=CertificateKind.GATEWAY),
    ],
)
def test_a_question_that_names_too_little_is_refused(office: Installation, question: Question) -> None:
    with pytest.raises(InvalidInputError):
        ask(office, question)


@pytest.mark.parametrize(
    "question", [Question(user="bob"), replace(QUESTION, device="x"), replace(QUESTION, gateway="x")]
)
def test_whom_nobody_knows_is_not_found(office: Installation, question: Question) -> None:
    with pytest.raises(NotFoundError):
        ask(office, question)


def test_asking_changes_and_records_nothing(office: Installation) -> None:
    def count() -> list[int]:
        with office.store.read() as connection:
            every = [tables.attempts, tables.audit, tables.batches, tables.facts]
            return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in every]

    before = count()
    ask(office, compliant=True)
    assert count() == before
