"""Two recorders and a busy administrator: every change races with logins, and no grant stands behind what forbids it.

`EVERTUNNEL_RACES` says how many logins have to race with changes: 1,000 unless told otherwise, 20,000 in
`make soak`.
"""

import itertools
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from evertunnel.actions.allow import allow
from evertunnel.actions.authenticate import LoginFacts, record_login
from evertunnel.actions.change_network_policies import add_network_policy, switch_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.audit import Audit
from evertunnel.clock import now
from evertunnel.model import Outcome, SessionState, SubjectKind
from evertunnel.storage import tables
from evertunnel.storage.sessions import LIVE, end_sessions, list_live_of_gateway
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ADMIN, ALICE, LAPTOP, Installation

RACES = int(os.environ.get("EVERTUNNEL_RACES", "1000"))
WORKERS = 2
CERTIFICATES = 4
POLICY = "everything"
# A recorder waits for packets; writers that never wait would keep the administrator from the lock of SQLite.
PAUSE_SECONDS = 0.004

pytestmark = pytest.mark.timeout(60 + RACES)


@dataclass
class Scene:
    """Alice and her laptop with several certificates, one of which the test never revokes."""

    installation: Installation
    logins: list[LoginFacts]

    @property
    def store(self) -> Store:
        return self.installation.store


@pytest.fixture
def scene(installation: Installation) -> Scene:
    installation.clock.moment = now()  # logins take place in real time
    installation.do(add_network_policy, POLICY, {"permission": "grant"})
    user_id, device_id, gateway_id = installation.add_user(), installation.add_device(), installation.add_gateway()
    issued = [installation.issue_user(user_id, device_id=device_id) for _ in range(CERTIFICATES)]
    certificates = [installation.find_certificate(one) for one in issued]
    gateway = installation.decider.find_gateway(gateway_id)
    assert gateway is not None
    logins = [LoginFacts(now(), gateway, 1, ALICE, "192.0.2.7", one, (), 1.0) for one in certificates]
    return Scene(installation, logins)


def record_until_told(url: str, logins: list[LoginFacts], seed: int, recorded: object, enough: object) -> None:
    """What the recorder of a RADIUS worker does, in a process of its own."""
    store, decider, chance = Store(url), Decider(), random.Random(seed)
    told = enough.is_set  # type: ignore[attr-defined]
    while not told():
        with store.write(now()) as tx:
            decider.refresh(tx.connection)
            record_login(tx, decider, chance.choice(logins))
        recorded.release()  # type: ignore[attr-defined]
        time.sleep(chance.uniform(0, PAUSE_SECONDS))
    store.close()


def end_sessions_by_themselves(store: Store) -> None:
    """Their clients went away; or each denial would count all there ever were."""
    live = select(tables.sessions.c.id).where(tables.sessions.c.state.in_(LIVE))
    with store.write(now()) as tx:
        end_sessions(tx, dict.fromkeys(tx.connection.execute(live).scalars(), "the tunnel was closed"))


def administer(scene: Scene, enough: Callable[[], bool]) -> int:
    """Deny, allow, switch the policy and, now and then, revoke a certificate. Returns how many changes there were."""
    chance = random.Random(2)
    standing: dict[SubjectKind | None, bool] = {SubjectKind.USER: False, SubjectKind.DEVICE: False, None: False}
    names = {SubjectKind.USER: ALICE, SubjectKind.DEVICE: LAPTOP}
    to_revoke = [login.certificate.id for login in scene.logins[1:] if login.certificate]
    for turn in itertools.count(1):
        if enough():
            return turn - 1
        if turn % 50 == 0:
            end_sessions_by_themselves(scene.store)
        if turn % 100 == 0 and to_revoke:
            revoke_certificate(scene.store, to_revoke.pop(), reason="superseded", actor=ADMIN, now=now())
            continue
        # What stands is lifted more often than not, so that grants are to be seen between the refusals.
        kind = chance.choice([key for key, stands in standing.items() if stands] or list(standing))
        standing[kind] = stands = not standing[kind]
        if kind is None:
            switch_network_policy(scene.store, POLICY, enabled=not stands, actor=ADMIN, now=now())
        elif stands:
            deny(scene.store, kind, names[kind], reason="test", actor=ADMIN, now=now())
        else:
            allow(scene.store, kind, names[kind], actor=ADMIN, now=now())
        time.sleep(chance.uniform(0, 2 * PAUSE_SECONDS))
    raise AssertionError("counting has no end")


