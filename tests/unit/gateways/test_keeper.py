"""The thread that keeps one gateway: nothing that comes from outside may keep it from its work, or end it."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.change_user import change_user
from evertunnel.actions.follow_tunnel import open_device_session
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.keeper import GatewayKeeper, _report, build_local
from evertunnel.gateways.strongswan import DEVICE_CONNECTION, GatewayModel
from evertunnel.gateways.tunnels import read_tunnel
from evertunnel.model import Gateway, Session, SessionState, TunnelKind
from evertunnel.storage import effect_queue, sessions, tables
from evertunnel.storage.store import Store, Watch
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.gateways.tunnels import Tunnels, make_tunnel

LINE = ("log", {"group": "IKE", "ikesa-uniqueid": "1", "msg": "received packet"})


def fail_to_load() -> tuple[GatewayModel, str]:
    raise InvalidInputError("the signer refused")


def fail_to_read() -> None:
    raise UnavailableError("too many connections")


@pytest.fixture
def gateway(installation: Installation, tmp_path: Path) -> Iterator[GatewayKeeper]:
    """One whose strongSwan is not there."""
    gateway = GatewayKeeper(
        installation.store,
        Gateway("g1", "gw1", "127.0.0.1", enabled=True),
        build_local(str(tmp_path / "nothing.vici"), fail_to_load),
        clock=installation.clock,
    )
    yield gateway
    if gateway._threads[1].is_alive():
        gateway.stop()


def test_a_flood_of_events_lets_other_work_be_done(gateway: GatewayKeeper) -> None:
    for _ in range(1000):
        gateway._events.put(LINE)
    rounds = 0
    while not gateway._events.empty():
        gateway._handle_events()
        rounds += 1
    assert rounds == 5


@pytest.mark.parametrize("event", [None, ("ike-rekey", {"evertunnel-user": {}})], ids=["loading", "an odd event"])
def test_its_thread_goes_on_after_whatever_fails(
    gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch, event: tuple[str, dict[str, dict[str, str]]] | None
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    gateway._events.put(event)
    gateway._threads[1].start()
    time.sleep(0.3)
    assert gateway._threads[1].is_alive()


def test_its_thread_waits_for_a_database_that_cannot_be_read(gateway: GatewayKeeper, tmp_path: Path) -> None:
    gateway._store = Store(f"sqlite:///{tmp_path}/empty.db")
    gateway._threads[1].start()
    time.sleep(0.3)
    assert gateway._threads[1].is_alive()


def test_what_cannot_be_loaded_keeps_no_denial_waiting(
    installation: Installation, gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    monkeypatch.setattr(gateway._effects, "perform_pending", lambda: done.set() or True)
    gateway._events.put(None)
    gateway._threads[1].start()
    assert done.wait(2)


def test_a_device_tunnel_that_was_seen_before_its_report_is_recorded_once(
    installation: Installation, gateway: GatewayKeeper
) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    gateway_id = installation.add_gateway()
    certificate_id = installation.issue_device(installation.add_device())
    installation.refresh()
    found = installation.decider.find_gateway(gateway_id)
    assert found is not None
    gateway._gateway = found
    section = {
        "uniqueid": "7", "state": "ESTABLISHED", "initiator-spi": "a", "responder-spi": "b",
        "remote-id": f"CN={LAPTOP}, serialNumber={certificate_id}",
    }  # fmt: skip
    report = _report(read_tunnel(DEVICE_CONNECTION, section))
    with installation.store.write(installation.now) as tx:
        assert open_device_session(tx, installation.decider, found, report).granted
    gateway._handle(0.0, "ike-updown", {"up": "yes", DEVICE_CONNECTION: section})
    with installation.store.read() as connection:
        assert len(connection.execute(select(tables.sessions)).all()) == 1
        assert len(connection.execute(select(tables.attempts)).all()) == 1


@pytest.fixture
def watch(installation: Installation) -> Iterator[Watch]:
    watch = Watch(installation.store)
    watch.changed()
    yield watch
    watch.close()


@pytest.mark.parametrize("told", [True, False], ids=["a rekey", "nobody's"])
def test_a_difference_is_acted_on_when_a_second_look_shows_it_too(
    installation: Installation, gateway: GatewayKeeper, watch: Watch, told: bool
) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    user_id = installation.add_user()
    certificate_id = installation.issue_user(user_id)
    old, new = make_tunnel(7, ALICE), make_tunnel(8, ALICE)
    spis = _report(read_tunnel("evertunnel-user", old)).spis
    session = Session(
        "s1", TunnelKind.USER, SessionState.UP, "g1", 7, installation.now,
        user_id=user_id, certificate_id=certificate_id, spis=spis,
    )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [session])
    gateway._vici = tunnels = Tunnels(new)
    assert not gateway._reconcile(watch)
    assert list(tunnels.tunnels) == [8]
    if told:
        gateway._handle(0.0, "ike-rekey", {"evertunnel-user": {"old": old, "new": new}})
    assert gateway._reconcile(watch)
    assert list(tunnels.tunnels) == ([8] if told else [])
    with installation.store.read() as connection:
        state = connection.execute(select(tables.sessions.c.state)).scalar_one()
    assert state == ("up" if told else "ended")


def test_an_end_is_told_again_when_the_tunnel_has_other_indexes(
    gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent may have been told of the old ones only after the rekey: it would never end the new tunnel."""
    told: list[str] = []
    gateway._end_later = lambda _number, spis, _seconds: told.append(spis)
    ends_at = gateway._clock() + timedelta(hours=1)
    for spis in ("a:b", "a:b", "c:d", "c:d"):
        row = SimpleNamespace(id="s1", spis=spis, unique_id=7, ends_at=ends_at)
        monkeypatch.setattr(sessions, "list_ending_by_themselves", lambda *_, row=row: [row])
        gateway._keep_ends()
    assert told == ["a:b", "c:d"]


