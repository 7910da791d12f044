"""Live sessions that would not be granted now: ending, with a cut queued; all others are left alone."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_network_policies import add_network_policy, switch_network_policy
from evertunnel.actions.change_user import change_user
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.import_access_policies import import_access_policies, switch_access_policy
from evertunnel.actions.report_device import report_device
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.model import CertificateKind, Session, SessionState, TunnelKind
from evertunnel.storage import effect_queue, sessions, tables
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document


@pytest.fixture
def live(installation: Installation) -> tuple[Installation, str, dict[str, str]]:
    """A compliant laptop with both tunnels up; the certificates behind them by tunnel."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, make_document("compliantDevice", name="compliance"))
    installation.do(import_access_policies, make_document("block", name="block", state="disabled"))
    gateway_id = installation.add_gateway()
    user_id, device_id = installation.add_user(), installation.add_device()
    installation.do(report_device, LAPTOP, "compliant", value=True, source="administrator")
    certificates = {
        "user": installation.issue_user(user_id, device_id=device_id),
        "device": installation.issue_device(device_id),
    }
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(
            tx,
            [
                Session("user", TunnelKind.USER, SessionState.UP, gateway_id, 1, installation.now, user_id=user_id,
                        device_id=device_id, certificate_id=certificates["user"]),
                Session("device", TunnelKind.DEVICE, SessionState.UP, gateway_id, 2, installation.now,
                        device_id=device_id, certificate_id=certificates["device"]),
            ],
        )  # fmt: skip
    return installation, gateway_id, certificates


def enforce(installation: Installation, gateway_id: str) -> list[str]:
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        rows = sessions.list_live_of_gateway(tx.connection, gateway_id)
        return sorted(end_unentitled_sessions(tx, installation.decider, rows))


CHANGES: dict[str, tuple[Callable[[Installation, dict[str, str]], Any], list[str]]] = {
    "nothing": (lambda _installation, _certificates: None, []),
    "compliance lost": (
        lambda installation, _: installation.do(report_device, LAPTOP, "compliant", value=False, source="scanner"),
        ["user"],
    ),
    "user disabled": (lambda installation, _: installation.do(change_user, ALICE, enabled=False), ["user"]),
    "device disabled": (
        lambda installation, _: installation.do(change_device, LAPTOP, enabled=False), ["device", "user"],
    ),
    "user certificate revoked": (
        lambda installation, made: installation.do(revoke_certificate, made["user"], reason="superseded"), ["user"],
    ),
    "device certificate revoked": (
        lambda installation, made: installation.do(revoke_certificate, made["device"], reason="superseded"),
        ["device"],
    ),
    "network policy off": (
        lambda installation, _: installation.do(switch_network_policy, "everything", enabled=False),
        ["device", "user"],
    ),
    "block switched on": (lambda installation, _: installation.do(switch_access_policy, "block", "on"), ["user"]),
    "block only reported": (
        lambda installation, _: installation.do(switch_access_policy, "block", "report-only"), [],
    ),
    "certificates ended": (lambda installation, _: installation.clock.forward(days=1000), []),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_sessions_that_lost_what_entitled_them_end(live: tuple[Installation, str, dict[str, str]], what: str) -> None:
    installation, gateway_id, certificates = live
    change, ended = CHANGES[what]
    change(installation, certificates)
    assert enforce(installation, gateway_id) == ended
    with installation.store.read() as connection:
        states = {row.id: row.state for row in connection.execute(select(tables.sessions))}
        cuts = {effect.subject_id for effect in effect_queue.list_pending(connection, gateway_id)}
    assert states == {name: "ending" if name in ended else "up" for name in ("user", "device")}
    assert cuts == set(ended)


def test_a_session_that_is_ending_is_not_cut_twice(live: tuple[Installation, str, dict[str, str]]) -> None:
    installation, gateway_id, _ = live
    installation.do(change_user, ALICE, enabled=False)
    assert enforce(installation, gateway_id) == ["user"]
    assert enforce(installation, gateway_id) == []


def test_the_end_says_why(live: tuple[Installation, str, dict[str, str]]) -> None:
    installation, gateway_id, _ = live
    installation.do(report_device, LAPTOP, "compliant", value=False, source="scanner")
    enforce(installation, gateway_id)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.sessions).where(tables.sessions.c.id == "user")).one()
        [effect] = effect_queue.list_pending(connection, gateway_id)
    assert row.end_reason == "device_not_compliant"
    assert "scanner said false" in effect.cause


def test_a_session_without_certificate_ends(live: tuple[Installation, str, dict[str, str]]) -> None:
    installation, gateway_id, _ = live
    with installation.store.write(installation.now) as tx:
        sessions.update_session(tx, "device", certificate_id=None)
    assert enforce(installation, gateway_id) == ["device"]


def test_a_device_taken_away_ends_the_user_tunnel_of_its_short_lived_certificate(
    live: tuple[Installation, str, dict[str, str]],
) -> None:
    installation, gateway_id, _ = live
    installation.do(assign_device, LAPTOP, ALICE)
    with installation.store.read() as connection:
        user = sessions.list_live_of_gateway(connection, gateway_id)
        owners = {"user_id": next(row.user_id for row in user if row.user_id), "device_id": user[0].device_id}
    issued = installation.issue(CertificateKind.SHORT_LIVED, ALICE, **owners)
    with installation.store.write(installation.now) as tx:
        session = Session("short", TunnelKind.USER, SessionState.UP, gateway_id, 3, installation.now,
                          certificate_id=issued.id, **owners)  # fmt: skip
        sessions.insert_sessions(tx, [session])
    assert enforce(installation, gateway_id) == []
    installation.do(assign_device, LAPTOP, ALICE, assigned=False)
    assert enforce(installation, gateway_id) == ["short"]
    with installation.store.read() as connection:
        (effect,) = effect_queue.list_pending(connection, gateway_id)
    assert (effect.subject_id, effect.cause) == ("short", f"{LAPTOP} is not assigned to {ALICE} any more")
