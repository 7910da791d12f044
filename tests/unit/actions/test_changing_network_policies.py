"""A network policy is changed where it stands: only what is given, in one transaction, with id, place and history."""

from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.access.documents import PolicyError, PolicyProblemsError
from evertunnel.actions.add_group import add_group
from evertunnel.actions.change_network_policies import (
    StoredPolicy,
    add_network_policy,
    change_network_policy,
    get_network_policy,
    remove_network_policy,
    switch_network_policy,
)
from evertunnel.actions.compare_policy_versions import compare_versions, list_changes
from evertunnel.actions.roll_back_policy import roll_back_policy
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people, tables
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.actions.meeting import Meeting

CONTRACTORS = {
    "permission": "deny",
    "conditions": {"groups": ["Contractors"], "gateways": ["gw1"]},
    "settings": {"session_timeout_seconds": 600},
}


@pytest.fixture
def office(installation: Installation) -> Installation:
    for name in ("Contractors", "Guests"):
        installation.add_group(name)
    installation.add_user()
    installation.add_device()
    installation.add_gateway()
    installation.do(add_network_policy, "first", {"permission": "grant"})
    installation.do(add_network_policy, "Contractors", CONTRACTORS)
    installation.do(add_network_policy, "last", {"permission": "grant"})
    return installation


def change(installation: Installation, name: str = "contractors", **options: Any) -> StoredPolicy:
    changed: StoredPolicy = installation.do(change_network_policy, name, **options)
    return changed


def show(installation: Installation, name: str = "Contractors") -> StoredPolicy:
    with installation.store.read() as connection:
        return get_network_policy(connection, name)


def list_names(installation: Installation) -> list[tuple[int, str]]:
    table = tables.network_policies
    with installation.store.read() as connection:
        rows = connection.execute(select(table.c.position, table.c.name).order_by(table.c.position))
        return [(row.position, row.name) for row in rows]


def list_words(installation: Installation, name: str = "Contractors") -> list[str]:
    return [each.words for each in reversed(list_changes(installation.store, name, limit=50))]


