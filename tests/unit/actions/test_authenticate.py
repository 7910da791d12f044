"""A login that proved a certificate: decided afresh, recorded, and a grant opens a session."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.authenticate import Decided, LoginFacts, decide_login, record_failure, record_login
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.report_device import report_device
from evertunnel.model import Attempt, Decision, Outcome, Reason, Step, SubjectKind
from evertunnel.storage import tables
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document


@pytest.fixture
def open_door(installation: Installation) -> Installation:
    """Everything is granted; there are Alice, her laptop and a gateway."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    return installation


def make_login(installation: Installation, **changes: Any) -> LoginFacts:
    user_id, device_id = installation.add_user(), installation.add_device()
    gateway_id = installation.add_gateway()
    certificate = installation.find_certificate(installation.issue_user(user_id, device_id=device_id))
    gateway = installation.decider.find_gateway(gateway_id)
    assert gateway is not None
    login = LoginFacts(
        began_at=installation.now, gateway=gateway, unique_id=7, claimed_identity=ALICE, client_address="192.0.2.7",
        certificate=certificate, steps=(Step(0.1, "step"),), duration_ms=12.5,
    )  # fmt: skip
    return replace(login, **changes)


def record(installation: Installation, login: LoginFacts) -> tuple[Decision, Attempt]:
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        return record_login(tx, installation.decider, login)


def list_rows(installation: Installation, table: str) -> list[Any]:
    with installation.store.read() as connection:
        return list(connection.execute(select(tables.metadata.tables[table])))


def test_a_grant_is_recorded_with_a_session_that_waits_for_its_tunnel(open_door: Installation) -> None:
    login = make_login(open_door)
    decision, attempt = record(open_door, login)
    assert decision.granted
    [session] = list_rows(open_door, "sessions")
    [row] = list_rows(open_door, "attempts")
    assert (session.id, session.state, session.unique_id) == (attempt.session_id, "pending", 7)
    assert (session.user_id, session.device_id) == (row.user_id, row.device_id)
    assert (row.id, row.outcome, row.session_id, row.duration_microseconds) == (
        attempt.id,
        "granted",
        session.id,
        12500,
    )
    assert session.attempt_id == row.id
    assert session.gateway_id == login.gateway.id


def test_a_refusal_is_recorded_and_opens_nothing(open_door: Installation) -> None:
    login = make_login(open_door)
    open_door.do(deny, SubjectKind.USER, ALICE, reason="left")
    decision, attempt = record(open_door, login)
    assert (decision.reason, attempt.session_id) == (Reason.USER_DENIED, None)
    assert list_rows(open_door, "sessions") == []
    assert [row.reason for row in list_rows(open_door, "attempts")] == ["user_denied"]


@pytest.mark.parametrize("revoke", [False, True])
def test_what_was_found_valid_at_the_handshake_is_looked_at_again(open_door: Installation, revoke: bool) -> None:
    login = make_login(open_door)
    assert login.certificate is not None and login.certificate.status.value == "valid"
    open_door.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen", revoke=revoke)
    assert record(open_door, login)[0].reason is Reason.DEVICE_DENIED


def decide_before(installation: Installation, login: LoginFacts, **age: float) -> LoginFacts:
    """As the policy server does when the key is proven, some time before the record."""
    facts, decision = decide_login(installation.decider, login, now=installation.now - timedelta(**age))
    return replace(login, decided=Decided(installation.decider.epoch, facts, decision))


def test_a_decision_of_this_epoch_and_second_is_the_one_that_is_recorded(open_door: Installation) -> None:
    login = decide_before(open_door, make_login(open_door), milliseconds=400)
    assert login.decided is not None
    told = replace(login.decided.decision, detail="the very same")
    decision, attempt = record(open_door, replace(login, decided=replace(login.decided, decision=told)))
    assert (decision.granted, attempt.detail) == (True, "the very same")


def test_a_decision_does_not_outlive_a_denial(open_door: Installation) -> None:
    login = decide_before(open_door, make_login(open_door))
    open_door.do(deny, SubjectKind.USER, ALICE, reason="left")
    assert record(open_door, login)[0].reason is Reason.USER_DENIED


