"""Effects on a gateway whose tunnels change at moments that no real one can be made to choose (tests/lab has that)."""

from typing import Any

import pytest
from sqlalchemy import event

from evertunnel.actions.add_device import add_device
from evertunnel.actions.allow import allow
from evertunnel.actions.deny import deny
from evertunnel.actions.follow_tunnel import TunnelReport, follow_rekey
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.gateways.effect_worker import EffectWorker
from evertunnel.model import Gateway, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, sessions
from evertunnel.storage.store import Store
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