@pytest.mark.parametrize(
    "options",
    [
        {"changes": {"permission": "allow"}},
        {"changes": {"permission": None}},
        {"changes": {"conditions": {"groups": ["Nobody"]}}},
        {"changes": {"conditions": {"groups": []}}},
        {"changes": {"conditions": {"group": ["Contractors"]}}},
        {"changes": {"conditions": [1]}},
        {"changes": {"conditions": {"users": {"a": {}}}}},
        {"changes": {"conditions": {"users": ["a\0b"]}}},
        {"changes": {"settings": {"session_timeout_seconds": 0}}},
        {"changes": {"comment": "x"}},
        {"document": {}},
        {"document": {"permission": "grant", "name": "x"}},
        {"document": {"permission": "deny", "conditions": "all"}, "position": 1},
        {"document": {"permission": "grant"}, "changes": {}},
        {"changes": {"permission": "grant"}, "version": 2},
        {"position": 1, "version": 0},
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_and_nothing_is_changed(office: Installation, options: dict[str, Any]) -> None:
    before = show(office), list_names(office)
    with pytest.raises(InvalidInputError):
        change(office, **options)
    assert (show(office), list_names(office)) == before
    assert list_words(office) == ["added"]


def test_every_name_that_nobody_has_is_said_with_its_place_and_what_helps(office: Installation) -> None:
    with pytest.raises(PolicyProblemsError) as caught:
        change(office, changes={"conditions": {"users": ["bob"], "groups": ["Guests", "x" * 10_000]}})
    places = [place for place, _problem in caught.value.problems]
    assert places == ["$.conditions.users[0]", "$.conditions.groups[1]"]
    assert "there is no user 'bob': add it (evertunnel user add)" in caught.value.problems[0][1]
    assert len(caught.value.problems[1][1]) < 250


def test_only_what_is_given_changes_and_null_takes_away(office: Installation) -> None:
    before = show(office)
    changes = {"conditions": {"groups": ["GUESTS"], "users": [ALICE], "gateways": None}, "settings": {"x": None}}
    changed = change(office, changes=changes)
    assert changed == show(office)
    assert changed.document == {
        "permission": "deny",
        "conditions": {"groups": ["Guests"], "users": [ALICE]},
        "settings": {"session_timeout_seconds": 600},
    }
    assert (changed.id, changed.position, changed.version) == (before.id, 2, 2)
    assert change(office, before.id, changes={"permission": "grant"}).version == 3
    assert list_words(office) == ["added", "changed", "changed"]
    lines = compare_versions(office.store, "Contractors", before=1, after=2).lines
    assert '-      "Contractors"' in lines and '+      "Guests"' in lines
    office.do(roll_back_policy, "Contractors", 1)
    assert show(office).document == before.document
    with office.store.read() as connection:
        assert verify_chain(connection).problems == []


@pytest.mark.parametrize(
    ("position", "order"), [(1, "Cfl"), (2, "fCl"), (3, "flC"), (99, "flC"), (0, "Cfl"), (-(10**30), "Cfl")]
)
def test_it_is_moved_and_the_others_keep_their_order(office: Installation, position: int, order: str) -> None:
    changed = change(office, position=position)
    assert [(place, name[0]) for place, name in list_names(office)] == list(enumerate(order, start=1))
    moved = order != "fCl"
    assert list_words(office) == ["added", f"moved to {changed.position}"][: 1 + moved]
    assert changed == show(office)


def test_a_policy_that_was_moved_comes_back_where_it_was(office: Installation) -> None:
    change(office, position=1, changes={"permission": "grant"})
    office.do(remove_network_policy, "Contractors")
    office.do(roll_back_policy, "Contractors", 2)
    assert list_names(office)[0] == (1, "Contractors")


def test_what_is_so_already_is_no_version(office: Installation) -> None:
    before = show(office)
    assert change(office, document=before.document, position=2, version=1) == before
    assert change(office, changes={"permission": "deny"}) == before
    assert list_words(office) == ["added"]


def test_a_document_takes_the_place_of_the_whole_one_and_switches_nothing_on(office: Installation) -> None:
    office.do(switch_network_policy, "Contractors", enabled=False)
    document = {"permission": "grant", "conditions": {"devices": [LAPTOP]}}
    assert change(office, document=document).document == {**document, "enabled": False}
    assert change(office, document={**document, "enabled": True}).document["enabled"] is True


def test_an_order_of_deny_and_grant_counts_at_once(office: Installation) -> None:
    certificate_id = office.issue_user(find_alice(office))
    assert office.decide(certificate_id).granted
    change(office, position=1, document={"permission": "deny"})
    assert not office.decide(certificate_id).granted
    change(office, position=3)
    assert office.decide(certificate_id).granted


def find_alice(installation: Installation) -> str:
    with installation.store.read() as connection:
        return str(connection.execute(select(tables.users.c.id)).scalar_one())


def test_a_policy_that_is_not_there_is_told(office: Installation) -> None:
    with pytest.raises(NotFoundError, match="evertunnel policy network list"):
        change(office, "nothing", position=1)
    with pytest.raises(NotFoundError):
        show(office, "nothing")


def test_who_is_called_as_anothers_id_is_not_taken_for_it(office: Installation) -> None:
    first, second = office.do(add_group, "Guests again"), office.do(add_group, "other")
    with office.store.write(office.now) as tx:  # its name leads to the other one
        people.update_subject(tx, SubjectKind.GROUP, second, name=first, name_key=first)
        tx.raise_epoch(SubjectKind.GROUP.value, second)
    change(office, changes={"conditions": {"groups": [first, second]}})
    shown = show(office).document["conditions"]["groups"]
    assert shown == ["Guests again", second], "an id where the name would lead astray"
    change(office, changes={"conditions": {"groups": shown, "users": [ALICE]}})
    assert show(office).document["conditions"]["groups"] == shown


def test_two_who_change_different_things_at_once_lose_nothing(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    installation.do(add_network_policy, "All", {"permission": "grant"})
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: change(installation, "All", changes={"settings": {"session_timeout_seconds": 60}}))
    change(installation, "All", changes={"conditions": {"tunnel": "user"}})
    assert meeting.finish() is None
    assert show(installation, "All").document == {
        "permission": "grant", "conditions": {"tunnel": "user"}, "settings": {"session_timeout_seconds": 60},
    }  # fmt: skip


def test_of_two_who_began_with_the_same_version_the_second_is_told(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    installation.do(add_network_policy, "All", {"permission": "grant"})
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: change(installation, "All", document={"permission": "deny"}, version=1))
    change(installation, "All", document={"permission": "grant", "conditions": {"tunnel": "user"}}, version=1)
    error = meeting.finish()
    assert isinstance(error, InvalidInputError) and not isinstance(error, PolicyError)
    assert "is at version 2, and this was made from version 1" in str(error)
    assert show(installation, "All").document["permission"] == "grant"
