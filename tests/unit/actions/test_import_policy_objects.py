"""Named locations and authentication strengths: in as Graph writes them, changed, and out when no policy names them."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.access.documents import PolicyError, PolicyProblemsError
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies, remove_access_policy
from evertunnel.actions.import_policy_objects import add_named_location, import_policy_objects
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.remove_policy_object import remove_policy_object
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Reason
from evertunnel.storage import policy_objects, tables
from evertunnel.storage.policy_objects import ObjectKind
from tests.installation import Installation
from tests.unit.access.samples import make_document

LOCATION, STRENGTH = ObjectKind.LOCATION, ObjectKind.STRENGTH
OFFICE = {
    "@odata.type": "#microsoft.graph.ipNamedLocation",
    "id": "0F8E1C2A-1111-4222-8333-944455556666",
    "displayName": "Office",
    "isTrusted": True,
    "createdDateTime": "2026-01-01T00:00:00Z",
    "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.0/24"}],
}
TOKENS = {"id": "aaaaaaaa-0000-4000-8000-000000000001", "displayName": "Tokens", "allowedCombinations": ["fido2"]}
DOCUMENTS = {LOCATION: OFFICE, STRENGTH: TOKENS}


def bring(installation: Installation, kind: ObjectKind, *documents: Any, replace: bool = False) -> Any:
    files = [PolicyFile("", list(documents))]
    return installation.do(import_policy_objects, kind, files, replace=replace)


def list_documents(installation: Installation, kind: ObjectKind) -> list[Any]:
    with installation.store.read() as connection:
        return [row.document for row in policy_objects.list_objects(connection, kind)]


def from_office(*controls: str, name: str = "policy", side: str = "includeLocations", text: str = "Office") -> Any:
    document = make_document(*controls, name=name)
    document["conditions"]["locations"] = {"includeLocations": ["All"], side: [text]}
    return document


@pytest.mark.parametrize("kind", ObjectKind)
def test_what_is_imported_is_kept_letter_for_letter_and_found_by_id_and_name(
    installation: Installation, kind: ObjectKind
) -> None:
    document = {**DOCUMENTS[kind], "description": "kept"}
    assert bring(installation, kind, document).added == [document["displayName"]]
    assert list_documents(installation, kind) == [document]
    with installation.store.read() as connection:
        found = [policy_objects.find_object(connection, kind, text) for text in (document["id"].lower(),
                 document["id"].upper(), document["displayName"].upper())]  # fmt: skip
        assert {row.id for row in found if row is not None} == {document["id"]}
        assert policy_objects.find_object(connection, kind, "nothing") is None


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"value": [one]}])
def test_a_location_is_taken_however_it_is_wrapped(installation: Installation, wrap: Any) -> None:
    done = installation.do(import_policy_objects, LOCATION, [PolicyFile("", wrap(OFFICE))])
    assert done.added == ["Office"]


def test_one_of_the_same_name_or_id_is_replaced_on_demand_only(installation: Installation) -> None:
    bring(installation, LOCATION, OFFICE)
    renamed = {**OFFICE, "displayName": "Headquarters"}
    with pytest.raises(PolicyError, match="already; see --replace"):
        bring(installation, LOCATION, renamed)
    assert bring(installation, LOCATION, renamed, replace=True).replaced == ["Headquarters"]
    assert list_documents(installation, LOCATION) == [renamed]
    other = {**OFFICE, "id": "another", "displayName": "Branch"}
    bring(installation, LOCATION, other)
    with pytest.raises(PolicyError, match="the name or id of another"):
        bring(installation, LOCATION, {**OFFICE, "displayName": "Branch"}, replace=True)


def test_all_mistakes_of_all_files_are_told_and_nothing_is_imported(installation: Installation) -> None:
    wrong = {**OFFICE, "displayName": "x", "id": "x", "ipRanges": [{"cidrAddress": "300.0.0.0/8"}]}
    files = [
        PolicyFile("a.json", [OFFICE, wrong, 7]),
        PolicyFile("b.json", {"value": [{**OFFICE, "id": "y"}], "@odata.nextLink": "https://more"}),
        PolicyFile("c.json", {**OFFICE, "id": "z", "displayName": "allTrusted"}),
        PolicyFile("d.json", {**OFFICE, "id": "../etc", "displayName": "d"}),
    ]
    with pytest.raises(PolicyProblemsError) as caught:
        installation.do(import_policy_objects, LOCATION, files)
    assert [place for place, _problem in caught.value.problems] == [
        "b.json: $.@odata.nextLink",
        "a.json: $[1].ipRanges[0].cidrAddress",
        "a.json: $[2]",
        "b.json: $.value[0].displayName",
        "c.json: $.displayName",
        "d.json: $.id",
    ]
    assert list_documents(installation, LOCATION) == []


def test_strengths_that_are_built_in_are_left_out_and_their_names_are_taken(installation: Installation) -> None:
    built_in = {**TOKENS, "id": "00000000-0000-0000-0000-000000000004", "displayName": "Phishing-resistant MFA"}
    done = bring(installation, STRENGTH, built_in, TOKENS)
    assert (done.added, done.built_in) == (["Tokens"], ["Phishing-resistant MFA"])
    with pytest.raises(PolicyError, match="built in"):
        bring(installation, STRENGTH, {**built_in, "id": "mine"})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "either ranges of addresses, or countries"),
        ({"ranges": ["192.0.2.0/24"], "countries": ["DE"]}, "either"),
        ({"countries": ["DE"], "trusted": True}, "only ranges"),
        ({"ranges": ["192.0.2.1/24"]}, "host bits"),
        ({"ranges": ["office"]}, "is no range"),
        ({"countries": ["DEU"]}, "country code"),
        ({"countries": ["DE", "uk"]}, r"\$\.countriesAndRegions\[1\]: 'UK' is the code of no country: write GB"),
        ({"countries": ["QQ"]}, "'QQ' is the code of no country"),
    ],
)
def test_a_location_that_makes_no_sense_is_refused(
    installation: Installation, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        installation.do(add_named_location, "Office", **options)


def test_added_locations_are_as_graph_writes_them(installation: Installation) -> None:
    installation.do(add_named_location, "Office", ranges=["192.0.2.7", "2001:db8::/48"], trusted=True)
    installation.do(add_named_location, "Far", countries=["kp"], include_unknown=True)
    far, office = list_documents(installation, LOCATION)
    assert office["ipRanges"] == [
        {"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.7/32"},
        {"@odata.type": "#microsoft.graph.iPv6CidrRange", "cidrAddress": "2001:db8::/48"},
    ]
    assert office["isTrusted"] is True
    assert (far["countriesAndRegions"], far["includeUnknownCountriesAndRegions"]) == (["KP"], True)


@pytest.mark.parametrize("text", ["Office", "OFFICE", OFFICE["id"], str(OFFICE["id"]).lower()])
def test_a_policy_names_a_location_by_name_or_id_and_a_change_counts_at_once(
    installation: Installation, text: str
) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    bring(installation, LOCATION, OFFICE)
    installation.do(import_access_policies, from_office("block", text=text))
    assert installation.decide(certificate_id, client_address="203.0.113.1").granted
    at_office = installation.decide(certificate_id, client_address="192.0.2.7[4500]")
    assert at_office.reason is Reason.BLOCKED_BY_ACCESS_POLICY
    moved = {**OFFICE, "ipRanges": [{"cidrAddress": "203.0.113.0/24"}]}
    bring(installation, LOCATION, moved, replace=True)
    assert installation.decide(certificate_id, client_address="192.0.2.7").granted
    assert not installation.decide(certificate_id, client_address="203.0.113.1").granted


def test_a_group_and_a_location_may_have_the_same_name(installation: Installation) -> None:
    group_id = installation.add_group("Office")
    bring(installation, LOCATION, OFFICE)
    document = from_office("block")
    document["conditions"]["users"]["excludeGroups"] = ["Office"]
    installation.do(import_access_policies, document)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.access_policies)).one()
    assert row.resolved == {"Office": group_id, "location:Office": OFFICE["id"]}


@pytest.mark.parametrize("kind", ObjectKind)
def test_what_a_policy_names_is_not_removed(installation: Installation, kind: ObjectKind) -> None:
    bring(installation, kind, DOCUMENTS[kind])
    policies = [from_office("block", name=name) for name in ("b", "a")]
    if kind is STRENGTH:
        policies = [make_document(name=name) for name in ("b", "a")]
        for policy in policies:
            policy["grantControls"] = {"operator": "OR", "authenticationStrength": {"id": "tokens"}}
    installation.do(import_access_policies, policies)
    with pytest.raises(InvalidInputError, match="named by conditional access policies: 'a', 'b'"):
        installation.do(remove_policy_object, kind, str(DOCUMENTS[kind]["id"]))
    for name in ("a", "b"):
        installation.do(remove_access_policy, name)
    installation.do(remove_policy_object, kind, str(DOCUMENTS[kind]["displayName"]))
    assert list_documents(installation, kind) == []
    with pytest.raises(NotFoundError, match=f"evertunnel policy {kind.value} list"):
        installation.do(remove_policy_object, kind, "Office")


def test_a_strength_that_a_policy_names_and_holds_itself_is_not_removed(installation: Installation) -> None:
    """Graph's answers hold the whole of it. What the policy holds may be weaker than what counts."""
    bring(installation, STRENGTH, TOKENS)
    document = make_document()
    held = {**TOKENS, "allowedCombinations": ["password"]}
    document["grantControls"] = {"operator": "OR", "authenticationStrength": held}
    installation.do(import_access_policies, document)
    with pytest.raises(InvalidInputError, match="named by conditional access policies: 'policy'"):
        installation.do(remove_policy_object, STRENGTH, "Tokens")
    installation.do(remove_access_policy, "policy")
    installation.do(remove_policy_object, STRENGTH, "Tokens")


