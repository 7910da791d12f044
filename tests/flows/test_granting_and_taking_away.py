"""Grants and denials from many threads never cross: after a denial's commit nothing is granted."""

import threading
import time
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from evertunnel.actions.allow import allow
from evertunnel.actions.authenticate import LoginFacts, record_login
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.clock import now
from evertunnel.model import Outcome, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ADMIN, ALICE, LAPTOP, Installation

WORKERS = 4
SECONDS = 2.0
# A recorder waits for packets; writers that never wait would keep the administrator from the lock of SQLite.
PAUSE_SECONDS = 0.004
DENIED = [(SubjectKind.USER, ALICE), (SubjectKind.DEVICE, LAPTOP)]


@dataclass(frozen=True)
class Login:
    """Alice on her laptop, for a process of its own."""

    url: str
    facts: LoginFacts


def log_in_again_and_again(store: Store, facts: LoginFacts, seconds: float) -> None:
    """What the recorder of a RADIUS process does."""
    decider = Decider()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with store.write(now()) as tx:
            decider.refresh(tx.connection)
            record_login(tx, decider, facts)
        time.sleep(PAUSE_SECONDS)


def deny_and_allow_again_and_again(store: Store, seconds: float) -> None:
    """What an administrator does, much too often."""
    until = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < until:
        kind, name = DENIED[turn % 2]
        deny(store, kind, name, reason="test", actor=ADMIN, now=now())
        time.sleep(0.02)
        allow(store, kind, name, actor=ADMIN, now=now())
        time.sleep(0.02)
        turn += 1


def list_in_order(store: Store) -> list[str]:
    """Every denial, allowing and login by its word, in the order of their commits."""
    words = ["user:deny", "user:allow", "device:deny", "device:allow"]
    with store.read() as connection:
        audit = connection.execute(
            select(tables.audit.c.batch, tables.audit.c.name).where(tables.audit.c.name.in_(words))
        ).all()
        attempts = connection.execute(select(tables.attempts.c.batch, tables.attempts.c.outcome)).all()
    return [word for _, word in sorted([tuple(row) for row in (*audit, *attempts)])]


def verify(store: Store) -> None:
    """Between a denial and the next allowing there is no grant, elsewhere no refusal, and the chain holds."""
    wanted = Outcome.GRANTED.value
    counted = {Outcome.GRANTED.value: 0, Outcome.REFUSED.value: 0}
    denials = 0
    for word in list_in_order(store):
        if word in counted:
            assert word == wanted
            counted[word] += 1
        elif word.endswith(":deny"):
            denials += 1
            wanted = Outcome.REFUSED.value
        else:
            wanted = Outcome.GRANTED.value
    assert denials >= 4
    assert all(number >= 10 for number in counted.values()), counted
    with store.read() as connection:
        assert verify_chain(connection).problems == []


@pytest.fixture
def login(installation: Installation) -> Login:
    """Everything is granted."""
    installation.clock.moment = now()  # logins take place in real time
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    user_id, device_id, gateway_id = installation.add_user(), installation.add_device(), installation.add_gateway()
    certificate = installation.find_certificate(installation.issue_user(user_id, device_id=device_id))
    gateway = installation.decider.find_gateway(gateway_id)
    assert gateway is not None
    facts = LoginFacts(now(), gateway, 1, ALICE, "192.0.2.7", certificate, (), 1.0)
    return Login(installation.store.url, facts)


def test_between_threads(installation: Installation, login: Login) -> None:
    arguments = (installation.store, login.facts, SECONDS)
    threads = [threading.Thread(target=log_in_again_and_again, args=arguments) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    deny_and_allow_again_and_again(installation.store, SECONDS)
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    verify(installation.store)
