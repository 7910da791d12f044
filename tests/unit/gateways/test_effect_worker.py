"""Effects on a gateway whose tunnels change at moments that no real one can be made to choose (tests/lab has that)."""

from itertools import count
from typing import Any

import pytest
from sqlalchemy import event

from evertunnel.actions.add_device import add_device
from evertunnel.actions.allow import allow
from evertunnel.actions.deny import deny
from evertunnel.actions.follow_tunnel import TunnelReport, follow_rekey
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.gateways.effect_worker import PACE_SECONDS, EffectWorker
from evertunnel.model import Gateway, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Store
from evertunnel.vici_connection import Section
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.gateways.tunnels import Tunnels, make_tunnel


def add_sessions(installation: Installation, *numbers: int) -> str:
    """Alice has a tunnel up with each number. Returns the gateway."""
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(
            tx,
            [
                Session(
                    f"s{number}", TunnelKind.USER, SessionState.UP, gateway_id, number, installation.now,
                    user_id=user_id, spis=f"{number:016x}:{number:016x}",
                )
                for number in numbers
            ],
        )  # fmt: skip
    return gateway_id


def deny_alice(installation: Installation, *numbers: int) -> tuple[str, str]:
    """Alice has a tunnel up with each number, and is denied. Returns the gateway and the denial."""
    return add_sessions(installation, *numbers), installation.do(deny, SubjectKind.USER, ALICE, reason="left")


def end_sessions(installation: Installation, gateway_id: str, *numbers: int) -> None:
    """What entitled these sessions was lost."""
    with installation.store.write(installation.now) as tx:
        for number in numbers:
            sessions.mark_ending(tx, [f"s{number}"], "device_not_compliant")
            effect_queue.queue_effect(
                tx, EffectKind.CUT, [gateway_id], EffectSubject.SESSION, f"s{number}", cause="not compliant"
            )


def follow(installation: Installation, gateway_id: str, old: int, new: int) -> None:
    """The gateway reports a rekey."""
    reports = [TunnelReport(number, f"{number:016x}:{number:016x}", "", "", "") for number in (old, new)]
    with installation.store.write(installation.now) as tx:
        follow_rekey(tx, Gateway(gateway_id, "gw1", "127.0.0.1", enabled=True), *reports)


def find_state(installation: Installation, denial_id: str) -> str:
    with installation.store.read() as connection:
        (effect,) = effect_queue.list_of_denial(connection, denial_id)
    return str(effect.state)


def test_a_tunnel_that_was_rekeyed_meanwhile_is_not_confirmed_to_be_gone(installation: Installation) -> None:
    gateway_id, denial_id = deny_alice(installation, 7)
    gateway = Tunnels(make_tunnel(8, "anonymous@corp.example"))  # it was 7; nobody told us yet
    worker = EffectWorker(installation.store, gateway_id, gateway, installation.clock)
    assert not worker.perform_pending()
    assert find_state(installation, denial_id) == "pending"
    follow(installation, gateway_id, 7, 8)
    assert worker.perform_pending()
    assert find_state(installation, denial_id) == "confirmed"
    assert not gateway.tunnels


def test_a_tunnel_not_joined_yet_is_cut_by_its_claim_and_others_stay(installation: Installation) -> None:
    gateway_id, denial_id = deny_alice(installation, 7)
    gateway = Tunnels(make_tunnel(7, ALICE), make_tunnel(9, ALICE.upper()), make_tunnel(10, "bob@corp.example"))
    gateway.tunnels[10]["state"] = "CONNECTING"
    assert EffectWorker(installation.store, gateway_id, gateway, installation.clock).perform_pending()
    assert find_state(installation, denial_id) == "confirmed"
    assert list(gateway.tunnels) == [10]


