"""Ending a session denies nobody: its tunnel is cut once, for a reason of its own, and who is cut may come back."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.allow import allow
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_session import ENDED_HERE, EndedSessions, end_session, end_sessions_of
from evertunnel.actions.follow_tunnel import TunnelReport, close_sessions, follow_rekey, join_user_session
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.gateways.effect_worker import EffectWorker
from evertunnel.model import Gateway, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, sessions, tables
from evertunnel.storage.store import Store, read_heads
from evertunnel.storage.tables import AnyRow
from tests.installation import ADMIN, ALICE, LAPTOP, Installation
from tests.unit.gateways.tunnels import Tunnels, make_tunnel

SESSION = "s7"


@pytest.fixture
def installation(either_installation: Installation) -> Installation:
    return either_installation


class Scene:
    """Alice on her laptop with tunnel 7 up; her session is s7."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.gateway = Gateway(installation.add_gateway(), "gw1", "127.0.0.1", enabled=True)
        self.user_id, self.device_id = installation.add_user(), installation.add_device()
        self.open(7)

    def open(self, number: int, *, kind: TunnelKind = TunnelKind.USER, up: bool = True, **owner: str | None) -> str:
        owner = {"user_id": self.user_id, "device_id": self.device_id} | owner
        made = Session(
            f"s{number}", kind, SessionState.UP if up else SessionState.PENDING, self.gateway.id, number,
            self.installation.now, spis=report(number).spis if up else "", **owner,  # type: ignore[arg-type]
        )  # fmt: skip
        with self.installation.store.write(self.installation.now) as tx:
            sessions.insert_sessions(tx, [made])
        return made.id

    def end(self, session_id: str = SESSION) -> EndedSessions:
        ended: EndedSessions = self.installation.do(end_session, session_id)
        return ended

    def find(self, session_id: str = SESSION) -> AnyRow:
        with self.installation.store.read() as connection:
            row = sessions.find_session(connection, session_id)
        assert row is not None
        return row

    def state(self, session_id: str = SESSION) -> tuple[str, str]:
        row = self.find(session_id)
        return row.state, row.end_reason

    def cuts(self, ended: EndedSessions) -> list[AnyRow]:
        with self.installation.store.read() as connection:
            return effect_queue.list_cuts(connection, ended.effect_ids)

    def recorded(self) -> list[AnyRow]:
        with self.installation.store.read() as connection:
            return list(connection.execute(select(tables.audit).where(tables.audit.c.name == "session:end")))

    def work(self, gateway: Tunnels) -> bool:
        """What the gateway's process does."""
        return EffectWorker(
            self.installation.store, self.gateway.id, gateway, self.installation.clock
        ).perform_pending()

    def close(self, number: int = 7) -> None:
        """The gateway reports that a tunnel is gone."""
        with self.installation.store.write(self.installation.now) as tx:
            close_sessions(tx, self.gateway, [report(number)])


def report(number: int) -> TunnelReport:
    return TunnelReport(number, f"{number:016x}:{number:016x}", "192.0.2.7", ALICE, "10.31.0.1")


@pytest.fixture
def scene(installation: Installation) -> Scene:
    return Scene(installation)


def verify_unchanged(scene: Scene, error: type[Exception], match: str, action: Any, *arguments: Any) -> None:
    with scene.installation.store.read() as connection:
        before = read_heads(connection), connection.execute(select(tables.effects)).all()
    with pytest.raises(error, match=match):
        scene.installation.do(action, *arguments)
    with scene.installation.store.read() as connection:
        assert (read_heads(connection), connection.execute(select(tables.effects)).all()) == before


@pytest.mark.parametrize("session_id", ["", "s", "S7", "s7' or '1'='1", "%", "\x00"])
def test_what_is_no_session_is_said_and_nothing_changes(scene: Scene, session_id: str) -> None:
    verify_unchanged(scene, NotFoundError, "there is no session", end_session, session_id)
    assert scene.state() == ("up", "")


def test_one_that_ended_by_itself_is_told_with_why(scene: Scene) -> None:
    scene.close()
    verify_unchanged(
        scene, AlreadyExistsError, r"session s7 ended already, at 2026-05-04 12:00:00 UTC: the tunnel was closed",
        end_session, SESSION,
    )  # fmt: skip


def test_one_that_is_ending_is_told_with_why_and_cut_once(scene: Scene) -> None:
    scene.end()
    verify_unchanged(scene, AlreadyExistsError, f"session s7 is ending already: {ENDED_HERE}", end_session, SESSION)
    assert len(scene.recorded()) == 1


def test_one_that_a_denial_ends_keeps_the_denials_reason(scene: Scene) -> None:
    scene.installation.do(deny, SubjectKind.USER, ALICE, reason="left")
    verify_unchanged(scene, AlreadyExistsError, "is ending already: denied: left", end_session, SESSION)


@pytest.mark.parametrize(
    ("kind", "name", "error", "match"),
    [
        (SubjectKind.USER, "nobody@corp.example", NotFoundError, "nobody@corp.example"),
        (SubjectKind.DEVICE, "nowhere", NotFoundError, "nowhere"),
        (SubjectKind.USER, "bob@corp.example", NotFoundError, "bob@corp.example has no live session"),
        (SubjectKind.GROUP, "staff", InvalidInputError, "a group has no sessions"),
    ],
)
def test_who_has_none_is_said_and_nothing_changes(
    scene: Scene, kind: SubjectKind, name: str, error: type[Exception], match: str
) -> None:
    scene.installation.add_user("bob@corp.example")
    scene.installation.add_group("staff")
    verify_unchanged(scene, error, match, end_sessions_of, kind, name)


