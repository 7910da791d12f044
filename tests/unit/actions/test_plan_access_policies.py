"""Importing from another directory: ids are mapped or found, everything that is not is listed, nothing is guessed."""

from typing import Any

import pytest
from sqlalchemy import event, select

from evertunnel.access.conditional.applications import Applications
from evertunnel.access.conditional.users import Users
from evertunnel.access.documents import PolicyError, PolicyProblemsError
from evertunnel.actions.import_access_policies import import_access_policies, import_policy_files
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.actions.plan_access_policies import PlannedPolicy, build_mapping, plan_access_policies
from evertunnel.actions.policy_files import PROBLEMS_AT_MOST, PolicyFile
from evertunnel.errors import AlreadyExistsError
from evertunnel.storage import tables
from tests.installation import ALICE, Installation
from tests.unit.access.samples import make_document

USER, GROUP, PLACE, STRENGTH, APP, OTHER_APP = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abcdef")


def from_entra(name: str = "From Entra") -> dict[str, Any]:
    """As Graph exports it: object ids everywhere, and fields that nobody here knows the meaning of."""
    return {
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#identity/conditionalAccess/policies/$entity",
        "id": "11111111-2222-4333-8444-555555555555",
        "templateId": None,
        "displayName": name,
        "createdDateTime": "2026-01-01T00:00:00Z",
        "state": "enabled",
        "partialEnablementStrategy": None,
        "conditions": {
            "clientAppTypes": ["all"],
            "userRiskLevels": [],
            "platforms": None,
            "users": {
                "includeUsers": [USER], "excludeUsers": [], "includeGroups": [GROUP], "excludeGroups": [],
                "includeRoles": [], "excludeRoles": [],
            },
            "applications": {"includeApplications": [APP, OTHER_APP], "excludeApplications": []},
            "locations": {"includeLocations": ["All"], "excludeLocations": [PLACE, "AllTrusted"]},
        },
        "grantControls": {
            "operator": "OR", "builtInControls": [], "authenticationStrength": {"id": STRENGTH},
        },
        "sessionControls": None,
    }  # fmt: skip


MAP = {
    USER.upper(): ALICE, GROUP: "sales", PLACE: "Office", STRENGTH: "Phishing-resistant MFA", APP: "VPN",
    OTHER_APP: "Payroll",
}  # fmt: skip


@pytest.fixture
def ready(installation: Installation) -> Installation:
    """Everything the map names."""
    installation.add_user()
    installation.add_group("Sales")
    installation.do(add_named_location, "Office", ranges=["192.0.2.0/24"])
    return installation


def plan(installation: Installation, *files: PolicyFile, **options: Any) -> list[PlannedPolicy]:
    with installation.store.read() as connection:
        return plan_access_policies(connection, files, **options)


