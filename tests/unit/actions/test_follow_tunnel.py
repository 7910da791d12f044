"""What a gateway reports: device tunnels decided as they come up, user tunnels joined to their Accept."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.account import AccountingReport, account
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.follow_tunnel import (
    TunnelReport,
    close_sessions,
    follow_rekey,
    join_user_session,
    open_device_session,
    record_device_refusal,
    record_unrecognised,
)
from evertunnel.model import Decision, Gateway, Reason, Session, SessionState, Step, SubjectKind, TunnelKind
from evertunnel.storage import sessions, tables
from tests.installation import LAPTOP, Installation

REPORT = TunnelReport(
    7, "a_b", "192.0.2.7", "CN=laptop1", "10.30.0.1",
    story=(Step(0.0, "looking for a config"), Step(31.4, "up")), reported_ms=33.3,
)  # fmt: skip


@pytest.fixture
def ready(installation: Installation) -> tuple[Installation, Gateway, TunnelReport]:
    """Device tunnels are granted; the laptop's certificate came up on a gateway."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    gateway_id = installation.add_gateway()
    certificate_id = installation.issue_device(installation.add_device())
    installation.refresh()
    gateway = installation.decider.find_gateway(gateway_id)
    assert gateway is not None
    return installation, gateway, replace(REPORT, certificate_id=certificate_id)


def list_rows(installation: Installation, table: str) -> list[Any]:
    with installation.store.read() as connection:
        return list(connection.execute(select(tables.metadata.tables[table])))


def come_up(installation: Installation, gateway: Gateway, report: TunnelReport) -> Decision:
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        return open_device_session(tx, installation.decider, gateway, report)


def accept(installation: Installation, gateway: Gateway, **columns: Any) -> str:
    values: dict[str, Any] = {"unique_id": 7, "state": SessionState.PENDING, "user_id": "u1"} | columns
    session_id = f"s{installation.clock.forward(seconds=1):%M%S}"
    with installation.store.write(installation.now) as tx:
        made = Session(session_id, TunnelKind.USER, gateway_id=gateway.id, created_at=installation.now, **values)
        sessions.insert_sessions(tx, [made])
    return session_id


def test_a_device_that_may_is_recorded_with_its_session_and_story(
    ready: tuple[Installation, Gateway, TunnelReport],
) -> None:
    installation, gateway, report = ready
    assert come_up(installation, gateway, report).granted
    [session], [attempt] = list_rows(installation, "sessions"), list_rows(installation, "attempts")
    assert (session.state, session.kind, session.spis, session.unique_id) == ("up", "device", "a_b", 7)
    assert (session.device_id, session.attempt_id, attempt.session_id) == (attempt.device_id, attempt.id, session.id)
    steps = json.loads(attempt.story)["steps"]
    assert steps[:2] == [[0.0, "looking for a config"], [31.4, "up"]]
    assert (steps[2][0], attempt.duration_microseconds) == (33.3, 33_300)