def test_who_has_none_but_ending_ones_is_said(scene: Scene) -> None:
    scene.end()
    verify_unchanged(
        scene, AlreadyExistsError, rf"all live sessions of {ALICE} \(1\) are ending already",
        end_sessions_of, SubjectKind.USER, ALICE,
    )  # fmt: skip


def test_its_tunnel_is_cut_confirmed_and_recorded_and_others_stay(scene: Scene) -> None:
    scene.open(8)
    gateway = Tunnels(make_tunnel(7, "anonymous@corp.example"), make_tunnel(8, "anonymous@corp.example"))
    ended = scene.end()
    assert scene.state() == ("ending", ENDED_HERE)
    assert [(row.subject_id, row.state, row.user_name, row.gateway_name) for row in scene.cuts(ended)] == [
        (SESSION, "pending", ALICE, "gw1")
    ]
    assert scene.work(gateway)
    assert list(gateway.tunnels) == [8]
    assert (scene.state(), scene.state("s8")) == (("ended", ENDED_HERE), ("up", ""))
    assert [row.state for row in scene.cuts(ended)] == ["confirmed"]
    (row,) = scene.recorded()
    assert (row.actor, row.subject, row.subject_id) == (ADMIN, ALICE, SESSION)
    assert json.loads(row.details) == {
        "tunnel": "user", "user": ALICE, "device": LAPTOP, "gateway_id": scene.gateway.id
    }  # fmt: skip


def test_gateways_are_told_at_once_and_nobody_is_denied(scene: Scene) -> None:
    installation = scene.installation
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    certificate_id = installation.issue_user(scene.user_id)
    with installation.store.read() as connection:
        before, _ = read_heads(connection)
    scene.end()
    with installation.store.read() as connection:
        assert read_heads(connection)[0] == before + 1
    assert installation.decide(certificate_id).granted


def test_all_of_a_user_end_those_of_others_stay_and_what_ended_or_is_ending_is_left_alone(scene: Scene) -> None:
    bob = scene.installation.add_user("bob@corp.example")
    for number in (8, 9, 10):
        scene.open(number)
    scene.open(11, user_id=bob)
    scene.open(12, kind=TunnelKind.DEVICE, user_id=None)
    scene.close(8)
    scene.end("s9")
    ended = scene.installation.do(end_sessions_of, SubjectKind.USER, ALICE.upper())
    assert sorted(row.subject_id for row in scene.cuts(ended)) == ["s10", SESSION]
    assert ended.ending_already == 1
    assert [scene.state(f"s{number}")[0] for number in range(7, 13)] == [
        "ending", "ended", "ending", "ending", "up", "up"
    ]  # fmt: skip


def test_all_of_a_device_end_its_users_tunnels_too(scene: Scene) -> None:
    scene.open(8, kind=TunnelKind.DEVICE, user_id=None)
    scene.open(9, device_id=scene.installation.add_device("laptop2.corp.example"))
    ended = scene.installation.do(end_sessions_of, SubjectKind.DEVICE, LAPTOP)
    assert sorted((row.subject_id, row.tunnel, row.device_name) for row in scene.cuts(ended)) == [
        (SESSION, "user", LAPTOP), ("s8", "device", LAPTOP)
    ]  # fmt: skip
    assert scene.state("s9") == ("up", "")
    assert {row.subject for row in scene.recorded()} == {ALICE, LAPTOP}


def test_one_that_ends_by_itself_meanwhile_is_confirmed_and_keeps_what_was_meant(scene: Scene) -> None:
    ended = scene.end()
    scene.close()
    assert scene.work(Tunnels())
    assert scene.state() == ("ended", ENDED_HERE)
    assert [row.state for row in scene.cuts(ended)] == ["confirmed"]


def test_one_that_is_rekeyed_meanwhile_is_cut_all_the_same(scene: Scene) -> None:
    ended = scene.end()
    gateway = Tunnels(make_tunnel(8, "anonymous@corp.example"))  # it was 7; nobody told us yet
    assert not scene.work(gateway)
    assert [row.state for row in scene.cuts(ended)] == ["pending"]
    with scene.installation.store.write(scene.installation.now) as tx:
        follow_rekey(tx, scene.gateway, report(7), report(8))
    assert scene.work(gateway)
    assert not gateway.tunnels
    assert [row.state for row in scene.cuts(ended)] == ["confirmed"]


def test_a_tunnel_that_comes_up_only_after_its_session_was_ended_is_not_joined(scene: Scene) -> None:
    scene.open(8, up=False)
    scene.end("s8")
    with scene.installation.store.write(scene.installation.now) as tx:
        assert join_user_session(tx, scene.gateway, report(8)) is None
    gateway = Tunnels(make_tunnel(8, "anonymous@corp.example"))
    assert scene.work(gateway)
    assert not gateway.tunnels


def test_lifting_a_denial_does_not_give_back_what_was_ended(scene: Scene) -> None:
    ended = scene.end()
    scene.installation.do(deny, SubjectKind.USER, ALICE, reason="left")
    scene.installation.do(allow, SubjectKind.USER, ALICE)
    assert scene.find().state == "ending"
    assert [row.state for row in scene.cuts(ended)] == ["pending"]


def test_of_two_nodes_that_end_it_at_once_one_does(scene: Scene) -> None:
    nodes = [Store(scene.installation.store.url) for _ in range(2)]
    begin = threading.Barrier(len(nodes))
    outcomes: list[object] = []

    def end(node: Store) -> None:
        begin.wait()
        try:
            outcomes.append(end_session(node, SESSION, actor=ADMIN, now=scene.installation.now))
        except AlreadyExistsError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=end, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for node in nodes:
        node.close()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EndedSessions", "str"]
    assert len(scene.recorded()) == 1
    with scene.installation.store.read() as connection:
        assert len(effect_queue.list_pending(connection, scene.gateway.id)) == 1
