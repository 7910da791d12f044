"""The effect queue: wanted until seen to be so, or no longer wanted."""

from collections.abc import Sequence

from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.model import Session, SessionState, TunnelKind
from evertunnel.storage import effect_queue, sessions
from tests.installation import ALICE, Installation


def queue(installation: Installation, *, subject_id: str = "u1", gateways: Sequence[str] = ("g1", "g2")) -> None:
    with installation.store.write(installation.clock.forward(seconds=1)) as tx:
        effect_queue.queue_effect(
            tx, EffectKind.CUT, gateways, EffectSubject.USER, subject_id, cause="denied: test", denial_id="d1"
        )


def list_pending(installation: Installation, gateway_id: str = "g1") -> list[str]:
    with installation.store.read() as connection:
        return [effect.id for effect in effect_queue.list_pending(connection, gateway_id)]


def test_an_effect_is_pending_on_each_gateway_until_confirmed_there(installation: Installation) -> None:
    queue(installation)
    [effect_id] = list_pending(installation)
    with installation.store.write(installation.now) as tx:
        effect_queue.confirm_effects(tx, [effect_id])
    assert list_pending(installation) == []
    assert len(list_pending(installation, "g2")) == 1


def test_the_oldest_comes_first(installation: Installation) -> None:
    for subject_id in ("b", "a", "c"):
        queue(installation, subject_id=subject_id)
    with installation.store.read() as connection:
        found = [effect.subject_id for effect in effect_queue.list_pending(connection, "g1")]
    assert found == ["b", "a", "c"]


def test_a_failure_is_noted_and_stays_pending(installation: Installation) -> None:
    queue(installation)
    [effect_id] = list_pending(installation)
    with installation.store.write(installation.now) as tx:
        effect_queue.note_failures(tx, [effect_id], "x" * 1000)
        effect_queue.note_failures(tx, [effect_id], "the gateway is away")
    with installation.store.read() as connection:
        row = next(row for row in effect_queue.list_of_denial(connection, "d1") if row.id == effect_id)
    assert (row.tries, row.last_error, row.state) == (2, "the gateway is away", "pending")


def test_effects_of_a_subject_that_was_allowed_are_dropped_and_those_of_others_stay(
    installation: Installation,
) -> None:
    queue(installation)
    queue(installation, subject_id="u2")
    with installation.store.write(installation.now) as tx:
        effect_queue.drop_effects(tx, "u1")
    assert len(list_pending(installation)) == 1


def test_a_confirmed_effect_is_not_dropped_later(installation: Installation) -> None:
    queue(installation, gateways=["g1"])
    [effect_id] = list_pending(installation)
    with installation.store.write(installation.now) as tx:
        effect_queue.confirm_effects(tx, [effect_id])
        effect_queue.drop_effects(tx, "u1")
        [row] = effect_queue.list_of_denial(tx.connection, "d1")
    assert row.state == "confirmed"


def test_without_gateways_there_is_nothing_to_do(installation: Installation) -> None:
    queue(installation, gateways=[])
    with installation.store.read() as connection:
        assert effect_queue.list_of_denial(connection, "d1") == []


def test_cuts_of_sessions_are_found_by_their_ids_with_whose_they_are(installation: Installation) -> None:
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    with installation.store.write(installation.now) as tx:
        made = [
            Session(f"s{number}", TunnelKind.USER, SessionState.UP, gateway_id, number, installation.now,
                    user_id=user_id if number else None, device_id="removed")
            for number in range(1_002)
        ]  # fmt: skip
        sessions.insert_sessions(tx, made)
        ids = effect_queue.queue_cuts(tx, [(gateway_id, session.id, "ended") for session in made])
    with installation.store.read() as connection:
        found = effect_queue.list_cuts(connection, ["unknown", *ids])
    assert sorted((row.id, row.subject_id) for row in found) == sorted(
        zip(ids, [session.id for session in made], strict=True)
    )
    names = {row.subject_id: (row.tunnel, row.user_name, row.device_name, row.gateway_name) for row in found}
    assert names["s0"] == ("user", None, None, "gw1")
    assert names["s1"] == ("user", ALICE, None, "gw1")