def test_a_denied_device_is_refused_and_has_no_session(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, report = ready
    installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    assert come_up(installation, gateway, report).reason is Reason.DEVICE_DENIED
    assert list_rows(installation, "sessions") == []
    assert [row.reason for row in list_rows(installation, "attempts")] == ["device_denied"]


@pytest.mark.parametrize("certificate_id", [None, "", "nothing"])
def test_a_tunnel_that_joins_no_certificate_of_ours_is_refused(
    ready: tuple[Installation, Gateway, TunnelReport], certificate_id: str | None
) -> None:
    installation, gateway, report = ready
    decision = come_up(installation, gateway, replace(report, certificate_id=certificate_id))
    assert decision.reason is Reason.TUNNEL_NOT_RECOGNISED
    assert list_rows(installation, "sessions") == []


def test_a_users_certificate_opens_no_device_tunnel(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, report = ready
    users = installation.issue_user(installation.add_user())
    decision = come_up(installation, gateway, replace(report, certificate_id=users))
    assert decision.reason is Reason.CERTIFICATE_WRONG_KIND


def join(installation: Installation, gateway: Gateway, report: TunnelReport = REPORT) -> bool:
    with installation.store.write(installation.now) as tx:
        return join_user_session(tx, gateway, report)


def test_a_user_tunnel_joins_the_session_of_its_number_once(
    ready: tuple[Installation, Gateway, TunnelReport],
) -> None:
    installation, gateway, _ = ready
    accept(installation, gateway)
    assert join(installation, gateway)
    [session] = list_rows(installation, "sessions")
    assert (session.state, session.spis, session.virtual_addresses) == ("up", "a_b", "10.30.0.1")
    assert join(installation, gateway)  # reported again: the same tunnel
    assert not join(installation, gateway, replace(REPORT, spis="c_d"))  # the number is another tunnel's now


@pytest.mark.parametrize("columns", [{"unique_id": 8}, {"state": SessionState.ENDED}])
def test_a_user_tunnel_without_a_session_that_waits_joins_none(
    ready: tuple[Installation, Gateway, TunnelReport], columns: dict[str, Any]
) -> None:
    installation, gateway, _ = ready
    accept(installation, gateway, **columns)
    assert not join(installation, gateway)


def test_a_session_of_another_gateway_is_not_joined(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, _ = ready
    accept(installation, replace(gateway, id="another"))
    assert not join(installation, gateway)


def test_a_session_denied_before_its_tunnel_came_is_not_joined(
    ready: tuple[Installation, Gateway, TunnelReport],
) -> None:
    installation, gateway, _ = ready
    accept(installation, gateway, state=SessionState.ENDING)
    assert not join(installation, gateway)


def test_a_device_session_is_not_joined_by_a_user_tunnel(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, report = ready
    come_up(installation, gateway, report)
    assert not join(installation, gateway, replace(REPORT, spis="c_d"))


def test_a_rekey_gives_another_number_and_the_end_finds_it(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, report = ready
    come_up(installation, gateway, report)
    renewed = replace(report, unique_id=9, spis="c_d")
    with installation.store.write(installation.now) as tx:
        follow_rekey(tx, gateway, report, renewed)
        close_sessions(tx, gateway, [report])  # the old one's end means nothing any more
    [session] = list_rows(installation, "sessions")
    assert (session.unique_id, session.spis, session.state) == (9, "c_d", "up")
    with installation.store.write(installation.now) as tx:
        close_sessions(tx, gateway, [renewed])
    [session] = list_rows(installation, "sessions")
    assert (session.state, session.end_reason) == ("ended", "the tunnel was closed")


def test_a_session_whose_tunnel_never_came_says_so(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, _ = ready
    accept(installation, gateway)
    with installation.store.write(installation.now) as tx:
        close_sessions(tx, gateway, [REPORT])
    [session] = list_rows(installation, "sessions")
    assert (session.state, session.end_reason) == ("ended", "the tunnel never came up")


@pytest.mark.parametrize(("denied", "reason"), [(True, "device_denied"), (False, "device_refused_at_gate")])
def test_where_the_gate_said_no_our_own_reason_is_told_if_there_is_one(
    ready: tuple[Installation, Gateway, TunnelReport], denied: bool, reason: str
) -> None:
    installation, gateway, report = ready
    if denied:
        installation.do(deny, SubjectKind.DEVICE, LAPTOP, reason="stolen")
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        record_device_refusal(
            tx, installation.decider, gateway, report, Reason.DEVICE_REFUSED_AT_GATE, "the gate said no"
        )
    assert [row.reason for row in list_rows(installation, "attempts")] == [reason]


def test_a_tunnel_nobody_granted_is_on_record(ready: tuple[Installation, Gateway, TunnelReport]) -> None:
    installation, gateway, report = ready
    with installation.store.write(installation.now) as tx:
        record_unrecognised(tx, gateway, report, TunnelKind.USER)
    [row] = list_rows(installation, "attempts")
    assert (row.kind, row.reason, row.claimed_identity) == ("user tunnel", "tunnel_not_recognised", "CN=laptop1")


def test_what_a_gateway_counted_before_its_tunnel_was_known_is_joined_to_it(
    ready: tuple[Installation, Gateway, TunnelReport],
) -> None:
    installation, gateway, report = ready
    for number, address in ((7, "10.30.0.1"), (8, "10.30.0.1"), (7, "10.30.0.2")):
        counted = AccountingReport(
            gateway, f"{number} {address}", installation.now, unique_id=number, virtual_addresses=address
        )
        with installation.store.write(installation.now) as tx:
            account(tx, counted)
    come_up(installation, gateway, report)
    [session] = list_rows(installation, "sessions")
    joined = {row.acct_session_id: row.session_id for row in list_rows(installation, "accounting")}
    assert joined == {"7 10.30.0.1": session.id, "8 10.30.0.1": None, "7 10.30.0.2": None}
