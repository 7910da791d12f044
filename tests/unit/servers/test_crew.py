"""One RADIUS worker takes all new logins while it has time left, and all of them when it has not."""

import pytest

from evertunnel.protocols.eap.open_conversations import OPEN_SECONDS, OpenConversations
from evertunnel.protocols.eap.stage import Stage
from evertunnel.servers.crew import Crew, Shift
from evertunnel.servers.logins import Elsewhere, Reply
from tests.peers import radius
from tests.unit.servers.conftest import Scene
from tests.unit.servers.workers import Workers, open_workers

COUNT = 3


class Watched:
    """A crew with a clock, CPU time and what the kernel was told."""

    def __init__(self, *, all_awake: bool = False) -> None:
        self.crew = Crew(COUNT, all_awake=all_awake)
        self.uptime = self.crew_began = 1_000_000.0  # far beyond the time workers have to start
        self.cpu_seconds = [0.0] * COUNT
        self.steered: list[int] = []
        self.shifts = [
            Shift(self.crew, number, self.steered.append, cpu_seconds=lambda number=number: self.cpu_seconds[number])
            for number in range(COUNT)
        ]

    def run(self, seconds: float, *, busy: float = 0.0, only: tuple[int, ...] = tuple(range(COUNT))) -> None:
        """Turns of these workers, a tenth of a second each; each awake one needs so much of a core."""
        for _ in range(round(seconds * 10)):
            self.uptime += 0.1
            for number in only:
                self.cpu_seconds[number] += 0.1 * busy if number < self.crew.awake else 0.0
                self.shifts[number].take_turn(self.uptime, packets=1)


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.run(1)
    return watched


def test_one_is_awake_while_it_has_time_and_the_kernel_is_told_once(watched: Watched) -> None:
    watched.run(100, busy=0.5)
    assert (watched.crew.awake, watched.steered) == (1, [1])


def test_a_busy_one_wakes_all_within_half_a_second(watched: Watched) -> None:
    watched.run(0.5, busy=0.8)
    assert (watched.crew.awake, watched.steered) == (COUNT, [1, COUNT])


def test_a_long_queue_wakes_all_at_once(watched: Watched) -> None:
    watched.shifts[0].take_turn(watched.uptime, packets=128)
    assert watched.crew.awake == COUNT


def test_they_sleep_again_after_all_logins_of_before_are_over_and_not_sooner(watched: Watched) -> None:
    watched.run(1, busy=0.9)
    watched.run(35, busy=0.1)
    assert watched.crew.awake == COUNT
    watched.run(10, busy=0.1)
    assert (watched.crew.awake, watched.steered) == (1, [1, COUNT, 1])


def test_they_stay_awake_while_together_they_need_more_than_one_should(watched: Watched) -> None:
    watched.run(1, busy=0.9)
    watched.run(200, busy=0.2)
    assert watched.crew.awake == COUNT


def test_a_first_one_that_stands_still_is_not_waited_for(watched: Watched) -> None:
    watched.run(1.5, only=(1, 2))
    assert watched.crew.awake == COUNT


def test_one_that_did_not_start_yet_is_waited_for() -> None:
    crew = Crew(COUNT)
    assert crew.find_silence(0, 0.0) < 0
    assert crew.awake == 1


def test_where_all_shall_be_awake_they_always_are() -> None:
    watched = Watched(all_awake=True)
    watched.run(100)
    assert (watched.crew.awake, watched.steered) == (COUNT, [])


def test_a_login_that_began_before_others_woke_ends_where_it_began(scene: Scene) -> None:
    with open_workers(scene) as workers:
        for each in workers.scenes:
            each.server.share_with(1)
        gateway, client = workers.new_gateway(at=0), scene.new_client()
        answer = gateway.log_in(client, rounds=1)
        wake_all(workers)
        while answer.code == radius.CHALLENGE:
            answer = gateway.ask(client.answer(answer.eap), answer.state)
        assert answer.code == radius.ACCEPT
        assert workers.handed_over == 0


def test_a_packet_for_one_that_sleeps_is_handed_to_one_that_is_awake(scene: Scene) -> None:
    with open_workers(scene) as workers:
        for each in workers.scenes:
            each.server.share_with(1)
        request = radius.sign(scene.secret, b"", authenticator=b"\1" * 16)
        assert workers.scenes[1].receive(request) == Elsewhere(0)
        assert not isinstance(workers.scenes[0].receive(request), Elsewhere)


def test_a_first_packet_repeated_after_others_woke_begins_afresh_and_either_can_go_on(scene: Scene) -> None:
    with open_workers(scene) as workers:
        for each in workers.scenes:
            each.server.share_with(1)
        request = find_request(scene, owner=1)
        first, reply = workers.receive(request, at=0)
        wake_all(workers)
        second, other = workers.receive(request, at=0)
        assert (first, second) == (0, 1)
        assert isinstance(reply, Reply)
        assert isinstance(other, Reply)
        assert reply.data != other.data


def find_request(scene: Scene, *, owner: int) -> bytes:
    """A first packet that this one of two answers."""
    eap = scene.new_client().answer_identity()
    return next(request for _ in range(200) if (request := scene.gateway.build(eap))[4] % 2 == owner)


def wake_all(workers: Workers) -> None:
    for each in workers.scenes:
        each.server.share_with(len(workers.scenes))


def test_who_is_alone_awake_has_all_of_what_is_bounded_and_gives_it_up() -> None:
    table: OpenConversations[str] = OpenConversations(capacity=100, tls_capacity=4)
    for number in range(4):
        assert table.put(bytes((number,)), "gateway", f"login {number}", float(number), Stage.CLIENT_HELLO) is None
    assert table.resize(capacity=50, tls_capacity=2) == ["login 0", "login 1"]
    assert len(table) == 2
    assert table.put(b"x", "gateway", "another", 9.0, Stage.CLIENT_HELLO) == "login 2"


def test_logins_that_were_open_when_others_woke_are_not_thrown_away(scene: Scene) -> None:
    """Whoever wakes others does it because many wait; they cannot go on elsewhere."""
    server = scene.server
    server.share_with(1, uptime=scene.uptime)
    for _ in range(40):
        scene.gateway.log_in(scene.new_client(), rounds=2)
    opened = server.open_logins
    server.share_with(64, uptime=scene.uptime)
    assert server.open_logins == opened
    assert server.expire(scene.uptime + 1) == []
    server.expire(scene.uptime + OPEN_SECONDS)
    assert server.open_logins <= 10_000 // 64


def test_the_kernel_is_told_again_when_two_told_it_at_once(watched: Watched) -> None:
    watched.crew.awake = COUNT  # another one woke all, and its word came before ours
    watched.run(0.5)
    assert watched.steered[-1] == COUNT


def test_one_that_died_busy_does_not_keep_the_others_awake(watched: Watched) -> None:
    watched.run(1, busy=0.9)
    watched.run(60, busy=0.1, only=(0, 1))
    assert watched.crew.awake == 1
