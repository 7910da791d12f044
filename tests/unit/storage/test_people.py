"""Users, groups and devices: found by name in any case or by id, and by nothing else."""

import pytest

from evertunnel.errors import AlreadyExistsError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import people
from tests.installation import Installation


@pytest.mark.parametrize("name", ["alice@corp.example", "ALICE@Corp.Example"])
def test_a_user_is_found_by_name_in_any_case(installation: Installation, name: str) -> None:
    user_id = installation.add_user("Alice@corp.example")
    with installation.store.read() as connection:
        assert people.get_subject(connection, SubjectKind.USER, name).id == user_id
        assert people.get_subject(connection, SubjectKind.USER, user_id).name == "Alice@corp.example"


@pytest.mark.parametrize("name", ["", "alice", "alice@corp.example ", "%", "alice@corp_example", "' OR 1=1 --"])
def test_nothing_else_finds_a_user(installation: Installation, name: str) -> None:
    installation.add_user()
    with installation.store.read() as connection, pytest.raises(NotFoundError, match="evertunnel user list"):
        people.get_subject(connection, SubjectKind.USER, name)


def test_a_name_of_one_kind_is_none_of_another(installation: Installation) -> None:
    device_id = installation.add_device()
    with installation.store.read() as connection:
        assert people.find_subject(connection, SubjectKind.USER, device_id) is None
        assert people.find_subject(connection, SubjectKind.GROUP, "laptop1.corp.example") is None


@pytest.mark.parametrize("name", ["alice@corp.example", "ALICE@CORP.EXAMPLE"])
def test_a_name_is_taken_once_whatever_its_case(installation: Installation, name: str) -> None:
    installation.add_user()
    with pytest.raises(AlreadyExistsError, match="there is a user"):
        installation.add_user(name)


def test_a_name_that_is_anothers_id_is_taken(installation: Installation) -> None:
    group_id = installation.add_group("staff")
    with pytest.raises(AlreadyExistsError):
        installation.add_group(group_id)


def test_lists_are_in_the_order_of_names(installation: Installation) -> None:
    for name in ("Zoe@x.y", "adam@x.y", "Bob@x.y"):
        installation.add_user(name)
    with installation.store.read() as connection:
        found = [row.name for row in people.list_subjects(connection, SubjectKind.USER)]
    assert found == ["adam@x.y", "Bob@x.y", "Zoe@x.y"]


def test_members_are_added_once_and_listed_by_kind_and_name(installation: Installation) -> None:
    user_id, group_id = installation.add_user(), installation.add_group("staff")
    inner = installation.add_group("inner")
    with installation.store.write(installation.now) as tx:
        for _ in range(2):
            people.add_member(tx, group_id, SubjectKind.USER, user_id)
            people.add_member(tx, group_id, SubjectKind.GROUP, inner)
        assert people.list_members(tx.connection, group_id) == [("user", "alice@corp.example"), ("group", "inner")]
        people.remove_member(tx, group_id, SubjectKind.USER, user_id)
        assert people.list_members(tx.connection, group_id) == [("group", "inner")]


def test_assigning_twice_is_once_and_taking_back_is_for_one_user(installation: Installation) -> None:
    alice, bob = installation.add_user(), installation.add_user("bob@corp.example")
    device_id = installation.add_device()
    with installation.store.write(installation.now) as tx:
        for user_id in (alice, alice, bob):
            people.assign_device(tx, device_id, user_id)
        people.unassign_device(tx, device_id, alice)
        assert people.list_assigned_users(tx.connection, device_id) == {bob: "bob@corp.example"}


def test_who_is_called_as_anothers_id_makes_neither_unreachable(installation: Installation) -> None:
    user_id = installation.add_user()
    other_id = installation.add_user("bob@corp.example")
    with installation.store.write(installation.now) as tx:
        people.update_subject(tx, SubjectKind.USER, other_id, name=user_id, name_key=user_id)
    with installation.store.read() as connection:
        assert people.get_subject(connection, SubjectKind.USER, user_id).id == user_id
        assert people.get_subject(connection, SubjectKind.USER, other_id).name == user_id
