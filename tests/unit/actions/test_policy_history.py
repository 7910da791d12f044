"""Every change of a policy is in its history, can be compared, and can be rolled back: with every check of a change."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from evertunnel.access.documents import PolicyProblemsError
from evertunnel.access.policy_test_results import PolicyTestsError
from evertunnel.actions.add_group import add_group
from evertunnel.actions.change_compliance_policies import import_compliance_policies, remove_compliance_policy
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.change_network_policies import add_network_policy, remove_network_policy, switch_network_policy
from evertunnel.actions.change_policy_tests import import_policy_tests, remove_policy_test
from evertunnel.actions.compare_policy_versions import compare_versions, list_changes
from evertunnel.actions.count_cuts import count_cuts
from evertunnel.actions.decide import Decider
from evertunnel.actions.import_access_policies import (
    import_access_policies,
    import_policy_files,
    remove_access_policy,
    switch_access_policy,
)
from evertunnel.actions.import_policy_objects import add_named_location, import_policy_objects
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.policy_history import PolicyKind
from evertunnel.actions.remove_group import remove_group
from evertunnel.actions.remove_policy_object import remove_policy_object
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.actions.roll_back_policy import RolledBack, roll_back_policy
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.policy_objects import ObjectKind, list_objects
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ADMIN, ALICE, Installation
from tests.unit.access.samples import make_document

LOCATION, STRENGTH = ObjectKind.LOCATION, ObjectKind.STRENGTH


def list_words(installation: Installation, name: str | None = None, kind: PolicyKind | None = None) -> list[str]:
    """The oldest first."""
    found = list_changes(installation.store, name, kind, limit=50)
    return [f"{change.version.number} {change.words}" for change in reversed(found)]


def roll_back(installation: Installation, name: str, to: int, **options: Any) -> RolledBack:
    done: RolledBack = installation.do(roll_back_policy, name, to, **options)
    return done


def read_rows(installation: Installation) -> Any:
    """Everything that policies are made of."""
    nouns = (tables.network_policies, tables.access_policies, tables.named_locations, tables.authentication_strengths,
             tables.compliance_policies, tables.policy_tests)  # fmt: skip
    with installation.store.read() as connection:
        return [connection.execute(select(table).order_by(*table.primary_key)).all() for table in nouns]


def read_access(installation: Installation, name: str) -> Any:
    table = tables.access_policies
    with installation.store.read() as connection:
        return connection.execute(select(table).where(table.c.name == name)).one()


def list_network(installation: Installation) -> list[str]:
    table = tables.network_policies
    with installation.store.read() as connection:
        return list(connection.execute(select(table.c.name).order_by(table.c.position)).scalars())


def import_one(kind: ObjectKind, document: Any) -> Callable[[Installation], Any]:
    return lambda installation: installation.do(import_policy_objects, kind, [PolicyFile("", document)], replace=True)


def import_tests(*documents: Any) -> Callable[[Installation], Any]:
    return lambda installation: installation.do(import_policy_tests, [PolicyFile("", list(documents))], replace=True)


def make_strength(*combinations: str) -> Any:
    return {"displayName": "Keys", "allowedCombinations": list(combinations)}


def make_location(text: str) -> Any:
    return {
        "@odata.type": "#microsoft.graph.ipNamedLocation",
        "displayName": "Office",
        "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": text}],
    }


def make_compliance(*rules: str) -> Any:
    return {"platform": "linux", "rules": dict.fromkeys(rules, True)}


# name, then what makes, changes and removes one, and the words of that history.
WAYS: dict[PolicyKind, tuple[str, Callable[..., Any], Callable[..., Any], Callable[..., Any], list[str]]] = {
    PolicyKind.ACCESS: (
        "Block", lambda i: i.do(import_access_policies, make_document("block", name="Block", state="disabled")),
        lambda i: i.do(switch_access_policy, "Block", "on"), lambda i: i.do(remove_access_policy, "Block"),
        ["1 imported", "2 switched to on", "3 removed"],
    ),
    PolicyKind.NETWORK: (
        "All", lambda i: i.do(add_network_policy, "All", {"permission": "grant"}),
        lambda i: i.do(switch_network_policy, "All", enabled=False), lambda i: i.do(remove_network_policy, "All"),
        ["1 added", "2 switched off", "3 removed"],
    ),
    PolicyKind.LOCATION: (
        "Office", import_one(LOCATION, make_location("192.0.2.0/24")),
        import_one(LOCATION, make_location("198.51.100.0/24")),
        lambda i: i.do(remove_policy_object, LOCATION, "office"), ["1 added", "2 changed", "3 removed"],
    ),
    PolicyKind.STRENGTH: (
        "Keys", import_one(STRENGTH, make_strength("fido2")), import_one(STRENGTH, make_strength("fido2", "email")),
        lambda i: i.do(remove_policy_object, STRENGTH, "keys"), ["1 added", "2 changed", "3 removed"],
    ),
    PolicyKind.COMPLIANCE: (
        "linux", lambda i: i.do(import_compliance_policies, make_compliance("firewall")),
        lambda i: i.do(import_compliance_policies, make_compliance("firewall", "diskEncryption")),
        lambda i: i.do(remove_compliance_policy, "linux"), ["1 imported", "2 imported", "3 removed"],
    ),
    PolicyKind.TEST: (
        "alice", import_tests({"name": "alice", "user": ALICE, "expect": "block"}),
        import_tests({"name": "alice", "user": ALICE, "expect": "block", "reason": "no_network_policy"}),
        lambda i: i.do(remove_policy_test, "Alice"), ["1 added", "2 changed", "3 removed"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PolicyKind)
def test_each_kind_has_a_history_and_comes_back_from_it(installation: Installation, kind: PolicyKind) -> None:
    installation.add_user()
    name, make, change, remove, words = WAYS[kind]
    make(installation)
    first = read_rows(installation)
    installation.clock.forward(minutes=1)
    change(installation)
    second = read_rows(installation)
    assert roll_back(installation, name.upper() if kind is not PolicyKind.ACCESS else name, 1).added is False
    assert without_times(read_rows(installation)) == without_times(first)
    roll_back(installation, name, 2)
    assert without_times(read_rows(installation)) == without_times(second)
    remove(installation)
    done = roll_back(installation, name, 1)
    assert (done.kind, done.name, done.to, done.added) == (kind, name, 1, True)
    ids = kind is not PolicyKind.TEST
    assert without_times(read_rows(installation), ids=ids) == without_times(first, ids=ids)
    history = list_words(installation, name)
    assert history[:2] == words[:2]
    assert history[2:] == ["3 rolled back to 1", "4 rolled back to 2", "5 removed", "6 rolled back to 1"]
    newest = list_changes(installation.store, name, kind, limit=1)[0].version
    assert (newest.actor, newest.at, newest.name) == (ADMIN, installation.now, name)
    with installation.store.read() as connection:
        assert verify_chain(connection).problems == []


def without_times(rows: Any, *, ids: bool = True) -> Any:
    """A test that comes back is another row, as nothing hangs on its id."""
    left_out = {"changed_at", "imported_at"} if ids else {"changed_at", "imported_at", "id"}
    return [
        [{key: value for key, value in row._mapping.items() if key not in left_out} for row in table] for table in rows
    ]


def test_a_diff_names_versions_people_and_conditions(installation: Installation) -> None:
    installation.add_group("Sales")
    document = {"permission": "deny", "conditions": {"groups": ["Sales"]}}
    installation.do(add_network_policy, "Contractors", document)
    installation.do(switch_network_policy, "Contractors", enabled=False)
    found = compare_versions(installation.store, "contractors")
    assert found.lines[0] == "--- Contractors, version 1 of 2026-05-04 12:00:00 UTC by ann"
    assert found.lines[1] == "+++ Contractors, version 2 of 2026-05-04 12:00:00 UTC by ann"
    assert '+  "enabled": false' in "\n".join(found.lines)
    first = compare_versions(installation.store, "Contractors", after=1)
    assert first.before is None and first.lines[0] == "--- Contractors, nothing yet"
    assert '+      "Sales"' in first.lines
    assert (
        compare_versions(installation.store, "Contractors", before=2, after=1).before_document == found.after_document
    )
    installation.do(remove_network_policy, "Contractors")
    assert compare_versions(installation.store, "Contractors").after_document is None


def test_a_diff_tells_what_a_text_came_to_mean(installation: Installation) -> None:
    """The same document imported with another map is about other people."""
    document = make_document("block", name="Block", users={"includeGroups": ["0f"]})
    for group in ("Sales", "Others"):
        installation.add_group(group)
        installation.do(import_policy_files, [PolicyFile("", document)], {"0f": group})
        installation.do(remove_access_policy, "Block")
    found = compare_versions(installation.store, "Block", before=1, after=3)
    assert found.before_document == found.after_document
    assert [line for line in found.lines if line[:1] in "+-"] == [
        "--- what texts of it mean, version 1", "+++ what texts of it mean, version 3",
        '-  "0f": "Sales"', '+  "0f": "Others"',
    ]  # fmt: skip


def test_what_is_not_there_is_said(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match="evertunnel policy history"):
        roll_back(installation, "nothing", 1)
    with pytest.raises(NotFoundError, match="no network policy"):
        list_changes(installation.store, "nothing", PolicyKind.NETWORK, limit=1)
    installation.do(add_network_policy, "All", {"permission": "grant"})
    installation.do(remove_network_policy, "All")
    for number in (0, -1, 3, 10**30):
        with pytest.raises(NotFoundError, match="there are 1 to 2"):
            roll_back(installation, "All", number)
        if number:
            with pytest.raises(NotFoundError):
                compare_versions(installation.store, "All", before=number)
    with pytest.raises(InvalidInputError, match="is its removal"):
        roll_back(installation, "All", 2)
    with pytest.raises(InvalidInputError, match="are both 1"):
        compare_versions(installation.store, "All", before=1, after=1)
    roll_back(installation, "All", 1)
    with pytest.raises(InvalidInputError, match="as version 1 left it already"):
        roll_back(installation, "All", 1)


def test_a_name_of_several_things_asks_for_the_kind(installation: Installation) -> None:
    installation.do(add_named_location, "Far", countries=["KP"])
    installation.do(import_access_policies, make_document("block", name="Far"))
    with pytest.raises(InvalidInputError, match="--kind access or --kind location"):
        list_changes(installation.store, "Far", limit=1)
    assert list_words(installation, "Far", PolicyKind.LOCATION) == ["1 added"]
    assert list_words(installation) == ["1 added", "1 imported"]


def test_names_of_access_policies_differ_by_case_and_others_do_not(installation: Installation) -> None:
    for name in ("block", "Block"):
        installation.do(import_access_policies, make_document("block", name=name))
    assert list_words(installation, "block") == ["1 imported"]
    installation.do(add_network_policy, "All", {"permission": "grant"})
    installation.do(remove_network_policy, "All")
    installation.do(add_network_policy, "ALL", {"permission": "deny"})
    assert list_words(installation, "all") == ["1 added", "2 removed", "3 added"]


def test_a_rollback_that_fails_a_test_is_refused_and_changes_nothing(installation: Installation) -> None:
    installation.add_user()
    installation.do(add_network_policy, "All", {"permission": "grant"})
    installation.do(import_access_policies, make_document("block", name="Block", state="disabled"))
    installation.do(switch_access_policy, "Block", "on")
    import_tests({"name": "alice", "user": ALICE, "expect": "block", "policy": "Block"})(installation)
    before = read_rows(installation)
    with pytest.raises(PolicyTestsError, match="'alice'"):
        roll_back(installation, "Block", 1)
    assert read_rows(installation) == before
    assert list_words(installation, "Block") == ["1 imported", "2 switched to on"]


def test_a_test_that_would_fail_does_not_come_back(installation: Installation) -> None:
    installation.add_user()
    import_tests({"name": "alice", "user": ALICE, "expect": "block"})(installation)
    installation.do(remove_policy_test, "alice")
    installation.do(add_network_policy, "All", {"permission": "grant"})
    with pytest.raises(PolicyTestsError, match="expected block, got grant"):
        roll_back(installation, "alice", 1)


def test_the_cuts_of_a_rollback_can_be_counted(installation: Installation) -> None:
    installation.do(add_network_policy, "All", {"permission": "grant"})
    installation.do(switch_network_policy, "All", enabled=False)

    def change(store: Store) -> None:
        roll_back_policy(store, "All", 1, actor=ADMIN, now=installation.now)

    before = read_rows(installation)
    assert count_cuts(installation.store, change, Decider(), now=installation.now).ended == 0
    assert read_rows(installation) == before


def test_the_meaning_of_texts_comes_back_and_is_never_guessed(installation: Installation) -> None:
    """Ids of another directory, which only the mapping of the import resolved."""
    installation.add_group("Sales")
    installation.add_group("Others")
    document = make_document("block", name="Block", users={"includeGroups": ["0f"], "excludeGroups": ["Others"]},
                             applications={"includeApplications": ["a1"]})  # fmt: skip
    files = [PolicyFile("", document)]
    installation.do(import_policy_files, files, {"0f": "Sales", "a1": "VPN"})
    resolved = read_access(installation, "Block").resolved
    installation.do(remove_access_policy, "Block")
    roll_back(installation, "Block", 1)
    assert read_access(installation, "Block").resolved == resolved
    installation.do(remove_access_policy, "Block")
    before = read_rows(installation)
    installation.do(remove_group, "Sales")
    installation.do(add_group, "Sales")
    with pytest.raises(PolicyProblemsError, match=r"version 1: \$\.conditions\.users\.includeGroups\[0\]: there is no"):
        roll_back(installation, "Block", 1)
    assert read_rows(installation) == before


def test_a_test_comes_back_about_whom_it_was_and_nobody_else_of_the_name(installation: Installation) -> None:
    first = installation.add_user()
    import_tests({"name": "alice", "user": ALICE, "expect": "block"})(installation)
    installation.do(remove_policy_test, "alice")
    installation.do(rename_subject, SubjectKind.USER, ALICE, "alison@corp.example")
    installation.add_user()
    roll_back(installation, "alice", 1)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.policy_tests)).one()
    assert (row.resolved, row.document["user"]) == ({"user": first}, ALICE)
    installation.do(remove_policy_test, "alice")
    installation.do(remove_subject, SubjectKind.USER, "alison@corp.example")
    with pytest.raises(PolicyProblemsError, match=r"version 1: \$\.user: there is no user"):
        roll_back(installation, "alice", 1)


def test_a_network_policy_that_names_somebody_who_is_gone_does_not_come_back(installation: Installation) -> None:
    installation.add_user()
    installation.do(add_network_policy, "Alice", {"permission": "deny", "conditions": {"users": [ALICE]}})
    installation.do(remove_network_policy, "Alice")
    installation.do(remove_subject, SubjectKind.USER, ALICE)
    with pytest.raises(PolicyProblemsError, match=r"version 1: \$\.conditions\.users\[0\]: there is no user"):
        roll_back(installation, "Alice", 1)


def test_a_network_policy_comes_back_where_it_was(installation: Installation) -> None:
    for name in ("one", "two", "three"):
        installation.do(add_network_policy, name, {"permission": "deny"})
    installation.do(add_network_policy, "first", {"permission": "grant"}, position=1)
    installation.do(remove_network_policy, "two")
    roll_back(installation, "two", 1)
    assert list_network(installation) == ["first", "one", "two", "three"]


def test_a_location_that_was_renamed_gets_its_name_back_with_its_policies(installation: Installation) -> None:
    named = {**make_location("192.0.2.0/24"), "id": "office-1"}
    import_one(LOCATION, named)(installation)
    import_one(LOCATION, {**named, "displayName": "Büro"})(installation)
    assert roll_back(installation, "Office", 1).added is False
    with installation.store.read() as connection:
        assert [(row.id, row.name) for row in list_objects(connection, LOCATION)] == [("office-1", "Office")]
    import_one(LOCATION, {**named, "displayName": "Büro"})(installation)
    installation.do(add_named_location, "Office", ranges=["198.51.100.0/24"])
    with pytest.raises(PolicyProblemsError, match="name or id of another"):
        roll_back(installation, "Office", 1)


def test_a_name_that_is_the_id_of_another_policy_touches_only_its_own(installation: Installation) -> None:
    installation.do(import_access_policies, make_document("block", name="victim"))
    victim = read_access(installation, "victim")
    installation.do(import_access_policies, make_document("block", name=victim.id, state="disabled"))
    installation.do(remove_access_policy, read_access(installation, victim.id).id)
    roll_back(installation, victim.id, 1)
    assert read_access(installation, "victim") == victim


def test_entries_of_older_versions_of_us_are_understood(installation: Installation) -> None:
    """They hold neither what texts meant nor, of a removal, the position."""
    installation.add_group("Sales")
    installation.do(add_network_policy, "All", {"permission": "grant"})
    installation.do(add_network_policy, "Deny", {"permission": "deny"})
    installation.do(remove_network_policy, "All")
    document = make_document("block", name="Block", users={"includeGroups": ["Sales"]})
    installation.do(import_access_policies, document)
    installation.do(switch_access_policy, "Block", "off")
    audit = tables.audit
    with installation.store.write(installation.now) as tx:
        for row in tx.connection.execute(select(audit)).all():
            details = orjson.loads(row.details)
            details.pop("resolved", None)
            if row.name == "network-policy:remove":
                details.pop("position")
            text = orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()
            tx.connection.execute(update(audit).where(audit.c.id == row.id).values(details=text))
    resolved = read_access(installation, "Block").resolved
    roll_back(installation, "Block", 1)
    assert read_access(installation, "Block").resolved == resolved
    roll_back(installation, "All", 1)
    assert list_network(installation) == ["All", "Deny"]


def test_a_long_history_is_read_in_parts(installation: Installation) -> None:
    installation.do(add_network_policy, "All", {"permission": "grant"})
    for turn in range(120):
        installation.do(switch_network_policy, "All", enabled=bool(turn % 2))
    assert len(list_changes(installation.store, limit=1000)) == 121
    assert compare_versions(installation.store, "All", before=1, after=120).after_document is not None
    roll_back(installation, "All", 120)
    assert list_words(installation)[-1] == "122 rolled back to 120"


def test_people_of_a_group_are_as_they_are_now(installation: Installation) -> None:
    """A rollback brings back what a policy says, not who was in a group."""
    installation.add_user()
    installation.add_group("Sales")
    installation.do(add_network_policy, "Sales", {"permission": "deny", "conditions": {"groups": ["Sales"]}})
    installation.do(add_network_policy, "All", {"permission": "grant"})
    import_tests({"name": "alice", "user": ALICE, "expect": "grant"})(installation)
    installation.do(switch_network_policy, "Sales", enabled=False)
    installation.do(join_group, "Sales", SubjectKind.USER, ALICE)
    with pytest.raises(PolicyTestsError, match="network_policy_denies"):
        roll_back(installation, "Sales", 1)
