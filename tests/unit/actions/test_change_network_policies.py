"""Network policies: names become ids, order is kept, and what is wrong is refused before anything is stored."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.access.documents import PolicyError
from evertunnel.actions.change_network_policies import (
    add_network_policy,
    remove_network_policy,
    switch_network_policy,
)
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind, TunnelKind
from evertunnel.storage import people, tables
from tests.installation import ALICE, LAPTOP, Installation

GRANT: dict[str, Any] = {"permission": "grant"}


def list_policies(installation: Installation) -> list[tuple[int, str]]:
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.network_policies).order_by(tables.network_policies.c.position))
        return [(row.position, row.name) for row in rows]


def find_document(installation: Installation, name: str) -> Any:
    with installation.store.read() as connection:
        statement = select(tables.network_policies.c.document).where(tables.network_policies.c.name == name)
        return connection.execute(statement).scalar_one()


@pytest.mark.parametrize(
    ("position", "order"),
    [(None, "abcx"), (1, "xabc"), (2, "axbc"), (4, "abcx"), (99, "abcx"), (0, "xabc"), (-5, "xabc")],
)
def test_a_policy_is_put_where_it_was_wanted(installation: Installation, position: int | None, order: str) -> None:
    for name in "abc":
        installation.do(add_network_policy, name, GRANT)
    installation.do(add_network_policy, "x", GRANT, position=position)
    assert list_policies(installation) == list(enumerate(order, start=1))


def test_removing_one_closes_the_gap(installation: Installation) -> None:
    for name in "abc":
        installation.do(add_network_policy, name, GRANT)
    installation.do(remove_network_policy, "b")
    assert list_policies(installation) == [(1, "a"), (2, "c")]


def test_names_become_ids_so_that_renaming_changes_no_policy(installation: Installation) -> None:
    ids = {
        "users": installation.add_user(), "groups": installation.add_group("Staff"),
        "devices": installation.add_device(), "gateways": installation.add_gateway(),
    }  # fmt: skip
    names = {"users": [ALICE.upper()], "groups": ["staff"], "devices": [LAPTOP], "gateways": ["GW1"]}
    installation.do(add_network_policy, "policy", GRANT | {"conditions": names})
    assert find_document(installation, "policy")["conditions"] == {key: [value] for key, value in ids.items()}


def test_a_renamed_user_is_still_denied_by_policy(installation: Installation) -> None:
    user_id = installation.add_user()
    certificate_id = installation.issue_user(user_id)
    installation.do(add_network_policy, "deny", {"permission": "deny", "conditions": {"users": [ALICE]}})
    installation.do(add_network_policy, "grant", GRANT)
    with installation.store.write(installation.now) as tx:
        people.update_subject(tx, SubjectKind.USER, user_id, name="eve@x.y", name_key="eve@x.y")
        tx.raise_epoch("user", user_id)
    assert not installation.decide(certificate_id).granted


@pytest.mark.parametrize("key", ["users", "groups", "devices", "gateways"])
def test_a_name_nobody_has_is_refused_at_its_place(installation: Installation, key: str) -> None:
    installation.add_user()
    conditions = {key: ["nobody"]}
    with pytest.raises(PolicyError, match="there is no") as caught:
        installation.do(add_network_policy, "policy", GRANT | {"conditions": conditions})
    assert caught.value.path == f"$.conditions.{key}[0]"
    assert list_policies(installation) == []


def test_a_group_of_that_name_is_no_user(installation: Installation) -> None:
    installation.add_group("alice")
    with pytest.raises(PolicyError, match="there is no user 'alice'"):
        installation.do(add_network_policy, "policy", GRANT | {"conditions": {"users": ["alice"]}})


@pytest.mark.parametrize("document", [{}, {"permission": "allow"}, GRANT | {"conditions": {"users": []}}])
def test_a_wrong_document_is_not_stored(installation: Installation, document: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        installation.do(add_network_policy, "policy", document)
    assert list_policies(installation) == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "a\x1b[31m", "a\u202eb", "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused(installation: Installation, name: str) -> None:
    with pytest.raises(InvalidInputError, match="1 to 100 printable characters"):
        installation.do(add_network_policy, name, GRANT)


def test_a_name_is_taken_once_whatever_its_case_and_so_is_an_id(installation: Installation) -> None:
    policy_id = installation.do(add_network_policy, "Policy", GRANT)
    for name in ("policy", "POLICY", policy_id):
        with pytest.raises(AlreadyExistsError):
            installation.do(add_network_policy, name, GRANT)


def test_a_policy_switched_off_grants_no_more_and_on_again_does(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "policy", GRANT)
    installation.do(switch_network_policy, "POLICY", enabled=False)
    assert not installation.decide(certificate_id).granted
    installation.do(switch_network_policy, "policy", enabled=True)
    assert installation.decide(certificate_id).granted


def test_a_policy_that_was_removed_grants_no_more(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "policy", GRANT)
    assert installation.decide(certificate_id).granted
    installation.do(remove_network_policy, "policy")
    assert not installation.decide(certificate_id).granted


def test_an_unknown_policy_is_told(installation: Installation) -> None:
    for action in (remove_network_policy, lambda *a, **b: switch_network_policy(*a, enabled=True, **b)):
        with pytest.raises(NotFoundError, match="evertunnel policy network list"):
            installation.do(action, "nothing")


def test_order_decides_between_deny_and_grant(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "grant", GRANT | {"conditions": {"tunnel": "user"}})
    installation.do(add_network_policy, "deny", {"permission": "deny"})
    assert installation.decide(certificate_id).granted
    installation.do(remove_network_policy, "deny")
    installation.do(add_network_policy, "deny", {"permission": "deny"}, position=1)
    assert not installation.decide(certificate_id, TunnelKind.USER).granted


def test_the_audit_has_the_whole_policy(installation: Installation) -> None:
    installation.do(add_network_policy, "policy", GRANT)
    installation.do(switch_network_policy, "policy", enabled=False)
    installation.do(remove_network_policy, "policy")
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.audit).where(tables.audit.c.subject == "policy")).all()
    details = {row.name: row.details for row in rows}
    assert set(details) == {"network-policy:add", "network-policy:change", "network-policy:remove"}
    assert json.loads(details["network-policy:remove"]) == {
        "document": {"permission": "grant", "enabled": False},
        "position": 1,
    }
