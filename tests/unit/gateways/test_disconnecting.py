"""A mass of sessions on a gateway that takes Disconnect-Requests: asked for a hundred a second, denials before them."""

from collections.abc import Iterator
from typing import Any

import pytest

from evertunnel.actions.deny import deny
from evertunnel.gateways.disconnecting import Disconnecting
from evertunnel.gateways.dynamic_client import DynamicClient
from evertunnel.gateways.effect_worker import PACE_SECONDS
from evertunnel.model import GatewayState, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, gateways, sessions
from tests.installation import Installation
from tests.peers.dynamic import DynamicGateway
from tests.unit.gateways.test_dynamic_keeper import SECRET, Foreign

NAS_PORT = 5
BOB, NUMBER_OF_BOB = "bob@corp.example", 900


@pytest.fixture
def peer() -> Iterator[DynamicGateway]:
    made = DynamicGateway(SECRET)
    yield made
    made.close()


class Mass:
    """Sessions that one change ends. Seconds go by only when told to."""

    def __init__(
        self, installation: Installation, peer: DynamicGateway, *, number_of: int, foreign: bool = True
    ) -> None:
        self.installation, self.peer = installation, peer
        self.gateway_id = Foreign(installation, peer).gateway.id
        self.uptime = 0.0
        client = DynamicClient("127.0.0.1", peer.port, [SECRET], installation.clock)
        self.disconnecting = Disconnecting(
            installation.store, self.gateway_id, client, nas_identifier="", foreign=foreign,
            read_uptime=lambda: self.uptime,
        )  # fmt: skip
        numbers = range(1, number_of + 1)
        self.add_sessions(*numbers, user_id="somebody")
        with installation.store.write(installation.now) as tx:
            sessions.mark_ending(tx, [f"s{number}" for number in numbers], "blocked_by_access_policy")
            effect_queue.queue_cuts(tx, [(self.gateway_id, f"s{number}", "a policy blocks") for number in numbers])

    def add_sessions(self, *numbers: int, user_id: str) -> None:
        made = [
            Session(
                f"s{number}", TunnelKind.USER, SessionState.UP, self.gateway_id, number, self.installation.now,
                user_id=user_id,
            )
            for number in numbers
        ]  # fmt: skip
        with self.installation.store.write(self.installation.now) as tx:
            sessions.insert_sessions(tx, made)

    def work(self) -> bool:
        return self.disconnecting.perform_pending(self.installation.now)

    @property
    def asked(self) -> list[int]:
        """For which it was asked; what was sent again counts once."""
        octets = dict(zip(self.peer.octets, self.peer.requests, strict=True))
        return [int.from_bytes(request[NAS_PORT][0], "big") for request in octets.values()]

    def end(self, *numbers: int) -> None:
        """Its accounting says that they are over."""
        with self.installation.store.write(self.installation.now) as tx:
            sessions.end_sessions(tx, {f"s{number}": "ended" for number in numbers})

    def count_pending(self) -> int:
        with self.installation.store.read() as connection:
            return len(effect_queue.list_pending(connection, self.gateway_id))


def test_the_cuts_of_a_mass_are_spread_and_all_come(installation: Installation, peer: DynamicGateway) -> None:
    mass = Mass(installation, peer, number_of=350)
    asked = []
    while not mass.work():
        asked.append(len(mass.asked))
        if mass.count_pending() > effect_queue.MASS:  # the rest is no mass
            assert not mass.work()
            assert len(mass.asked) == asked[-1], "more within the same second"
        mass.end(*mass.asked)
        mass.uptime += PACE_SECONDS
    assert asked[:3] == [100, 200, 300]
    assert sorted(mass.asked) == list(range(1, 351)), "each once"
    assert not mass.count_pending()


def test_whoever_is_denied_by_name_goes_before_a_mass(installation: Installation, peer: DynamicGateway) -> None:
    mass = Mass(installation, peer, number_of=350)
    mass.work()
    mass.add_sessions(NUMBER_OF_BOB, user_id=installation.add_user(BOB))
    installation.do(deny, SubjectKind.USER, BOB, reason="left")
    assert not mass.work()
    assert mass.asked[100:] == [NUMBER_OF_BOB], "in the same second"
    mass.end(NUMBER_OF_BOB)
    mass.uptime += PACE_SECONDS
    mass.work()
    assert NUMBER_OF_BOB not in mass.asked[101:]
    assert len(mass.asked) == 201


@pytest.mark.parametrize("answer", [{"yes": True}, {"yes": False, "cause": 504}], ids=["acknowledged", "refused"])
def test_sessions_that_stay_hold_nobody_else_up(
    installation: Installation, peer: DynamicGateway, answer: dict[str, Any]
) -> None:
    peer.answer = lambda request, _data: [peer.say(request, **answer)]
    mass = Mass(installation, peer, number_of=350)
    for _ in range(4):
        assert not mass.work()
        mass.uptime += PACE_SECONDS
    assert sorted(mass.asked) == list(range(1, 351)), "each once"
    assert mass.count_pending() == 350
    mass.uptime += 10
    mass.work()
    assert len(mass.asked) == 450, "and again, as many a second"


def test_a_mass_is_left_to_the_control_socket_while_that_answers(
    installation: Installation, peer: DynamicGateway
) -> None:
    """Else it would be ended twice as fast, or all of it after the second that the control socket is given."""
    mass = Mass(installation, peer, number_of=350, foreign=False)
    installation.clock.forward(seconds=30)
    for state, asked in ((GatewayState.CONNECTED, 0), (GatewayState.AWAY, 100)):
        with installation.store.write(installation.now) as tx:
            gateways.set_state(tx, mass.gateway_id, state)
        assert not mass.work()
        assert len(mass.asked) == asked