def find_problems(installation: Installation, *files: PolicyFile, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(PolicyProblemsError) as caught:
        installation.do(import_policy_files, list(files), **options)
    with installation.store.read() as connection:
        assert connection.execute(select(tables.access_policies)).all() == []
    return list(caught.value.problems)


def test_ids_are_resolved_through_the_map_and_the_document_stays_as_it_was(ready: Installation) -> None:
    (planned,) = ready.do(import_policy_files, [PolicyFile("", from_entra())], mapping=MAP)
    applications = {f"application:{APP}", f"application:{OTHER_APP}"}
    assert planned.resolved.keys() == {USER, GROUP, f"location:{PLACE}", f"strength:{STRENGTH}"} | applications
    with ready.store.read() as connection:
        row = connection.execute(select(tables.access_policies)).one()
    assert row.document == from_entra()
    assert list(row.document) == list(from_entra())
    assert row.resolved[f"application:{APP}"] == "VPN"


def test_everything_that_cannot_be_resolved_is_listed_with_file_and_path(installation: Installation) -> None:
    files = PolicyFile("a.json", {"value": [from_entra("a")]}), PolicyFile("b.json", from_entra("b"))
    problems = find_problems(installation, *files)
    paths = [
        "conditions.users.includeUsers[0]",
        "conditions.users.includeGroups[0]",
        "conditions.locations.excludeLocations[0]",
        "grantControls.authenticationStrength.id",
        "conditions.applications.includeApplications[0]",
        "conditions.applications.includeApplications[1]",
    ]
    assert [place for place, _problem in problems] == [
        *(f"a.json: $.value[0].{path}" for path in paths),
        *(f"b.json: $.{path}" for path in paths),
    ]
    assert all(identifier in problem for identifier, (_, problem) in zip(
        (USER, GROUP, PLACE, STRENGTH, APP, OTHER_APP), problems, strict=False))  # fmt: skip


def test_other_mistakes_are_listed_beside_those(ready: Installation) -> None:
    wrong = {**make_document("block", name="wrong"), "state": "on"}
    location = {"@odata.type": "#microsoft.graph.ipNamedLocation", "displayName": "x"}
    ready_made = make_document("block", name="good")
    files = [PolicyFile("a.json", [ready_made, wrong, 7, ready_made]), PolicyFile("b.json", location)]
    assert [place for place, _ in find_problems(ready, *files)] == [
        "a.json: $[1].state", "a.json: $[2]", "b.json: $.@odata.type", "a.json: $[3].displayName",
    ]  # fmt: skip


def test_a_name_in_the_map_that_nobody_has_is_told_with_what_it_was_for(ready: Installation) -> None:
    (problem,) = find_problems(ready, PolicyFile("", from_entra()), mapping={**MAP, GROUP: "Marketing"})
    assert problem[0] == "$.conditions.users.includeGroups[0]"
    assert "'Marketing', which" in problem[1] and GROUP in problem[1]


def test_a_text_that_means_a_user_and_a_group_is_not_guessed(ready: Installation) -> None:
    ready.add_group(ALICE)
    users = {"includeUsers": [ALICE], "excludeGroups": [ALICE]}
    ((place, problem),) = find_problems(ready, PolicyFile("", make_document("block", users=users)))
    assert (place, "both a user and a group" in problem) == ("$.conditions.users.excludeGroups[0]", True)


def test_applications_beside_the_vpn_need_no_names(ready: Installation) -> None:
    applications = {"includeApplications": ["All"], "excludeApplications": [OTHER_APP]}
    (planned,) = plan(ready, PolicyFile("", make_document("block", applications=applications)))
    assert planned.resolved == {}


def test_names_that_are_there_already_are_listed(ready: Installation) -> None:
    ready.do(import_access_policies, [make_document("block", name="a"), make_document("block", name="b")])
    again = [make_document("block", name=name) for name in ("a", "c", "b", "c")]
    with pytest.raises(AlreadyExistsError, match="'a', 'b', 'c'"):
        ready.do(import_access_policies, again)


def test_a_check_says_what_cannot_be_evaluated_and_what_has_no_meaning(ready: Installation) -> None:
    document = make_document("compliantApplication", name="odd")
    document["conditions"]["users"]["excludeRoles"] = ["62e90394-69f5-4237-9190-012177145e10"]
    document["sessionControls"] = {"persistentBrowser": {"isEnabled": True, "mode": "never"}}
    (planned,) = plan(ready, PolicyFile("", document))
    assert {path for path, _ in planned.unevaluable} == {
        "$.conditions.users.excludeRoles", "$.grantControls.builtInControls[0]",
    }  # fmt: skip
    assert planned.without_meaning
    with ready.store.read() as connection:
        assert connection.execute(select(tables.access_policies)).all() == []


@pytest.mark.parametrize("known", [True, False])
def test_countries_that_nothing_tells_are_said_to_be_unknown(ready: Installation, known: bool) -> None:
    ready.do(add_named_location, "Far", countries=["KP"])
    document = make_document("block")
    document["conditions"]["locations"] = {"includeLocations": ["Far"]}
    (planned,) = plan(ready, PolicyFile("", document), countries_known=known)
    assert [path for path, _ in planned.unevaluable] == ([] if known else ["$.conditions.locations"])


def test_too_many_at_once_are_refused(ready: Installation) -> None:
    with pytest.raises(PolicyError, match="at most 500"):
        plan(ready, PolicyFile("", [make_document("block", name=str(number)) for number in range(501)]))


@pytest.mark.parametrize("name", ["VPN", "All", "vpn server"])
def test_a_group_called_as_the_vpn_takes_nothing_from_the_policy(ready: Installation, name: str) -> None:
    ready.add_group(name)
    document = make_document("block", applications={"includeApplications": [name]})
    document["conditions"]["users"] = {"includeUsers": ["All"], "excludeGroups": [name]}
    (planned,) = plan(ready, PolicyFile("", document))
    _users, applications = planned.policy.conditions
    assert isinstance(applications, Applications)
    assert applications.vpn.applies


def test_a_space_in_the_map_makes_no_other_application_of_the_vpn(ready: Installation) -> None:
    """Any word may be the name of another one: the policy would silently block nothing."""
    document = make_document("block", applications={"includeApplications": [APP]})
    (planned,) = plan(ready, PolicyFile("", document), mapping={APP: " VPN "})
    assert planned.resolved == {f"application:{APP}": "VPN"}


def test_what_an_application_is_called_is_not_what_a_group_is(ready: Installation) -> None:
    vpn, sales = ready.add_group("VPN"), ready.add_group("Payroll")
    document = make_document("block", applications={"includeApplications": ["Payroll"]})
    document["conditions"]["users"] = {"includeGroups": ["Payroll"]}
    with pytest.raises(PolicyProblemsError, match="'Payroll' is an application we do not know"):
        plan(ready, PolicyFile("", document))
    (planned,) = plan(ready, PolicyFile("", document), mapping={"Payroll": "VPN"})
    users, applications = planned.policy.conditions
    assert isinstance(users, Users)
    assert isinstance(applications, Applications)
    assert (users.include_groups, applications.vpn.applies) == ({vpn}, True)
    assert sales not in planned.resolved.values()
    mapping = build_mapping(document, planned.resolved)
    assert mapping == {}  # two meanings: it means what it means now


def test_a_rolled_back_policy_is_about_the_application_it_was(ready: Installation) -> None:
    document = make_document("block", applications={"includeApplications": [APP]})
    (planned,) = plan(ready, PolicyFile("", document), mapping={APP: "VPN"})
    assert build_mapping(document, planned.resolved) == {APP: "VPN"}
    assert build_mapping(document, {APP: "VPN"}) == {APP: "VPN"}  # as older versions of us kept it


@pytest.mark.parametrize("name", [" ", "x" * 257, "two\nlines", "nul\x00", "\u202egnp.exe", "\x1b[31mred"], ids=ascii)
def test_a_name_that_cannot_be_shown_is_refused(ready: Installation, name: str) -> None:
    found = find_problems(ready, PolicyFile("", make_document("block", name=name)))
    assert found == [("$.displayName", "must be 1 to 256 printable characters")]


def test_what_is_wrong_is_listed_up_to_a_bound(ready: Installation) -> None:
    document = make_document("block")
    document["conditions"]["users"] = {"includeUsers": [f"nobody{number}" for number in range(50_000)]}
    found = find_problems(ready, PolicyFile("", document))
    assert len(found) == PROBLEMS_AT_MOST + 1
    assert found[-1] == ("$", "this and perhaps more is wrong besides: 1000 problems are listed")


def test_a_name_is_looked_up_once_however_often_it_stands_there(ready: Installation) -> None:
    document = make_document("block")
    document["conditions"]["users"] = {"includeUsers": [ALICE] * 20_000}
    statements: list[str] = []
    with ready.store.read() as connection:
        event.listen(connection.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        plan_access_policies(connection, [PolicyFile("", document)])
    assert len(statements) < 20


def test_a_map_that_gives_an_id_two_names_is_refused(ready: Installation) -> None:
    with pytest.raises(PolicyError, match=r"gives 'BBBBBBBB.* two names, once in other case"):
        plan(ready, PolicyFile("", make_document("block")), mapping={GROUP: "Sales", GROUP.upper(): "Staff"})
    assert plan(ready, PolicyFile("", make_document("block")), mapping={GROUP: "Sales", GROUP.upper(): "Sales"})