def test_the_work_in_the_database_does_not_grow_with_the_tunnels(installation: Installation) -> None:
    gateway_id, _ = deny_alice(installation, *range(1, 101))
    gateway = Tunnels(*(make_tunnel(number, f"user{number}@corp.example") for number in range(200, 300)))
    for tunnel in gateway.tunnels.values():
        tunnel["state"] = "CONNECTING"
    statements: list[Any] = []
    event.listen(installation.store.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    worker = EffectWorker(installation.store, gateway_id, gateway, installation.clock)
    statements.clear()
    with pytest.raises(KeyboardInterrupt):
        with_outcome(worker, KeyboardInterrupt).perform_pending()
    assert len(statements) < 10


def with_outcome(worker: EffectWorker, error: type[BaseException]) -> EffectWorker:
    """One that stops before it stores what it saw."""

    def stop(*_: object) -> None:
        raise error

    worker._store_outcome = stop  # type: ignore[method-assign]
    return worker


def test_a_session_that_lost_its_right_is_not_confirmed_gone_while_its_tunnel_may_be_a_rekeyed_one(
    installation: Installation,
) -> None:
    gateway_id = add_sessions(installation, 7)
    end_sessions(installation, gateway_id, 7)
    gateway = Tunnels(make_tunnel(8, "anonymous@corp.example"))  # it was 7; nobody told us yet
    worker = EffectWorker(installation.store, gateway_id, gateway, installation.clock)
    assert not worker.perform_pending()
    follow(installation, gateway_id, 7, 8)
    assert worker.perform_pending()
    assert not gateway.tunnels


def test_all_effects_of_a_batch_share_two_listings(installation: Installation) -> None:
    numbers = range(1, 101)
    gateway_id = add_sessions(installation, *numbers)
    end_sessions(installation, gateway_id, *numbers)
    gateway = Tunnels(*(make_tunnel(number, f"user{number}@corp.example") for number in numbers))
    assert EffectWorker(installation.store, gateway_id, gateway, installation.clock).perform_pending()
    assert gateway.listings <= 2
    assert not gateway.tunnels


def test_an_effect_that_was_dropped_meanwhile_stays_dropped(installation: Installation) -> None:
    gateway_id, denial_id = deny_alice(installation, 7)

    class Slow(Tunnels):
        def flush_certificates(self) -> None:
            installation.do(allow, SubjectKind.USER, ALICE)

    gateway = Slow(make_tunnel(7, ALICE))
    EffectWorker(installation.store, gateway_id, gateway, installation.clock).perform_pending()
    assert find_state(installation, denial_id) == "dropped"


@pytest.mark.parametrize("sessions_cut", [1, 20])
def test_a_tunnel_that_has_the_number_of_one_before_a_restart_stays(
    installation: Installation, sessions_cut: int
) -> None:
    """strongSwan was restarted and counts from 1 again; nobody has looked yet."""
    numbers = range(1, sessions_cut + 1)
    gateway_id = add_sessions(installation, *numbers)
    end_sessions(installation, gateway_id, *numbers)
    bob = make_tunnel(1, "bob@corp.example") | {"initiator-spi": "b0b", "responder-spi": "b0b"}
    gateway = Tunnels(bob)
    with installation.store.write(installation.now) as tx:
        made = Session(
            "bob", TunnelKind.USER, SessionState.UP, gateway_id, 1, installation.now, user_id="bob", spis="b0b:b0b"
        )
        sessions.insert_sessions(tx, [made])
    assert EffectWorker(installation.store, gateway_id, gateway, installation.clock).perform_pending()
    assert list(gateway.tunnels) == [1]


@pytest.mark.parametrize("state", ["CONNECTING", "ESTABLISHED"])
def test_a_tunnel_whose_session_still_waits_for_it_is_cut_by_its_number(installation: Installation, state: str) -> None:
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    with installation.store.write(installation.now) as tx:
        made = Session("s7", TunnelKind.USER, SessionState.PENDING, gateway_id, 7, installation.now, user_id=user_id)
        sessions.insert_sessions(tx, [made])
    installation.do(deny, SubjectKind.USER, ALICE, reason="left")
    gateway = Tunnels(make_tunnel(7, "anonymous@corp.example") | {"state": state})
    assert EffectWorker(installation.store, gateway_id, gateway, installation.clock).perform_pending()
    assert not gateway.tunnels


def test_a_flush_is_done_together_with_cuts_and_alone(installation: Installation) -> None:
    gateway_id, _ = deny_alice(installation, 7)
    installation.do(allow, SubjectKind.USER, ALICE)
    worker = EffectWorker(installation.store, gateway_id, Tunnels(), installation.clock)
    assert worker.perform_pending()
    installation.do(deny, SubjectKind.USER, ALICE, reason="again")
    installation.do(lose_and_find, LAPTOP)
    assert worker.perform_pending()
    with installation.store.read() as connection:
        assert effect_queue.list_pending(connection, gateway_id) == []


def lose_and_find(store: Store, name: str, **who: Any) -> None:
    """A flush beside the cut."""
    add_device(store, name, **who)
    deny(store, SubjectKind.DEVICE, name, reason="lost", **who)
    allow(store, SubjectKind.DEVICE, name, **who)


class Crowd(Tunnels):
    """Counts what it is told to end; `stubborn` ones stay."""

    def __init__(self, *tunnels: Section, stubborn: frozenset[int] = frozenset()) -> None:
        super().__init__(*tunnels)
        self.stubborn = stubborn
        self.ended: list[int] = []

    def terminate(self, unique_id: int) -> None:
        self.ended.append(unique_id)
        if unique_id not in self.stubborn:
            super().terminate(unique_id)


def end_mass(
    installation: Installation, number_of: int, *, stubborn: frozenset[int] = frozenset()
) -> tuple[str, Crowd]:
    """One change ends so many sessions. Returns the gateway."""
    numbers = range(1, number_of + 1)
    gateway_id = add_sessions(installation, *numbers)
    with installation.store.write(installation.now) as tx:
        sessions.mark_ending(tx, [f"s{number}" for number in numbers], "blocked_by_access_policy")
        effect_queue.queue_cuts(tx, [(gateway_id, f"s{number}", "a policy blocks") for number in numbers])
    crowd = Crowd(*(make_tunnel(number, f"user{number}@corp.example") for number in numbers), stubborn=stubborn)
    return gateway_id, crowd


def count_pending(installation: Installation, gateway_id: str) -> int:
    with installation.store.read() as connection:
        return len(effect_queue.list_pending(connection, gateway_id))


def test_the_cuts_of_a_mass_are_spread_and_all_come(installation: Installation) -> None:
    gateway_id, crowd = end_mass(installation, 350)
    now = [0.0]
    worker = EffectWorker(installation.store, gateway_id, crowd, installation.clock, read_uptime=lambda: now[0])
    ended = []
    while not worker.perform_pending():
        ended.append(len(crowd.ended))
        if count_pending(installation, gateway_id) > effect_queue.MASS:  # the rest is no mass
            assert not worker.perform_pending()
            assert len(crowd.ended) == ended[-1], "more within the same second"
        now[0] += PACE_SECONDS
    assert ended[:3] == [100, 200, 300]
    assert sorted(crowd.ended) == list(range(1, 351)), "each once"
    assert not crowd.tunnels
    assert not count_pending(installation, gateway_id)
    with installation.store.read() as connection:
        assert not sessions.list_live_of_gateway(connection, gateway_id)


def test_whoever_is_denied_by_name_goes_before_a_mass(installation: Installation) -> None:
    gateway_id, crowd = end_mass(installation, 350)
    worker = EffectWorker(installation.store, gateway_id, crowd, installation.clock, read_uptime=lambda: 0.0)
    worker.perform_pending()
    bob = installation.add_user("bob@corp.example")
    add_session(installation, gateway_id, 900, bob)
    crowd.tunnels[900] = make_tunnel(900, "bob@corp.example")
    denial_id = installation.do(deny, SubjectKind.USER, "bob@corp.example", reason="left")
    worker.perform_pending()
    assert 900 not in crowd.tunnels
    assert find_state(installation, denial_id) == "confirmed"
    assert len(crowd.tunnels) == 250, "the mass waits"


def test_one_session_that_lost_its_right_goes_before_a_mass(installation: Installation) -> None:
    gateway_id, crowd = end_mass(installation, 350)
    worker = EffectWorker(installation.store, gateway_id, crowd, installation.clock, read_uptime=lambda: 0.0)
    worker.perform_pending()
    add_session(installation, gateway_id, 900, "bob")
    crowd.tunnels[900] = make_tunnel(900, "bob@corp.example")
    installation.clock.forward(seconds=1)
    end_sessions(installation, gateway_id, 900)
    worker.perform_pending()
    assert 900 not in crowd.tunnels
    assert len(crowd.tunnels) == 250, "the mass waits"


def test_tunnels_that_stay_hold_nobody_else_up(installation: Installation) -> None:
    gateway_id, crowd = end_mass(installation, 350, stubborn=frozenset(range(1, 351, 2)))
    uptime = count(0, 10)
    worker = EffectWorker(installation.store, gateway_id, crowd, installation.clock, read_uptime=lambda: next(uptime))
    for _ in range(12):
        worker.perform_pending()
    assert all(number % 2 for number in crowd.tunnels)
    assert count_pending(installation, gateway_id) == 175
    crowd.stubborn = frozenset()
    while not worker.perform_pending():
        pass
    assert not crowd.tunnels


def test_a_rekey_does_not_shake_a_waiting_cut_off(installation: Installation) -> None:
    gateway_id, crowd = end_mass(installation, 150)
    uptime = count(0, 10)
    worker = EffectWorker(installation.store, gateway_id, crowd, installation.clock, read_uptime=lambda: next(uptime))
    worker.perform_pending()
    left = next(iter(crowd.tunnels))
    del crowd.tunnels[left]
    crowd.tunnels[1000] = make_tunnel(1000, "anonymous@corp.example")
    follow(installation, gateway_id, left, 1000)
    while not worker.perform_pending():
        pass
    assert not crowd.tunnels


def add_session(installation: Installation, gateway_id: str, number: int, user_id: str) -> None:
    spis = f"{number:016x}:{number:016x}"
    with installation.store.write(installation.now) as tx:
        made = Session(
            f"s{number}", TunnelKind.USER, SessionState.UP, gateway_id, number, installation.now, user_id=user_id,
            spis=spis,
        )  # fmt: skip
        sessions.insert_sessions(tx, [made])