def test_a_tunnel_that_is_rekeyed_without_end_is_cut(gateway: GatewayKeeper, watch: Watch) -> None:
    for number in (7, 8):
        gateway._vici = tunnels = Tunnels(make_tunnel(number, ALICE))
        gateway._reconcile(watch)
    assert not tunnels.tunnels


def test_a_long_look_is_broken_off_for_a_change_and_not_for_ever(
    installation: Installation, gateway: GatewayKeeper, watch: Watch
) -> None:
    gateway._vici = Tunnels(*(make_tunnel(number, ALICE) for number in range(1, 602)))
    assert gateway._list_tunnels(watch) is not None
    installation.add_user()
    assert gateway._list_tunnels(watch) is None
    assert gateway._overtaken, "or the change would be forgotten"
    for turn in range(30):
        installation.do(change_user, ALICE, enabled=turn % 2 == 0)
        if gateway._list_tunnels(watch) is not None:
            break
    assert turn == 19


def test_a_long_look_that_has_all_tunnels_gives_way_before_it_decides(
    gateway: GatewayKeeper, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway._vici = Tunnels(*(make_tunnel(number, ALICE) for number in range(1, 502)))
    changes = iter([False, True])
    monkeypatch.setattr(watch, "changed", lambda: next(changes))
    assert not gateway._reconcile(watch)
    assert gateway._overtaken, "or the change would be forgotten"
    assert not gateway._doubted, "it decided nothing"


def test_a_change_that_could_not_be_read_is_read_the_next_time(
    installation: Installation, gateway: GatewayKeeper, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway._vici = Tunnels()
    gateway._take_turn(watch)
    user_id = installation.add_user()
    with monkeypatch.context() as patch:
        patch.setattr(gateway._store, "read", fail_to_read)
        with pytest.raises(UnavailableError):
            gateway._take_turn(watch)
    gateway._take_turn(watch)
    assert gateway._decider.find_user(user_id) is not None


@pytest.mark.parametrize("known", [True, False], ids=["named by the event", "in the tunnel"])
def test_a_client_that_moves_is_followed_at_once(
    installation: Installation, gateway: GatewayKeeper, known: bool
) -> None:
    """On this machine the new address stands beside the tunnel; an agent puts it into the tunnel."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(add_named_location, "Far", ranges=["203.0.113.0/24"])
    installation.do(add_template_policy, "block-countries", location="Far", on=True)
    user_id = installation.add_user()
    section = make_tunnel(7, ALICE) | {"remote-host": "192.0.2.7" if known else "203.0.113.9"}
    session = Session(
        "s1", TunnelKind.USER, SessionState.UP, "g1", 7, installation.now, user_id=user_id,
        certificate_id=installation.issue_user(user_id), remote_address="192.0.2.7",
        spis=_report(read_tunnel("evertunnel-user", section)).spis,
    )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [session])
    beside = {"local-host": "192.0.2.1", "remote-host": "203.0.113.9", "remote-port": "4500"}
    gateway._effects_at = 1e9
    gateway._handle(0.0, "ike-update", {**(beside if known else {"up": "no"}), "evertunnel-user": section})
    gateway._handle(0.0, "ike-update", {**beside, "somebody-elses": section, "odd": "text"})
    with installation.store.read() as connection:
        row = connection.execute(select(tables.sessions)).one()
    assert (row.remote_address, row.state) == ("203.0.113.9", "ending")
    assert gateway._effects_at == 0.0


@pytest.fixture
def crowd(installation: Installation, gateway: GatewayKeeper) -> tuple[Installation, Tunnels]:
    """Thirty users, each with a tunnel up and its session."""
    installation.do(add_network_policy, "everybody", {"permission": "grant"})
    gateway_id = installation.add_gateway()
    gateway._gateway = Gateway(gateway_id, "gw1", "127.0.0.1", enabled=True)
    gateway._departures._gateway = gateway._enforcement._gateway = gateway._gateway
    tunnels = Tunnels(*(make_tunnel(number, f"user{number}@corp.example") for number in range(1, 31)))
    gateway._vici = tunnels
    made = []
    for number in range(1, 31):
        user_id = installation.add_user(f"user{number}@corp.example")
        certificate_id = installation.issue_user(user_id, name=f"user{number}@corp.example")
        made.append(
            Session(
                f"s{number}", TunnelKind.USER, SessionState.UP, gateway_id, number, installation.now, user_id=user_id,
                spis=f"{number:016x}:{number:016x}", certificate_id=certificate_id,
            )
        )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, made)
    with installation.store.read() as connection:
        gateway._enforcement.refresh(connection)
    gateway._enforcement.enforce()
    return installation, tunnels


def count_decisions(gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    asked: list[object] = []
    decide = gateway._decider.decide_tunnel
    monkeypatch.setattr(
        gateway._decider, "decide_tunnel", lambda *told, **named: asked.append(told) or decide(*told, **named)
    )
    return asked


def test_only_the_sessions_that_a_change_is_about_are_decided_again(
    crowd: tuple[Installation, Tunnels], gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, _ = crowd
    asked = count_decisions(gateway, monkeypatch)
    installation.do(change_user, "user7@corp.example", enabled=False)
    with installation.store.read() as connection:
        gateway._enforcement.refresh(connection)
    gateway._enforcement.enforce()
    assert len(asked) <= 2, "once to see it, once where it is written"
    with installation.store.read() as connection:
        rows = sessions.list_live_of_gateway(connection, gateway._gateway.id)
    assert [row.id for row in rows if row.state == SessionState.ENDING.value] == ["s7"]


def test_what_was_not_written_is_decided_the_next_time(
    crowd: tuple[Installation, Tunnels], gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, _ = crowd
    installation.do(change_user, "user7@corp.example", enabled=False)
    with monkeypatch.context() as broken:
        broken.setattr(gateway._store, "write", lambda _now: fail_to_read())
        with pytest.raises(UnavailableError):
            gateway._enforcement.enforce()
    gateway._enforcement.enforce()
    with installation.store.read() as connection:
        rows = sessions.list_live_of_gateway(connection, gateway._gateway.id)
    assert [row.id for row in rows if row.state == SessionState.ENDING.value] == ["s7"]


def test_a_look_leaves_to_the_queue_what_waits_for_its_cut(
    crowd: tuple[Installation, Tunnels], gateway: GatewayKeeper, watch: Watch
) -> None:
    installation, tunnels = crowd
    with installation.store.write(installation.now) as tx:
        sessions.mark_ending(tx, ["s1", "s2"], "blocked")
        effect_queue.queue_cuts(tx, [(gateway._gateway.id, "s1", "a policy blocks")])
    for _ in range(2):
        gateway._reconcile(watch)
    assert 1 in tunnels.tunnels, "the queue cuts it"
    assert 2 not in tunnels.tunnels, "nobody else would"


def test_tunnels_that_never_had_a_session_go_without_a_write(
    crowd: tuple[Installation, Tunnels], gateway: GatewayKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was cut comes back again and again to be refused."""
    installation, _ = crowd
    for number in range(100, 150):
        section = make_tunnel(number, "user1@corp.example") | {"state": "CONNECTING"}
        gateway._events.put(("ike-updown", {"evertunnel-user": section}))
    with monkeypatch.context() as unwritable:
        unwritable.setattr(gateway._store, "write", lambda _now: fail_to_read())
        gateway._handle_events()
    gone = [make_tunnel(number, f"user{number}@corp.example") for number in range(1, 21)]
    for section in gone:
        gateway._events.put(("ike-updown", {"evertunnel-user": section}))
    gateway._handle_events()
    with installation.store.read() as connection:
        assert len(sessions.list_live_of_gateway(connection, gateway._gateway.id)) == 10
