"""Policies from templates: each is one that imports cleanly, reports only at first, and does what it is called."""

from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.access.policy_templates import TEMPLATES
from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.errors import DomainError, InvalidInputError, NotFoundError
from evertunnel.model import Decision, Reason, SubjectKind, TunnelKind
from evertunnel.storage import tables
from tests.installation import ALICE, Installation

COUNTRIES = {"192.0.2.7": "DE", "198.51.100.7": "KP", "10.0.0.7": ""}


def get_place(name: str) -> dict[str, Any]:
    return {"countries": ["KP"]} if TEMPLATES[name].location is not None else {}


def decide(installation: Installation, certificate_id: str, address: str) -> Decision:
    decider = Decider(lambda found: COUNTRIES.get(str(found)))
    with installation.store.read() as connection:
        decider.refresh(connection)
    certificate = decider.find_certificate_by_id(certificate_id)
    facts = decider.gather_facts(
        at=installation.now, tunnel=TunnelKind.USER, certificate=certificate, client_address=address
    )
    return decider.decide_tunnel(facts)


@pytest.fixture
def certificate_id(installation: Installation) -> str:
    """Alice's; network policies let everybody in."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    return installation.issue_user(installation.add_user())


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_is_added_in_one_step_report_only_and_can_be_evaluated(installation: Installation, name: str) -> None:
    installation.add_group("Break glass")
    planned = installation.do(add_template_policy, name, exclude_groups=["Break glass"], **get_place(name))
    assert planned.policy.state.value == "enabledForReportingButNotEnforced"
    assert (planned.unevaluable, planned.without_meaning) == ((), ())
    with installation.store.read() as connection:
        row = connection.execute(select(tables.access_policies)).one()
    assert row.document["conditions"]["users"]["excludeGroups"] == ["Break glass"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("require-compliant-device", Reason.DEVICE_NOT_COMPLIANT),
        ("require-mfa", Reason.MFA_REQUIRED),
        ("require-phishing-resistant-mfa", Reason.AUTHENTICATION_TOO_WEAK),
        ("require-mfa-for-risky-sign-ins", Reason.MFA_REQUIRED),  # a risk nobody knows counts as one
        ("block-countries", Reason.BLOCKED_BY_ACCESS_POLICY),
        ("block-unknown-platforms", Reason.BLOCKED_BY_ACCESS_POLICY),
        ("block-legacy", Reason.GRANTED),
    ],
)
def test_switched_on_it_does_what_it_is_called_except_for_the_excluded(
    installation: Installation, certificate_id: str, name: str, reason: Reason
) -> None:
    installation.add_group("Break glass")
    installation.do(add_template_policy, name, on=True, exclude_groups=["Break glass"], **get_place(name))
    assert decide(installation, certificate_id, "198.51.100.7").reason is reason
    installation.do(join_group, "Break glass", SubjectKind.USER, ALICE)
    assert decide(installation, certificate_id, "198.51.100.7").granted


def test_all_but_some_countries_are_blocked_unknown_ones_too(installation: Installation, certificate_id: str) -> None:
    installation.do(add_template_policy, "block-other-countries", countries=["DE"], on=True)
    granted = {address: decide(installation, certificate_id, address).granted for address in COUNTRIES}
    assert granted == {"192.0.2.7": True, "198.51.100.7": False, "10.0.0.7": False}
    assert not decide(installation, certificate_id, "203.0.113.1").granted
    assert not decide(installation, certificate_id, "").granted


def test_a_location_that_is_there_is_used(installation: Installation, certificate_id: str) -> None:
    installation.do(add_named_location, "Embargo", countries=["KP"])
    installation.do(add_template_policy, "block-countries", location="Embargo", name="No embargo", on=True)
    decision = decide(installation, certificate_id, "198.51.100.7")
    assert "'No embargo'" in decision.detail


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("block-everything", {}, NotFoundError),
        ("block-countries", {}, InvalidInputError),
        ("block-countries", {"countries": ["KP"], "location": "x"}, InvalidInputError),
        ("block-countries", {"location": "nowhere"}, InvalidInputError),
        ("block-countries", {"countries": ["Korea"]}, InvalidInputError),
        ("require-mfa", {"countries": ["KP"]}, InvalidInputError),
        ("require-mfa", {"exclude_groups": ["nobody"]}, InvalidInputError),
    ],
)
def test_what_cannot_be_made_leaves_nothing(
    installation: Installation, name: str, options: dict[str, Any], error: type[DomainError]
) -> None:
    with pytest.raises(error):
        installation.do(add_template_policy, name, **options)
    with installation.store.read() as connection:
        assert connection.execute(select(tables.access_policies)).all() == []
        assert connection.execute(select(tables.named_locations)).all() == []
