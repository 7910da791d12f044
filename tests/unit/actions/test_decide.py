"""Decisions from memory: everything known is gathered, and a policy that cannot be read lets nobody in."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from evertunnel.actions import decide
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.actions.report_device import report_device
from evertunnel.actions.report_user import report_user
from evertunnel.model import Reason, SubjectKind, TunnelKind
from evertunnel.storage import tables
from evertunnel.storage.snapshot import NETWORK_POLICIES
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document


def test_a_decider_that_read_nothing_grants_nothing(installation: Installation) -> None:
    decider = Decider()
    facts = decider.gather_facts(at=installation.now, tunnel=TunnelKind.USER)
    assert not decider.decide_tunnel(facts).granted
    assert not decider.decide_certificate(facts).granted
    assert decider.list_gateways() == []


def test_everything_that_bears_on_a_request_is_gathered(installation: Installation) -> None:
    user_id, device_id = installation.add_user(), installation.add_device()
    group_id = installation.add_group("staff")
    installation.do(join_group, "staff", SubjectKind.USER, ALICE)
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(report_device, LAPTOP, "compliant", value=True, source="scanner", life=timedelta(hours=1))
    installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    certificate = installation.find_certificate(installation.issue_user(user_id))
    device = installation.decider.find_device(device_id)
    facts = installation.decider.gather_facts(
        at=installation.now, tunnel=TunnelKind.USER, certificate=certificate, device=device, client_address="192.0.2.1"
    )
    assert facts.user is not None and facts.device is not None
    assert (facts.user.name, facts.user.groups) == (ALICE, {group_id})
    assert (facts.device.name, facts.device.users) == (LAPTOP, {user_id})
    assert (facts.user_denial, facts.device_denial) == ("", "stolen")
    assert [fact.source for fact in facts.device_facts["compliant"]] == ["scanner"]
    assert facts.certificate_usages == {"1.3.6.1.5.5.7.3.2"}


def test_a_denial_whose_end_came_is_none(installation: Installation) -> None:
    user_id = installation.add_user()
    installation.do(deny, SubjectKind.USER, ALICE, reason="test", until=installation.now + timedelta(hours=1))
    installation.refresh()
    user = installation.decider.find_user(user_id)

    def find_denial(after: timedelta) -> str:
        moment = installation.now + after
        return installation.decider.gather_facts(at=moment, tunnel=None, user=user).user_denial

    assert find_denial(timedelta(minutes=59)) == "test"
    assert find_denial(timedelta(hours=1)) == ""


@pytest.mark.parametrize("what", ["nothing", "", None])
def test_what_is_not_known_is_not_found(installation: Installation, what: str | None) -> None:
    installation.refresh()
    decider = installation.decider
    assert (decider.find_user(what), decider.find_device(what), decider.find_certificate_by_id(what)) == (None,) * 3


@pytest.mark.parametrize("kind", ["network", "access"])
def test_a_stored_policy_that_cannot_be_read_lets_nobody_in_and_is_named(installation: Installation, kind: str) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, make_document("compliantDevice", name="compliance", state="disabled"))
    assert installation.decide(certificate_id).granted
    table = tables.network_policies if kind == "network" else tables.access_policies
    with installation.store.write(installation.now) as tx:
        tx.connection.execute(update(table).values(document={"written": "by a newer version"}))
        tx.raise_epoch(NETWORK_POLICIES, "x")
    decision = installation.decide(certificate_id)
    assert decision.reason is Reason.NO_NETWORK_POLICY
    name = "everything" if kind == "network" else "compliance"
    assert decision.detail.startswith(f"none counts while one of them cannot be read: policy '{name}': $")
    facts = installation.decider.gather_facts(at=installation.now, tunnel=None)
    assert "cannot be read" in installation.decider.decide_certificate(facts).detail


def test_after_a_bug_in_reading_policies_the_old_ones_count_no_longer(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    assert installation.decide(certificate_id).granted
    installation.do(add_network_policy, "nobody", {"permission": "deny"}, position=1)
    with monkeypatch.context() as patch:
        patch.setattr(decide, "compile_network_policy", lambda *_: {}["a bug"])
        with pytest.raises(KeyError):
            installation.refresh()
    assert not installation.decide(certificate_id).granted


def test_a_policy_that_was_mended_counts_again(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    for document, granted in (({"permission": "?"}, False), ({"permission": "grant"}, True)):
        with installation.store.write(installation.now) as tx:
            tx.connection.execute(update(tables.network_policies).values(document=document))
            tx.raise_epoch(NETWORK_POLICIES, "x")
        assert installation.decide(certificate_id).granted is granted


def test_the_epoch_is_the_databases(installation: Installation) -> None:
    installation.refresh()
    before = installation.decider.epoch
    installation.add_user()
    assert installation.decider.epoch == before
    installation.refresh()
    assert installation.decider.epoch == before + 1


def test_the_country_and_what_was_told_of_the_user_are_known_together(installation: Installation) -> None:
    document = make_document("block", name="France")
    document["conditions"]["locations"] = {"includeLocations": ["France"]}
    installation.do(add_named_location, "France", countries=["FR"])
    installation.do(import_access_policies, document)
    user_id = installation.add_user()
    installation.do(report_user, ALICE, {"sign_in_risk": "low"}, source="administrator")
    decider = Decider(lambda _address: "FR")
    with installation.store.read() as connection:
        decider.refresh(connection)
    facts = decider.gather_facts(
        at=installation.now, tunnel=None, user=decider.find_user(user_id), client_address="192.0.2.7"
    )
    assert (facts.sign_in.country, facts.sign_in.sign_in_risk) == ("FR", "low")