@pytest.mark.parametrize("age", [1.0, 3600.0, -0.1])
def test_a_decision_is_made_anew_when_time_passed_or_the_clock_went_back(open_door: Installation, age: float) -> None:
    open_door.do(import_access_policies, make_document("compliantDevice"))
    login = make_login(open_door)
    open_door.do(report_device, LAPTOP, "compliant", value=True, source="mdm", life=timedelta(seconds=60))
    open_door.refresh()
    login = decide_before(open_door, login, seconds=age)
    assert login.decided is not None
    told = replace(login.decided.decision, detail="of another time")
    attempt = record(open_door, replace(login, decided=replace(login.decided, decision=told)))[1]
    assert attempt.detail != "of another time"


def test_a_refusal_keeps_what_it_was_decided_from(open_door: Installation) -> None:
    login = make_login(open_door)
    open_door.do(deny, SubjectKind.USER, ALICE, reason="left")
    open_door.refresh()
    login = decide_before(open_door, login)
    assert login.decided is not None
    with open_door.store.write(open_door.now) as tx:
        record_failure(tx, login, login.decided.decision)
    (row,) = list_rows(open_door, "attempts")
    assert json.loads(row.story)["facts"]["denials"] == ["left", ""]


def test_a_certificate_that_is_gone_from_the_records_is_refused(open_door: Installation) -> None:
    login = make_login(open_door)
    assert login.certificate is not None
    unknown = replace(login, certificate=replace(login.certificate, id="gone"))
    assert record(open_door, unknown)[0].reason is Reason.CERTIFICATE_UNKNOWN


def test_no_certificate_is_refused(open_door: Installation) -> None:
    decision, attempt = record(open_door, make_login(open_door, certificate=None))
    assert decision.reason is Reason.CERTIFICATE_UNKNOWN
    assert (attempt.user_id, attempt.claimed_identity) == (None, ALICE)


NAMES_OF_ALICE = ["alice@corp.example", "ALICE@CORP.EXAMPLE", " alice@corp.example ", "", "@corp.example",
                  "anonymous", "anonymous@corp.example", "Anonymous@CORP.example"]  # fmt: skip
NAMES_OF_OTHERS = ["bob@corp.example", "alice", "alice@corp.example.evil", "alice@other.example", "@other.example",
                   "anonymous@other.example", "EVIL\\alice", "host/laptop1.corp.example", "alice@corp.example\x00",
                   "anonymous@corp.example@x", "@example"]  # fmt: skip


@pytest.mark.parametrize("claimed", NAMES_OF_ALICE)
def test_a_claim_that_names_the_owner_or_nobody_is_fine(open_door: Installation, claimed: str) -> None:
    assert record(open_door, make_login(open_door, claimed_identity=claimed))[0].granted


@pytest.mark.parametrize("claimed", NAMES_OF_OTHERS)
def test_a_claim_that_names_somebody_else_is_refused_and_the_owner_is_recorded(
    open_door: Installation, claimed: str
) -> None:
    login = make_login(open_door, claimed_identity=claimed)
    decision, attempt = record(open_door, login)
    assert decision.reason is Reason.IDENTITY_MISMATCH
    assert login.certificate is not None
    assert (attempt.user_id, attempt.claimed_identity) == (login.certificate.user_id, claimed)


def test_long_claims_are_cut_in_the_record(open_door: Installation) -> None:
    login = make_login(open_door, claimed_identity="x" * 1000, client_address="y" * 1000)
    _, attempt = record(open_door, login)
    assert (len(attempt.claimed_identity), len(attempt.client_address)) == (256, 64)


def test_deciding_alone_records_nothing(open_door: Installation) -> None:
    login = make_login(open_door)
    _, decision = decide_login(open_door.decider, login, now=open_door.now)
    assert decision.granted
    assert list_rows(open_door, "attempts") == [] == list_rows(open_door, "sessions")


def test_an_attempt_that_failed_before_a_decision_is_recorded(open_door: Installation) -> None:
    login = make_login(open_door, certificate=None)
    failure = Decision(Outcome.FAILED, Reason.CLIENT_STOPPED, "no answer for 30 s")
    with open_door.store.write(open_door.now) as tx:
        record_failure(tx, login, failure)
    [row] = list_rows(open_door, "attempts")
    assert (row.outcome, row.reason, row.detail) == ("failed", "client_stopped", "no answer for 30 s")
