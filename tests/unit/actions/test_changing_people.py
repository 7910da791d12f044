"""Adding and changing users, devices and groups: each change is on record and counts at the next decision."""

from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_membership import join_group, leave_group
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.change_user import change_user
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import Reason, SubjectKind, TunnelKind
from evertunnel.passwords import check_password
from evertunnel.storage import people, tables
from tests.installation import ALICE, LAPTOP, Installation


def list_audit(installation: Installation) -> list[tuple[str, str]]:
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.audit).order_by(tables.audit.c.batch))
        return [(row.name, row.subject) for row in rows if row.name != "installation:create"]


@pytest.mark.parametrize("name", ["", "alice", "alice@", "a\x1b@x.y", "a\u202eb@x.y", "x" * 300])
def test_a_user_needs_a_proper_name(installation: Installation, name: str) -> None:
    with pytest.raises(InvalidInputError):
        installation.add_user(name)


@pytest.mark.parametrize("name", ["", "lap top", "laptop\n", "../laptop", "läptop.example", "x" * 300])
def test_a_device_needs_a_host_name(installation: Installation, name: str) -> None:
    with pytest.raises(InvalidInputError):
        installation.add_device(name)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "a\x1b[31m", "a\u202eb", "\u200b"])
def test_a_group_needs_a_name_that_can_be_shown(installation: Installation, name: str) -> None:
    with pytest.raises(InvalidInputError, match="1 to 100 printable"):
        installation.add_group(name)


def test_devices_are_kept_in_lower_case(installation: Installation) -> None:
    installation.add_device("LAPTOP1.corp.example")
    with installation.store.read() as connection:
        assert people.get_subject(connection, SubjectKind.DEVICE, "laptop1.CORP.example").name == LAPTOP
    with pytest.raises(AlreadyExistsError):
        installation.add_device(LAPTOP)


def test_a_password_is_kept_as_a_hash_and_can_be_changed(installation: Installation) -> None:
    user_id = installation.add_user(password="first password")
    installation.do(change_user, ALICE, password="second password")
    with installation.store.read() as connection:
        row = people.get_subject(connection, SubjectKind.USER, user_id)
    assert check_password(row.password_hash, "second password")
    assert not check_password(row.password_hash, "first password")


def test_no_password_ever_gets_into_the_audit(installation: Installation) -> None:
    installation.add_user(password="first password")
    installation.do(change_user, ALICE, password="second password", enabled=False)
    with installation.store.read() as connection:
        details = [row.details for row in connection.execute(select(tables.audit))]
    assert '{"enabled":false,"password":true}' in details
    assert not any("first" in text or "second" in text or "argon2" in text for text in details)


def test_a_user_without_password_signs_in_nowhere(installation: Installation) -> None:
    user_id = installation.add_user()
    with installation.store.read() as connection:
        assert people.get_subject(connection, SubjectKind.USER, user_id).password_hash is None


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_that_is_none_changes_nothing(installation: Installation, password: str) -> None:
    installation.add_user()
    with pytest.raises(InvalidInputError, match="8 to 1,024"):
        installation.do(change_user, ALICE, password=password, enabled=False)
    with installation.store.read() as connection:
        assert people.get_subject(connection, SubjectKind.USER, ALICE).enabled


def test_nothing_to_change_is_told(installation: Installation) -> None:
    installation.add_user()
    with pytest.raises(InvalidInputError, match="nothing to change"):
        installation.do(change_user, ALICE)


def test_what_is_disabled_is_refused_until_enabled_again(installation: Installation) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    user_id, device_id = installation.add_user(), installation.add_device()
    users, devices = installation.issue_user(user_id), installation.issue_device(device_id)
    installation.do(change_user, ALICE, enabled=False)
    installation.do(change_device, LAPTOP, enabled=False)
    assert installation.decide(users).reason is Reason.USER_DISABLED
    assert installation.decide(devices, TunnelKind.DEVICE).reason is Reason.DEVICE_DISABLED
    installation.do(change_user, ALICE, enabled=True)
    installation.do(change_device, LAPTOP, enabled=True)
    assert installation.decide(users).granted
    assert installation.decide(devices, TunnelKind.DEVICE).granted


