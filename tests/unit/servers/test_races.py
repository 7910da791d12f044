"""Granting and taking away at the same time: in the order of their commits, no grant stands behind a denial."""

import itertools
import random
import threading
import time
from functools import partial

from sqlalchemy import select

from evertunnel import clock
from evertunnel.actions.allow import allow
from evertunnel.actions.deny import deny
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.audit import Audit
from evertunnel.model import Outcome, Reason, SessionState, SubjectKind
from evertunnel.servers.logins import Verdict
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.storage.verify_chain import verify_chain
from tests.peers import radius
from tests.unit.servers.conftest import Scene
from tests.unit.servers.workers import open_workers

ALICE = "alice@corp.example"
_LONGEST_ACTION_SECONDS = 0.012


def prepare(scene: Scene, count: int) -> list[Verdict]:
    """Logins decided already, with a yes, and not recorded yet."""
    verdicts = [scene.receive_verdict(scene.gateway.build_last_request(scene.new_client())) for _ in range(count)]
    assert all(verdict.accepted is not None for verdict in verdicts)
    return verdicts


def record(scene: Scene, verdict: Verdict) -> int:
    """Let it be recorded and return the code of its reply."""
    (reply,) = scene.commit(verdict)
    return reply[0]


def race(scene: Scene, verdicts: list[Verdict]) -> list[int]:
    """Record each while, at the same moment, an administrator denies alice or allows her again, by turns."""
    store = Store(f"sqlite:///{scene.installation.database}")
    together = threading.Barrier(2, timeout=60)

    def administer() -> None:
        for turn in range(len(verdicts)):
            together.wait()
            if turn % 2 == 0:
                deny(store, SubjectKind.USER, ALICE, reason="left", actor="t", now=clock.now())
            else:
                allow(store, SubjectKind.USER, ALICE, actor="t", now=clock.now())
            together.wait()

    administrator = threading.Thread(target=administer)
    administrator.start()
    chance, codes = random.Random(1), []
    for verdict in verdicts:
        together.wait()
        time.sleep(chance.uniform(0, _LONGEST_ACTION_SECONDS))  # or the same side would win every time
        codes.append(record(scene, verdict))
        together.wait()
    administrator.join()
    store.close()
    return codes


def test_a_grant_and_a_denial_cannot_cross(scene: Scene) -> None:
    codes = race(scene, prepare(scene, 150))
    assert {radius.ACCEPT, radius.REJECT} == set(codes), "both sides won sometimes"
    story = tell_story(scene)
    denied = False
    for _, word in story:
        if word in (Audit.USER_DENY, Audit.USER_ALLOW):
            denied = word == Audit.USER_DENY
        else:
            assert (word == Outcome.GRANTED) is not denied
    assert codes.count(radius.ACCEPT) == [word for _, word in story].count(Outcome.GRANTED)


def test_what_was_granted_before_a_denial_is_on_its_list_to_be_cut(scene: Scene) -> None:
    codes = race(scene, prepare(scene, 101))
    last_denial = max(batch for batch, word in tell_story(scene) if word == Audit.USER_DENY)
    attempts = scene.installation.list_attempts()
    granted = {attempt.session_id: attempt.batch for attempt in attempts if attempt.session_id}
    assert len(granted) == codes.count(radius.ACCEPT)
    for session in scene.installation.list_sessions():
        assert (session.state == SessionState.ENDING) is (granted[session.id] < last_denial)


def test_a_repeated_accept_never_stands_behind_a_denial(scene: Scene) -> None:
    # Each of them was answered with an Accept; its repetition races with the denial.
    verdicts = prepare(scene, 40)
    assert [record(scene, verdict) for verdict in verdicts] == [radius.ACCEPT] * 40
    codes = race(scene, verdicts)
    refused = [attempt for attempt in scene.installation.list_attempts() if attempt.reason == Reason.USER_DENIED]
    assert len(refused) == codes.count(radius.REJECT) > 0
    denied = False
    for _, word in tell_story(scene)[-len(refused) - 40 :]:
        if word in (Audit.USER_DENY, Audit.USER_ALLOW):
            denied = word == Audit.USER_DENY
        else:
            assert (word, denied) == (Outcome.REFUSED, True)


def test_of_many_logins_at_once_a_revocation_lets_only_earlier_ones_in(scene: Scene) -> None:
    verdicts = prepare(scene, 60)
    certificate_id = scene.installation.find_certificate_id(scene.alice)
    begun = threading.Event()

    def revoke() -> None:
        store = Store(f"sqlite:///{scene.installation.database}")
        begun.wait()
        revoke_certificate(store, certificate_id, reason="key compromise", actor="t", now=clock.now())
        store.close()

    administrator = threading.Thread(target=revoke)
    administrator.start()
    codes = []
    for number, verdict in enumerate(verdicts):
        codes.append(record(scene, verdict))
        if number == 10:
            begun.set()
    administrator.join()
    words = [word for _, word in tell_story(scene)]
    revoked_at = words.index(Audit.CERTIFICATE_REVOKE)
    assert revoked_at > 10
    assert words == [Outcome.GRANTED] * revoked_at + [Audit.CERTIFICATE_REVOKE] + [Outcome.REFUSED] * (60 - revoked_at)
    assert codes.count(radius.ACCEPT) == revoked_at


def test_two_workers_and_a_denial_cannot_cross(scene: Scene) -> None:
    with open_workers(scene) as workers:
        verdicts: list[list[Verdict]] = [[], []]
        while min(map(len, verdicts)) < 40:
            last = workers.new_gateway(at=0).build_last_request(scene.new_client())
            worker, verdict = workers.receive(last, at=0)
            assert isinstance(verdict, Verdict)
            verdicts[worker].append(verdict)
        store = Store(f"sqlite:///{scene.installation.database}")
        codes: list[int] = []

        def work(number: int) -> None:
            codes.extend(record(workers.scenes[number], verdict) for verdict in verdicts[number])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for turn in itertools.count():
            change = allow if turn % 2 else partial(deny, reason="left")
            change(store, SubjectKind.USER, ALICE, actor="t", now=clock.now())
            if not any(thread.is_alive() for thread in threads):
                break
        store.close()
    denied = False
    for _, word in tell_story(scene):
        if word in (Audit.USER_DENY, Audit.USER_ALLOW):
            denied = word == Audit.USER_DENY
        else:
            assert (word == Outcome.GRANTED) is not denied
    assert len(codes) == sum(map(len, verdicts))
    assert codes.count(radius.ACCEPT) == [word for _, word in tell_story(scene)].count(Outcome.GRANTED)


def tell_story(scene: Scene) -> list[tuple[int, str]]:
    """Denials, their ends and outcomes in the order of their commits, which the hash chain vouches for."""
    with scene.installation.store.read() as connection:
        assert verify_chain(connection).problems == []
        audit = connection.execute(select(tables.audit.c.batch, tables.audit.c.name)).all()
        attempts = connection.execute(select(tables.attempts.c.batch, tables.attempts.c.outcome)).all()
    told = (Audit.USER_DENY, Audit.USER_ALLOW, Audit.CERTIFICATE_REVOKE)
    return sorted([(batch, name) for batch, name in audit if name in told] + [tuple(row) for row in attempts])
