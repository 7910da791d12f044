"""Deny: one transaction after which nothing is granted, certificates are held and tunnels are to be cut."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_denials import end_denials
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import CertificateKind, CertificateStatus, Reason, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, people, sessions, tables
from evertunnel.storage.store import new_id
from evertunnel.storage.tables import AnyRow, encode_time
from tests.installation import ALICE, LAPTOP, Installation


@pytest.fixture
def open_door(installation: Installation) -> Installation:
    """An installation that grants everything to everybody."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    return installation


def open_session(installation: Installation, **columns: str | None) -> str:
    session_id = new_id()
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(
            tx, [Session(session_id, TunnelKind.USER, SessionState.UP, "g1", 1, installation.now, **columns)]
        )  # type: ignore[arg-type]
    return session_id


def add_short_lived(installation: Installation, user_id: str, number: int, *, ended_before: timedelta) -> None:
    """What a user got in a long time."""
    ended = encode_time(installation.now - ended_before)
    with installation.store.write(installation.now) as tx:
        row = {
            "authority": "access", "kind": "short-lived", "status": "valid", "subject_name": ALICE, "dns_names": "[]",
            "public_key_der": b"", "not_before": ended, "not_after": ended, "user_id": user_id, "granted_by": "",
            "granted_at": ended, "certificate_der": b"",
        }  # fmt: skip
        tx.insert(tables.certificates, [row | {"id": f"{each:016x}", "serial": f"{each:x}"} for each in range(number)])


def find_session(installation: Installation, session_id: str) -> AnyRow:
    with installation.store.read() as connection:
        return connection.execute(select(tables.sessions).where(tables.sessions.c.id == session_id)).one()


def test_a_denied_user_is_refused_and_the_reason_is_told(open_door: Installation) -> None:
    certificate_id = open_door.issue_user(open_door.add_user())
    assert open_door.decide(certificate_id).granted
    open_door.do(deny, SubjectKind.USER, ALICE, reason="left the company")
    decision = open_door.decide(certificate_id)
    assert decision.reason is Reason.USER_DENIED
    assert decision.detail == "the user is denied: left the company"


def test_a_denied_device_is_refused_on_both_tunnels(open_door: Installation) -> None:
    user_id, device_id = open_door.add_user(), open_door.add_device()
    own, users = open_door.issue_device(device_id), open_door.issue_user(user_id, device_id=device_id)
    open_door.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    assert open_door.decide(own, TunnelKind.DEVICE).reason is Reason.DEVICE_DENIED
    assert open_door.decide(users).reason is Reason.DEVICE_DENIED


def test_somebody_else_is_not_denied(open_door: Installation) -> None:
    open_door.add_user()
    other = open_door.issue_user(open_door.add_user("bob@corp.example"), name="bob@corp.example")
    open_door.do(deny, SubjectKind.USER, ALICE, reason="test")
    assert open_door.decide(other).granted


@pytest.mark.parametrize(("revoke", "status"), [(False, CertificateStatus.ON_HOLD), (True, CertificateStatus.REVOKED)])
def test_certificates_go_on_hold_or_are_revoked(
    open_door: Installation, revoke: bool, status: CertificateStatus
) -> None:
    certificate_id = open_door.issue_user(open_door.add_user())
    open_door.do(deny, SubjectKind.USER, ALICE, reason="test", revoke=revoke)
    assert open_door.find_certificate(certificate_id).status is status
    with open_door.store.read() as connection:
        row = connection.execute(select(tables.certificates).where(tables.certificates.c.id == certificate_id)).one()
    assert row.revocation_reason == ("privilege withdrawn" if revoke else "certificate hold")
    assert row.revoked_at == open_door.now


def test_what_was_held_can_still_be_revoked_while_the_denial_stands(open_door: Installation) -> None:
    certificate_id = open_door.issue_user(open_door.add_user())
    open_door.do(deny, SubjectKind.USER, ALICE, reason="first")
    open_door.do(deny, SubjectKind.USER, ALICE, reason="worse", revoke=True)
    assert open_door.find_certificate(certificate_id).status is CertificateStatus.REVOKED