def test_a_trusted_location_is_named_by_alltrusted(installation: Installation) -> None:
    bring(installation, LOCATION, OFFICE)
    installation.do(import_access_policies, from_office("mfa", side="excludeLocations", text="AllTrusted"))
    with pytest.raises(InvalidInputError, match="'policy'"):
        installation.do(remove_policy_object, LOCATION, "Office")
    bring(installation, LOCATION, {**OFFICE, "isTrusted": False}, replace=True)
    installation.do(remove_policy_object, LOCATION, "Office")


def test_a_custom_strength_is_demanded(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    bring(installation, STRENGTH, TOKENS)
    document = make_document()
    document["grantControls"] = {"operator": "OR", "authenticationStrength": {"id": TOKENS["id"]}}
    installation.do(import_access_policies, document)
    decision = installation.decide(certificate_id)
    assert decision.reason is Reason.AUTHENTICATION_TOO_WEAK
    assert "'Tokens'" in decision.detail


def test_a_stored_location_that_cannot_be_read_lets_nobody_in_until_it_is_mended(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    bring(installation, LOCATION, OFFICE)
    assert installation.decide(certificate_id).granted
    with installation.store.write(installation.now) as tx:
        policy_objects.replace_object(tx, LOCATION, OFFICE["id"], "Office", {"displayName": "Office"})
    decision = installation.decide(certificate_id)
    assert decision.reason is Reason.NO_NETWORK_POLICY
    assert "'Office': $.@odata.type" in decision.detail
    installation.do(add_network_policy, "more", {"permission": "grant"})
    assert not installation.decide(certificate_id).granted
    bring(installation, LOCATION, OFFICE, replace=True)
    assert installation.decide(certificate_id).granted


def test_the_audit_has_every_change(installation: Installation) -> None:
    bring(installation, LOCATION, OFFICE)
    bring(installation, LOCATION, OFFICE, replace=True)
    installation.do(remove_policy_object, LOCATION, "Office")
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.audit).where(tables.audit.c.subject == "Office")).all()
    assert {row.name for row in rows} == {f"named-location:{verb}" for verb in ("add", "change", "remove")}
    assert all(json.loads(row.details)["document"] == OFFICE for row in rows)