@dataclass
class Account:
    """What must be true after every commit, told from the record alone."""

    denied: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    granting: bool = True
    seen: Counter[str] = field(default_factory=Counter)
    sessions: dict[str, str] = field(default_factory=dict)

    def take(self, event: tuple[int, str, str, str]) -> None:
        """The next event in the order of commits: batch, word, what it is about, and details."""
        _, word, about, more = event
        match word:
            case Outcome.GRANTED | Outcome.REFUSED:
                forbidden = bool(self.denied) or about in self.revoked or not self.granting
                assert (word == Outcome.REFUSED) is forbidden, event
                self.seen[word] += 1
                if word == Outcome.GRANTED:
                    self.sessions[more] = about
            case Audit.USER_DENY | Audit.DEVICE_DENY:
                self.denied.add(about)
            case Audit.USER_ALLOW | Audit.DEVICE_ALLOW:
                self.denied.remove(about)
            case Audit.CERTIFICATE_REVOKE:
                self.revoked.add(about)
            case Audit.NETWORK_POLICY_CHANGE:
                self.granting = '"enabled":true' in more
        self.seen["changes"] += word not in (Outcome.GRANTED, Outcome.REFUSED)


def list_in_order(store: Store) -> Iterator[tuple[int, str, str, str]]:
    """Changes and attempts in the order of their commits, which the hash chain vouches for."""
    audit, attempts = tables.audit.c, tables.attempts.c
    told = [word.value for word in (*DENIALS, Audit.CERTIFICATE_REVOKE, Audit.NETWORK_POLICY_CHANGE)]
    with store.read() as connection:
        assert verify_chain(connection).problems == []
        changes = connection.execute(
            select(audit.batch, audit.name, audit.subject_id, audit.details).where(audit.name.in_(told))
        ).all()
        tries = connection.execute(
            select(attempts.batch, attempts.outcome, attempts.certificate_id, attempts.session_id)
        ).all()
    yield from sorted((row[0], row[1], row[2] or "", row[3] or "") for row in (*changes, *tries))


DENIALS = (Audit.USER_DENY, Audit.USER_ALLOW, Audit.DEVICE_DENY, Audit.DEVICE_ALLOW)


def list_open_sessions(store: Store) -> set[str]:
    """Sessions that nobody is ending."""
    open_states = (SessionState.PENDING.value, SessionState.UP.value)
    with store.read() as connection:
        return set(
            connection.execute(select(tables.sessions.c.id).where(tables.sessions.c.state.in_(open_states))).scalars()
        )


def test_nothing_is_granted_behind_what_forbids_it_and_no_session_stays(scene: Scene) -> None:
    spawn = multiprocessing.get_context("spawn")
    enough, recorded = spawn.Event(), spawn.Semaphore(0)
    workers = [
        spawn.Process(target=record_until_told, args=(scene.store.url, scene.logins, seed, recorded, enough))
        for seed in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for _ in range(20 * WORKERS):  # each takes a moment to import everything
        assert recorded.acquire(timeout=60)
    changes = administer(scene, lambda: recorded.get_value() >= RACES)
    enough.set()
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    account = Account()
    for event in list_in_order(scene.store):
        account.take(event)
    assert account.seen["changes"] == changes
    assert account.seen[Outcome.GRANTED] > RACES // 10 and account.seen[Outcome.REFUSED] > RACES // 10, account.seen
    with scene.store.write(now()) as tx:  # what the gateway's process does after every change
        scene.installation.decider.refresh(tx.connection, epoch=tx.epoch)
        live = list_live_of_gateway(tx.connection, scene.logins[0].gateway.id)
        end_unentitled_sessions(tx, scene.installation.decider, live)
    # What an allowing gave back is open again, unless its certificate was revoked.
    open_certificates = {account.sessions[session] for session in list_open_sessions(scene.store)}
    assert not open_certificates & account.revoked
    assert not (open_certificates and (account.denied or not account.granting))
    if not account.denied:
        deny(scene.store, SubjectKind.USER, ALICE, reason="the end", actor=ADMIN, now=now())
    assert list_open_sessions(scene.store) == set(), "a denial ends them in its own transaction"
    print(f"{changes} changes against {WORKERS} recorders: {dict(account.seen)}")