def test_a_second_denial_is_told_about_the_first(open_door: Installation) -> None:
    open_door.add_user()
    open_door.do(deny, SubjectKind.USER, ALICE, reason="first")
    with pytest.raises(AlreadyExistsError, match=r"is denied already, since 2026-05-04 12:00:00 UTC: first"):
        open_door.do(deny, SubjectKind.USER, ALICE, reason="second")


def test_a_denial_is_made_to_last_longer_without_a_moment_of_access(open_door: Installation) -> None:
    certificate_id = open_door.issue_user(open_door.add_user())
    tomorrow = open_door.now + timedelta(days=1)
    open_door.do(deny, SubjectKind.USER, ALICE, reason="first", until=tomorrow)
    with pytest.raises(AlreadyExistsError, match="first"):
        open_door.do(deny, SubjectKind.USER, ALICE, reason="shorter", until=tomorrow - timedelta(hours=1))
    open_door.do(deny, SubjectKind.USER, ALICE, reason="for good")
    with pytest.raises(AlreadyExistsError, match="for good"):
        open_door.do(deny, SubjectKind.USER, ALICE, reason="not longer", until=tomorrow + timedelta(days=1))
    end_denials(open_door.store, now=open_door.clock.forward(days=2))
    assert open_door.decide(certificate_id).reason is Reason.USER_DENIED


def test_a_denial_stands_on_the_id_whatever_name_is_given_later(open_door: Installation) -> None:
    user_id = open_door.add_user()
    certificate_id = open_door.issue_user(user_id)
    open_door.do(deny, SubjectKind.USER, ALICE, reason="test")
    with open_door.store.write(open_door.now) as tx:
        people.update_subject(tx, SubjectKind.USER, user_id, name="eve@corp.example", name_key="eve@corp.example")
        tx.raise_epoch("user", user_id)
    assert open_door.decide(certificate_id).reason is Reason.USER_DENIED


@pytest.mark.parametrize("kind", [SubjectKind.USER, SubjectKind.DEVICE])
def test_enrolling_again_does_not_shake_a_denial_off(open_door: Installation, kind: SubjectKind) -> None:
    name = ALICE if kind is SubjectKind.USER else LAPTOP
    subject_id = open_door.add_user() if kind is SubjectKind.USER else open_door.add_device()
    open_door.do(deny, kind, name, reason="test")
    issue = open_door.issue_user if kind is SubjectKind.USER else open_door.issue_device
    with pytest.raises(InvalidInputError, match="gets no certificate while a denial stands: test"):
        issue(subject_id)


def test_a_short_lived_certificate_of_the_denied_is_not_granted_either(open_door: Installation) -> None:
    user_id, device_id = open_door.add_user(), open_door.add_device()
    open_door.do(deny, SubjectKind.DEVICE, LAPTOP, reason="test")
    with pytest.raises(InvalidInputError):
        open_door.issue(CertificateKind.SHORT_LIVED, ALICE, user_id=user_id, device_id=device_id)


def test_the_same_name_added_again_is_refused_while_it_exists(open_door: Installation) -> None:
    open_door.add_user()
    open_door.do(deny, SubjectKind.USER, ALICE, reason="test")
    with pytest.raises(AlreadyExistsError):
        open_door.add_user(ALICE.upper())


def test_leaving_and_joining_users_does_not_shake_a_devices_denial_off(open_door: Installation) -> None:
    user_id, device_id = open_door.add_user(), open_door.add_device()
    certificate_id = open_door.issue_user(user_id, device_id=device_id)
    open_door.do(deny, SubjectKind.DEVICE, LAPTOP, reason="test")
    open_door.do(assign_device, LAPTOP, ALICE)
    open_door.do(assign_device, LAPTOP, ALICE, assigned=False)
    assert open_door.decide(certificate_id).reason is Reason.DEVICE_DENIED


