"""A draft of the policies, tried on attempts of the past with the facts as they were then."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from evertunnel.access.documents import PolicyError, PolicyProblemsError
from evertunnel.actions.authenticate import Decided, LoginFacts, decide_login, record_failure, record_login
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies, switch_access_policy
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.replay_attempts import Draft, Page, build_draft, replay_page
from evertunnel.actions.report_device import report_device
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Decision, Outcome, Reason
from evertunnel.storage import tables
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document
from tests.unit.actions.test_authenticate import make_login

COMPLIANT = make_document("compliantDevice", name="Compliant")
REPORT_ONLY = COMPLIANT | {"state": "enabledForReportingButNotEnforced"}


@pytest.fixture
def office(installation: Installation) -> Installation:
    """Whoever has a certificate is granted; a compliant device is only reported on."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, REPORT_ONLY)
    return installation


def log_in(installation: Installation, login: LoginFacts) -> Decision:
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        return record_login(tx, installation.decider, login)[0]


def look(installation: Installation, draft: Draft, **options: Any) -> Page:
    policies = build_draft(installation.store, draft)
    return replay_page(installation.store, policies, **({"limit": 100} | options))


def files(*documents: dict[str, Any]) -> list[PolicyFile]:
    return [PolicyFile(f"{number}.json", document) for number, document in enumerate(documents)]


def test_who_would_newly_be_refused_is_named_with_the_facts_of_then(office: Installation) -> None:
    login = make_login(office)
    office.do(report_device, LAPTOP, "compliant", value=False, source="mdm")
    assert log_in(office, login).granted
    office.do(report_device, LAPTOP, "compliant", value=True, source="mdm")
    assert log_in(office, login).granted
    page = look(office, Draft(states={"Compliant": "on"}))
    assert page.looked_at == 2
    (difference,) = page.differences
    assert difference.decision.reason is Reason.DEVICE_NOT_COMPLIANT
    assert difference.attempt.facts.user is not None
    assert "mdm said false" in difference.decision.detail


def test_what_ran_out_while_somebody_logged_in_had_run_out_at_the_decision(office: Installation) -> None:
    office.do(switch_access_policy, "Compliant", "on")
    login = make_login(office)
    office.do(report_device, LAPTOP, "compliant", value=True, source="mdm", life=timedelta(seconds=2))
    office.clock.forward(seconds=3)
    assert not log_in(office, login).granted
    assert look(office, Draft(states={"Compliant": "on"})).differences == ()


def test_who_would_newly_be_granted_is_named(office: Installation) -> None:
    office.do(switch_access_policy, "Compliant", "on")
    assert not log_in(office, make_login(office)).granted
    (difference,) = look(office, Draft(states={"Compliant": "off"})).differences
    assert (difference.attempt.reason, difference.decision.granted) == ("device_not_compliant", True)
    assert look(office, Draft(states={"Compliant": "on"})).differences == ()


def test_a_file_comes_beside_the_others_or_instead_of_them(office: Installation) -> None:
    assert log_in(office, make_login(office)).granted
    draft = make_document("block", name="Block")
    assert [each.decision.reason for each in look(office, Draft(files(draft))).differences] == [
        Reason.BLOCKED_BY_ACCESS_POLICY
    ]
    office.do(switch_access_policy, "Compliant", "on")
    assert len(
        look(office, Draft(files(make_document("compliantDevice", name="Other") | {"state": "disabled"}))).differences
    )
    alone = Draft(files(make_document("block", name="Other") | {"state": "disabled"}), alone=True)
    assert look(office, alone).differences == ()


def test_a_policy_of_the_file_replaces_the_one_of_its_name(office: Installation) -> None:
    assert log_in(office, make_login(office)).granted
    assert len(look(office, Draft(files(COMPLIANT))).differences) == 1


def test_what_a_file_of_another_directory_names_is_found_by_the_map(office: Installation) -> None:
    assert log_in(office, make_login(office)).granted
    draft = files(make_document("block", name="Block", users={"includeUsers": ["0f1d"]}))
    with pytest.raises(PolicyProblemsError, match="there is no user '0f1d'"):
        look(office, Draft(draft))
    assert len(look(office, Draft(draft, mapping={"0f1d": ALICE})).differences) == 1


def test_nothing_of_a_draft_stays(office: Installation) -> None:
    def count() -> list[Any]:
        with office.store.read() as connection:
            policies = connection.execute(select(tables.access_policies.c.document)).scalars().all()
            return [*policies, connection.execute(select(func.count()).select_from(tables.audit)).scalar_one()]

    before = count()
    office.refresh()
    epoch = office.decider.epoch
    look(office, Draft(files(COMPLIANT, make_document("block", name="Block")), {"Compliant": "off"}))
    office.refresh()
    assert (count(), office.decider.epoch) == (before, epoch)


def test_attempts_without_facts_are_counted_and_not_guessed_about(office: Installation) -> None:
    login = make_login(office)
    with office.store.write(office.now) as tx:
        record_failure(tx, login, Decision(Outcome.REFUSED, Reason.TLS_FAILED, "no"))
    page = look(office, Draft(states={"Compliant": "on"}))
    assert (page.looked_at, page.skipped, page.differences) == (1, 1, ())


def test_who_called_himself_otherwise_outside_would_not_be_granted_by_any_policy(office: Installation) -> None:
    login = make_login(office, claimed_identity="eve@corp.example", inner_identity=ALICE)
    assert log_in(office, login).reason is Reason.OUTER_IDENTITY_MISMATCH
    page = look(office, Draft())
    assert (page.looked_at, page.skipped, page.differences) == (1, 1, ())


@pytest.mark.parametrize(
    "reason",
    [
        Reason.CRYPTO_BINDING_WRONG,
        Reason.MSCHAPV2_SWITCHED_OFF,
        Reason.PASSWORD_WRONG,
        Reason.PASSWORD_EXPIRED,
        Reason.PASSWORD_CHANGE_FAILED,
        Reason.CLIENT_STOPPED,
    ],
)
def test_what_failed_after_the_decision_is_no_matter_of_policies(office: Installation, reason: Reason) -> None:
    login = make_login(office)
    with office.store.write(office.now) as tx:
        office.decider.refresh(tx.connection)
        decided = Decided(office.decider.epoch, *decide_login(office.decider, login, now=tx.now))
        record_failure(tx, replace(login, decided=decided), Decision(Outcome.REFUSED, reason, "no"))
    assert look(office, Draft()).differences == ()


def test_pages_join_without_a_gap_or_a_repetition(office: Installation) -> None:
    login = make_login(office)
    for _ in range(7):
        assert log_in(office, login).granted  # at the same moment
    found, after = [], None
    for _ in range(10):
        page = look(office, Draft(states={"Compliant": "on"}), limit=3, after=after)
        found += [each.attempt.id for each in page.differences]
        after = page.after
        if after is None:
            break
    assert len(set(found)) == len(found) == 7


@pytest.mark.parametrize("after", ["", "x", "2026-01-01", "/"])
def test_a_place_that_is_none_is_refused(office: Installation, after: str) -> None:
    with pytest.raises(InvalidInputError):
        look(office, Draft(), after=after)


def test_a_draft_that_cannot_be_read_is_refused(office: Installation) -> None:
    with pytest.raises(PolicyError):
        look(office, Draft(files({"displayName": "x"})))
    with pytest.raises(NotFoundError):
        look(office, Draft(states={"nobody": "on"}))
    with pytest.raises(InvalidInputError):
        look(office, Draft(states={"Compliant": "maybe"}))