@pytest.mark.parametrize("nested", [False, True])
def test_a_member_is_granted_what_the_group_is_and_no_more_after_leaving(
    installation: Installation, nested: bool
) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.add_group("outer")
    installation.add_group("inner")
    installation.do(add_network_policy, "policy", {"permission": "grant", "conditions": {"groups": ["outer"]}})
    if nested:
        installation.do(join_group, "outer", SubjectKind.GROUP, "inner")
    group = "inner" if nested else "outer"
    assert not installation.decide(certificate_id).granted
    installation.do(join_group, group, SubjectKind.USER, ALICE)
    assert installation.decide(certificate_id).granted
    installation.do(leave_group, group, SubjectKind.USER, ALICE)
    assert not installation.decide(certificate_id).granted


def test_a_group_cannot_be_its_own_member(installation: Installation) -> None:
    installation.add_group("staff")
    with pytest.raises(InvalidInputError, match="its own member"):
        installation.do(join_group, "staff", SubjectKind.GROUP, "STAFF")


UNKNOWN: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (change_user, ("nobody@x.y",), {"enabled": False}),
    (change_device, ("nothing.x.y",), {"enabled": False}),
    (join_group, ("nothing", SubjectKind.USER, ALICE), {}),
    (join_group, ("staff", SubjectKind.USER, "nobody@x.y"), {}),
    (join_group, ("staff", SubjectKind.DEVICE, ALICE), {}),
    (leave_group, ("nothing", SubjectKind.USER, ALICE), {}),
    (assign_device, (LAPTOP, "nobody@x.y"), {}),
    (assign_device, ("nothing.x.y", ALICE), {}),
]


@pytest.mark.parametrize(("action", "arguments", "options"), UNKNOWN)
def test_an_unknown_name_is_told_and_nothing_is_recorded(
    installation: Installation, action: Any, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    installation.add_user()
    installation.add_device()
    installation.add_group("staff")
    before = list_audit(installation)
    with pytest.raises(NotFoundError, match="there is no"):
        installation.do(action, *arguments, **options)
    assert list_audit(installation) == before


def test_every_change_is_on_record(installation: Installation) -> None:
    installation.add_user()
    installation.add_device()
    installation.add_group("staff")
    installation.do(join_group, "staff", SubjectKind.DEVICE, LAPTOP)
    installation.do(leave_group, "staff", SubjectKind.DEVICE, LAPTOP)
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(assign_device, LAPTOP, ALICE, assigned=False)
    installation.do(change_device, LAPTOP, enabled=False)
    names = [name for name, _ in list_audit(installation) if not name.startswith("certificate:")]
    assert names == ["user:add", "device:add", "group:add", "group:join", "group:leave", "device:assign",
                     "device:unassign", "device:change"]  # fmt: skip


def test_taking_away_what_was_never_there_is_told_and_nothing_is_recorded(installation: Installation) -> None:
    installation.add_user()
    installation.add_device()
    installation.add_group("staff")
    before = list_audit(installation)
    with pytest.raises(NotFoundError, match=f"the user {ALICE} is not in the group 'staff' itself"):
        installation.do(leave_group, "staff", SubjectKind.USER, ALICE)
    with pytest.raises(NotFoundError, match=f"{LAPTOP} is not assigned to {ALICE}"):
        installation.do(assign_device, LAPTOP, ALICE, assigned=False)
    assert list_audit(installation) == before


def test_a_security_identifier_is_an_accounts_and_one_users_alone(installation: Installation) -> None:
    sid = "S-1-5-21-1004336348-1177238915-682003330-1104"
    installation.add_user()
    installation.add_user("bob@corp.example")
    with pytest.raises(InvalidInputError, match="is not the security identifier of an account"):
        installation.do(change_user, ALICE, sid="S-1-5-18")
    installation.do(change_user, ALICE, sid=sid)
    installation.do(change_user, ALICE, sid=sid)
    with pytest.raises(AlreadyExistsError, match=f"{sid} is the security identifier of {ALICE}"):
        installation.do(change_user, "bob@corp.example", sid=sid)
    installation.do(change_user, ALICE, sid="")
    installation.do(change_user, "bob@corp.example", sid=sid)
