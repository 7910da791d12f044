"""No change of policies that makes a test fail is saved, whichever way it comes; what failed before may be mended."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

import evertunnel.actions
from evertunnel.access.policy_test_results import PolicyTestsError
from evertunnel.access.policy_tests import TESTS_AT_MOST
from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.add_user import add_user
from evertunnel.actions.change_membership import join_group, leave_group
from evertunnel.actions.change_network_policies import (
    add_network_policy,
    change_network_policy,
    remove_network_policy,
    switch_network_policy,
)
from evertunnel.actions.change_policy_tests import import_policy_tests, remove_policy_test
from evertunnel.actions.change_user import change_user
from evertunnel.actions.count_cuts import count_cuts
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.actions.import_access_policies import (
    import_access_policies,
    remove_access_policy,
    switch_access_policy,
)
from evertunnel.actions.import_policy_objects import add_named_location, import_policy_objects
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.actions.run_policy_tests import run_policy_tests
from evertunnel.model import SubjectKind
from evertunnel.storage import snapshot, tables
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store
from tests.installation import ADMIN, ALICE, Installation
from tests.unit.access.samples import make_document
from tests.unit.actions.meeting import Meeting

ABROAD = {"name": "alice from abroad", "user": ALICE, "address": "198.51.100.7", "expect": "block"}
OFFICE = {"name": "alice from the office", "user": ALICE, "address": "192.0.2.7", "expect": "grant"}
MALLORY = {"name": "mallory", "user": "mallory@corp.example", "address": "192.0.2.7", "expect": "block"}
STRENGTH = {"id": "own", "displayName": "Keys", "allowedCombinations": ["fido2"]}


def elsewhere(name: str = "Elsewhere", state: str = "enabled") -> Any:
    document = make_document("block", name=name, state=state)
    document["conditions"]["locations"] = {"includeLocations": ["All"], "excludeLocations": ["Office"]}
    return document


def save(installation: Installation, *tests: Any, replace: bool = False) -> Any:
    return installation.do(import_policy_tests, [PolicyFile("", list(tests))], replace=replace)


def run(installation: Installation) -> dict[str, str]:
    return {result.name: result.problem for result in run_policy_tests(installation.store, now=installation.now)}


def read_everything(installation: Installation) -> Any:
    """What policies would decide by, and the head of the record of changes."""
    known = snapshot.Snapshot()
    with installation.store.read() as connection:
        snapshot.load_policies(connection, known)
        return known, connection.execute(select(tables.ledger)).one()


@pytest.fixture
def office(installation: Installation) -> Installation:
    """Alice may come from the office and from nowhere else; Mallory is of a group that may not come at all."""
    installation.add_user()
    installation.add_user("mallory@corp.example")
    installation.add_group("Denied")
    installation.do(join_group, "Denied", SubjectKind.USER, "mallory@corp.example")
    installation.do(add_network_policy, "deny", {"permission": "deny", "conditions": {"groups": ["Denied"]}})
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(add_named_location, "Office", ranges=["192.0.2.0/24"])
    installation.do(import_access_policies, elsewhere())
    save(installation, ABROAD, OFFICE, MALLORY)
    return installation


def block_everybody() -> Any:
    return make_document("block", name="Nobody")


CHANGES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[str]]] = {
    "switch off": (switch_access_policy, ("Elsewhere", "off"), {}, [ABROAD["name"]]),
    "report-only": (switch_access_policy, ("Elsewhere", "report-only"), {}, [ABROAD["name"]]),
    "remove": (remove_access_policy, ("Elsewhere",), {}, [ABROAD["name"]]),
    "import": (import_access_policies, (block_everybody(),), {}, [OFFICE["name"]]),
    "template": (add_template_policy, ("require-compliant-device",), {"on": True}, [OFFICE["name"]]),
    "location": (
        add_named_location, ("Office",), {"ranges": ["198.51.100.0/24"], "replace": True},
        [ABROAD["name"], OFFICE["name"]],
    ),
    "network add": (add_network_policy, ("none", {"permission": "deny"}), {"position": 1}, [OFFICE["name"]]),
    "network switch": (switch_network_policy, ("deny",), {"enabled": False}, [MALLORY["name"]]),
    "network change": (change_network_policy, ("deny",), {"changes": {"permission": "grant"}}, [MALLORY["name"]]),
    "network document": (
        change_network_policy, ("deny",), {"document": {"permission": "grant"}}, [MALLORY["name"]],
    ),
    "network move": (change_network_policy, ("everything",), {"position": 1}, [MALLORY["name"]]),
    "network remove": (remove_network_policy, ("deny",), {}, [MALLORY["name"]]),
}  # fmt: skip


@pytest.mark.parametrize("way", CHANGES)
def test_a_change_that_fails_tests_is_refused_with_each_of_them_and_nothing_is_changed(
    office: Installation, way: str
) -> None:
    action, arguments, options, failing = CHANGES[way]
    before = read_everything(office)
    with pytest.raises(PolicyTestsError) as caught:
        office.do(action, *arguments, **options)
    assert [result.name for result in caught.value.results] == failing
    assert "expected" in caught.value.results[0].problem and caught.value.results[0].deciding
    assert read_everything(office) == before
    for name in failing:
        office.do(remove_policy_test, name)
    office.do(action, *arguments, **options)


def test_a_strength_that_fails_tests_is_refused(office: Installation) -> None:
    office.do(import_policy_objects, ObjectKind.STRENGTH, [PolicyFile("", STRENGTH)])
    demand = make_document(name="Strong")
    demand["grantControls"] = {"operator": "AND", "authenticationStrength": {"id": "own"}}
    save(office, {**OFFICE, "methods": ["fido2"]}, replace=True)
    office.do(import_access_policies, demand)
    weaker = {**STRENGTH, "allowedCombinations": ["windowsHelloForBusiness"]}
    with pytest.raises(PolicyTestsError, match="alice from the office"):
        office.do(import_policy_objects, ObjectKind.STRENGTH, [PolicyFile("", weaker)], replace=True)


def test_no_action_writes_policies_past_the_tests() -> None:
    """Whoever calls what stores policies does it in `write_policies`."""
    storing = {
        "insert_network_policy", "store_planned", "insert_named_location", "insert_object",
        "replace_object", "delete_object", "NETWORK_POLICIES", "ACCESS_POLICIES",
    }  # fmt: skip
    folder = Path(evertunnel.actions.__file__).parent
    past = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if names & storing and "write" in names:
            past.append(path.name)
    assert past == []


def test_a_set_that_fails_may_be_changed_step_by_step_but_no_other_test_may_fail(office: Installation) -> None:
    office.do(join_group, "Denied", SubjectKind.USER, ALICE)
    assert run(office)[OFFICE["name"]] == "expected grant, got block (network_policy_denies)"
    office.do(switch_access_policy, "Elsewhere", "on")  # changes nothing about what fails
    with pytest.raises(PolicyTestsError, match="mallory") as caught:
        office.do(switch_network_policy, "deny", enabled=False)
    assert [result.name for result in caught.value.results] == [MALLORY["name"]]
    office.do(leave_group, "Denied", SubjectKind.USER, ALICE)
    assert set(run(office).values()) == {""}


def test_a_test_that_names_a_removed_user_fails_in_words_and_stops_nobody(office: Installation) -> None:
    office.do(remove_subject, SubjectKind.USER, "mallory@corp.example")
    assert "the user 'mallory@corp.example' it names was removed" in run(office)["mallory"]
    office.do(add_user, "mallory@corp.example", password=None)
    assert "was removed" in run(office)["mallory"], "another person of that name"
    office.do(switch_network_policy, "deny", enabled=False)


def test_a_renamed_user_is_the_same_user(office: Installation) -> None:
    office.do(rename_subject, SubjectKind.USER, ALICE, "alice.new@corp.example")
    assert set(run(office).values()) == {""}


def test_denials_and_switched_off_people_do_not_count(office: Installation) -> None:
    office.do(deny, SubjectKind.USER, ALICE, reason="left")
    office.do(change_user, ALICE, enabled=False)
    assert set(run(office).values()) == {""}
    with pytest.raises(PolicyTestsError):
        office.do(switch_access_policy, "Elsewhere", "off")


def test_the_trial_that_counts_cuts_runs_the_tests_as_well(office: Installation) -> None:
    def change(store: Store) -> None:
        switch_access_policy(store, "Elsewhere", "off", actor=ADMIN, now=office.now)

    with pytest.raises(PolicyTestsError):
        count_cuts(office.store, change, Decider(), now=office.now)


def test_while_policies_cannot_be_read_they_grant_nothing_to_tests_either(office: Installation) -> None:
    with office.store.write(office.now) as tx:
        tx.connection.execute(update(tables.access_policies).values(document={"displayName": "Elsewhere"}))
        tx.raise_epoch(snapshot.ACCESS_POLICIES, "x")
    assert run(office) == {
        ABROAD["name"]: "", MALLORY["name"]: "", OFFICE["name"]: "expected grant, got block (no_network_policy)",
    }  # fmt: skip
    with pytest.raises(PolicyTestsError, match="abroad"):
        office.do(remove_access_policy, "Elsewhere")
    office.do(remove_policy_test, ABROAD["name"])
    office.do(remove_access_policy, "Elsewhere")
    assert set(run(office).values()) == {""}


def make_race(installation: Installation) -> None:
    """Two policies, either of which keeps Alice out: one may go, not both."""
    installation.add_user()
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    for name in ("one", "two"):
        installation.do(import_access_policies, make_document("block", name=name))
    save(installation, {"name": "alice", "user": ALICE, "expect": "block"})


def test_of_two_changes_that_fail_a_test_together_the_second_is_refused(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    make_race(installation)
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: installation.do(switch_access_policy, "one", "off"))
    installation.do(switch_access_policy, "two", "off")
    assert isinstance(meeting.finish(), PolicyTestsError)
    assert run(installation) == {"alice": ""}


def test_a_test_that_is_saved_between_the_look_and_the_change_counts(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    make_race(installation)
    installation.do(switch_access_policy, "two", "off")
    installation.do(remove_policy_test, "alice")
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: installation.do(switch_access_policy, "one", "off"))
    save(installation, {"name": "alice", "user": ALICE, "expect": "block"})
    assert isinstance(meeting.finish(), PolicyTestsError)


def test_a_test_that_fails_by_a_change_since_the_look_is_not_saved(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    make_race(installation)
    installation.do(remove_policy_test, "alice")
    installation.do(switch_access_policy, "two", "off")
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: save(installation, {"name": "alice", "user": ALICE, "expect": "block"}))
    installation.do(switch_access_policy, "one", "off")
    assert isinstance(meeting.finish(), PolicyTestsError)
    assert run(installation) == {}


def test_as_many_tests_as_there_may_be_take_their_time_and_no_more(office: Installation) -> None:
    many = [{**ABROAD, "name": f"test {number}"} for number in range(TESTS_AT_MOST - 3)]
    save(office, *many)
    with pytest.raises(PolicyTestsError) as caught:
        office.do(switch_access_policy, "Elsewhere", "off")
    assert len(caught.value.results) == TESTS_AT_MOST - 2
