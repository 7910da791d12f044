"""A fact runs out and the live tunnel that rested on it is cut within about a second, as it happens: real time."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from evertunnel import clock
from evertunnel.actions.change_compliance_policies import import_compliance_policies
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.report_device import report_device
from evertunnel.deadlines import keep_deadlines
from evertunnel.model import Session, SessionState, TunnelKind
from evertunnel.storage import sessions, tables
from evertunnel.storage.store import Watch
from tests.installation import ADMIN, LAPTOP, Installation
from tests.unit.access.samples import make_document
from tests.unit.actions.posture import GOOD, POLICY, report_by_import

# The look itself, and a machine that does other things too.
_SECONDS = 2.0


@pytest.fixture
def live(installation: Installation) -> Iterator[Installation]:
    """Alice's tunnel is up, which a compliant device is demanded for; deadlines are kept; the clock is the real one."""
    installation.clock.moment = clock.now()
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(import_access_policies, make_document("compliantDevice"))
    gateway_id = installation.add_gateway()
    user_id, device_id = installation.add_user(), installation.add_device()
    certificate_id = installation.issue_user(user_id, device_id=device_id)
    with installation.store.write(installation.now) as tx:
        session = Session(
            "s1", TunnelKind.USER, SessionState.UP, gateway_id, 1, installation.now, user_id=user_id,
            device_id=device_id, certificate_id=certificate_id,
        )  # fmt: skip
        sessions.insert_sessions(tx, [session])
    stopped = threading.Event()
    thread = threading.Thread(target=keep_deadlines, args=(installation.store, clock.now, stopped))
    thread.start()
    yield installation
    stopped.set()
    thread.join()


def wait_until_cut(installation: Installation, *, at_most: float) -> None:
    """Follow changes as a gateway's keeper does, until the session is marked for its end."""
    decider, watch = Decider(), Watch(installation.store)
    with installation.store.read() as connection:
        decider.refresh(connection)
    watch.changed()
    began = time.monotonic()
    try:
        while time.monotonic() - began < at_most:
            if watch.changed():
                with installation.store.write(clock.now()) as tx:
                    changes = decider.refresh(tx.connection)
                    rows = tx.connection.execute(tables.sessions.select()).all()
                    touched = [row for row in rows if changes.everybody or changes.ids & {row.user_id, row.device_id}]
                    if end_unentitled_sessions(tx, decider, touched):
                        return
            time.sleep(0.02)
    finally:
        watch.close()
    pytest.fail(f"not cut within {at_most} seconds")


def find_cut(installation: Installation) -> Any:
    with installation.store.read() as connection:
        return connection.execute(tables.effects.select()).one()


def test_a_fact_with_a_life_cuts_when_it_is_over(live: Installation) -> None:
    life = timedelta(seconds=1.5)
    reported_at = clock.now()
    report_device(
        live.store, LAPTOP, "compliant", value=True, source="administrator", life=life, actor=ADMIN, now=reported_at
    )
    wait_until_cut(live, at_most=life.total_seconds() + _SECONDS)
    assert clock.now() - reported_at >= life, "not before its time"
    assert find_cut(live).cause.endswith("what was reported of laptop1.corp.example is too old)")


def test_posture_with_a_life_takes_the_verdict_and_the_tunnel_with_it(live: Installation) -> None:
    live.do(import_compliance_policies, POLICY)
    live.clock.moment = clock.now()
    report_by_import(live, life="2s", **GOOD)
    wait_until_cut(live, at_most=2 + _SECONDS)
    assert clock.now() - live.clock.moment >= timedelta(seconds=2), "not before its time"
    assert find_cut(live).subject_id == "s1"


def test_what_ran_out_while_nobody_looked_is_looked_at_first(installation: Installation) -> None:
    installation.add_device()
    installation.clock.moment = clock.now() - timedelta(hours=2)
    installation.do(import_compliance_policies, POLICY)
    report_by_import(installation, life="1h", **GOOD)
    stopped = threading.Event()
    thread = threading.Thread(target=keep_deadlines, args=(installation.store, clock.now, stopped))
    watch = Watch(installation.store)
    watch.changed()
    thread.start()
    try:
        deadline = time.monotonic() + _SECONDS
        while not watch.changed():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        stopped.set()
        thread.join()
        watch.close()