def test_live_sessions_are_ending_and_every_gateway_is_told_to_cut(open_door: Installation) -> None:
    gateways = {open_door.add_gateway("gw1", "127.0.0.1"), open_door.add_gateway("gw2", "127.0.0.2")}
    user_id = open_door.add_user()
    own, other = open_session(open_door, user_id=user_id), open_session(open_door, user_id="somebody else")
    denial_id = open_door.do(deny, SubjectKind.USER, ALICE, reason="test")
    assert (find_session(open_door, own).state, find_session(open_door, own).end_reason) == ("ending", "denied: test")
    assert find_session(open_door, other).state == "up"
    with open_door.store.read() as connection:
        effects = effect_queue.list_of_denial(connection, denial_id)
    assert {effect.gateway_id for effect in effects} == gateways
    assert {(effect.kind, effect.subject_id, effect.state) for effect in effects} == {("cut", user_id, "pending")}


def test_a_denied_devices_user_tunnels_end_too(open_door: Installation) -> None:
    device_id = open_door.add_device()
    session_id = open_session(open_door, user_id="u", device_id=device_id)
    open_door.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    assert find_session(open_door, session_id).state == "ending"


def test_the_audit_says_who_denied_whom_and_what_it_took(open_door: Installation) -> None:
    user_id = open_door.add_user()
    open_door.issue_user(user_id)
    open_session(open_door, user_id=user_id)
    open_door.do(deny, SubjectKind.USER, ALICE, reason="test")
    with open_door.store.read() as connection:
        row = connection.execute(select(tables.audit).where(tables.audit.c.name == "user:deny")).one()
    assert (row.actor, row.subject, row.subject_id) == ("ann", ALICE, user_id)
    assert '"certificates":1' in row.details and '"sessions":1' in row.details


@pytest.mark.parametrize("reason", ["", "   ", "\t"])
def test_a_denial_needs_a_reason(open_door: Installation, reason: str) -> None:
    open_door.add_user()
    with pytest.raises(InvalidInputError, match="give a reason"):
        open_door.do(deny, SubjectKind.USER, ALICE, reason=reason)


def test_a_denial_cannot_have_ended_already(open_door: Installation) -> None:
    open_door.add_user()
    with pytest.raises(InvalidInputError, match="in the past"):
        open_door.do(deny, SubjectKind.USER, ALICE, reason="test", until=open_door.now)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-23)), timezone(timedelta(hours=23))])
def test_an_end_no_calendar_reaches_is_refused(open_door: Installation, zone: timezone) -> None:
    open_door.add_user()
    until = datetime(9999, 12, 31, 23, 59, tzinfo=zone)
    with pytest.raises(InvalidInputError, match="more than a hundred years"):
        open_door.do(deny, SubjectKind.USER, ALICE, reason="test", until=until)


def test_a_group_cannot_be_denied_and_the_way_to_do_it_is_told(open_door: Installation) -> None:
    open_door.add_group("staff")
    with pytest.raises(InvalidInputError, match="add a network policy"):
        open_door.do(deny, SubjectKind.GROUP, "staff", reason="test")


@pytest.mark.parametrize("kind", [SubjectKind.USER, SubjectKind.DEVICE])
def test_nobody_is_nobody(open_door: Installation, kind: SubjectKind) -> None:
    with pytest.raises(NotFoundError):
        open_door.do(deny, kind, "nobody", reason="test")


def test_a_denial_with_an_end_refuses_until_then(open_door: Installation) -> None:
    certificate_id = open_door.issue_user(open_door.add_user())
    open_door.do(deny, SubjectKind.USER, ALICE, reason="holiday", until=open_door.now + timedelta(days=7))
    open_door.clock.forward(days=6, hours=23)
    assert open_door.decide(certificate_id).reason is Reason.USER_DENIED


def test_a_year_of_short_lived_certificates_is_no_part_of_a_denial(open_door: Installation) -> None:
    """They ended: their date refuses them. To change each would have every process read everything anew."""
    user_id = open_door.add_user()
    lasting = open_door.issue_user(user_id)
    add_short_lived(open_door, user_id, 600, ended_before=timedelta(days=2))
    open_door.refresh()
    open_door.do(deny, SubjectKind.USER, ALICE, reason="left")
    with open_door.store.read() as connection:
        changes = open_door.decider.refresh(connection)
        found = connection.execute(select(tables.certificates.c.id).where(tables.certificates.c.status == "on hold"))
        assert [row.id for row in found] == [lasting]
    assert changes.ids == {user_id, lasting}
    assert not changes.everybody
