"""The loop around the socket, on loopback."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs

from evertunnel.actions.deny import deny
from evertunnel.clock import now
from evertunnel.model import Reason, SubjectKind
from evertunnel.servers import radius_udp
from evertunnel.servers.crew import Crew, Shift
from evertunnel.servers.radius_udp import RadiusProcess
from evertunnel.servers.shared_port import Port
from tests.peers import radius
from tests.peers.gateway import Gateway
from tests.unit.servers.conftest import Scene

Server = tuple[str, int]


@contextmanager
def serving(scene: Scene, *, before: Callable[[Server], None] | None = None, workers: int = 1) -> Iterator[Server]:
    """The process in a thread of this one; it has stopped when this ends. `before` it takes its first packet."""
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(scene.server, "share_with", lambda _awake, **_: None)  # the others are not here
        listener.bind(("127.0.0.1", 0))
        crew = Crew(workers, all_awake=True)
        process = RadiusProcess(Port(listener), scene.server, scene.recorder, shift=Shift(crew, 0, lambda _: None))
        if before is not None:
            before(listener.getsockname())
        thread = threading.Thread(target=process.run)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            process.stop()
            thread.join(timeout=20)
            assert not thread.is_alive()


@contextmanager
def new_socket() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as own:
        own.bind(("127.0.0.1", 0))
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        own.settimeout(20)
        yield own


@contextmanager
def new_gateway(scene: Scene, server: Server) -> Iterator[tuple[Gateway, socket.socket]]:
    with new_socket() as own:
        own.connect(server)

        def carry(data: bytes) -> bytes:
            own.send(data)
            return own.recv(4_096)

        yield Gateway(scene.secret, carry), own


def test_a_login_over_the_socket(scene: Scene) -> None:
    with serving(scene) as server, new_gateway(scene, server) as (gateway, _):
        assert gateway.log_in(scene.new_client()).code == radius.ACCEPT
    assert len(scene.installation.list_sessions()) == 1


@pytest.mark.parametrize("data", [b"", b"\x01", bytes(20), bytes(4_096), bytes(4_097), bytes(60_000)], ids=len)
def test_what_is_no_packet_gets_silence_and_the_loop_goes_on(scene: Scene, data: bytes) -> None:
    with serving(scene) as server, new_gateway(scene, server) as (gateway, own):
        own.send(data)
        assert gateway.ask(b"").code == radius.CHALLENGE, "the first answer that comes is the one to this"


def test_a_packet_with_more_behind_it_than_radius_allows_is_read_to_its_length(scene: Scene) -> None:
    with serving(scene) as server, new_gateway(scene, server) as (gateway, _):
        answer = gateway.send(gateway.build(b"") + bytes(50_000))
        assert answer is not None
        assert answer.code == radius.CHALLENGE


def test_a_hundred_packets_that_come_while_it_is_busy_are_all_answered(scene: Scene) -> None:
    gateway = scene.new_gateway(attributes=[(radius.PROXY_STATE, bytes(250))] * 4)
    packets = [gateway.build(b"") for _ in range(120)]
    with new_socket() as own:

        def send_all(server: Server) -> None:
            for packet in packets:
                own.sendto(packet, server)

        with serving(scene, before=send_all):
            assert {own.recv(4_096)[0] for _ in packets} == {radius.CHALLENGE}


def test_logins_that_end_while_it_is_busy_share_a_commit(scene: Scene) -> None:
    scene.uptime = time.monotonic()
    requests = [scene.gateway.build_last_request(scene.new_client()) for _ in range(30)]
    with new_socket() as own:

        def send_all(server: Server) -> None:
            for request in requests:
                own.sendto(request, server)

        with serving(scene, before=send_all):
            assert [own.recv(4_096)[0] for _ in requests] == [radius.ACCEPT] * 30
    assert len({attempt.batch for attempt in scene.installation.list_attempts()}) == 1


@pytest.fixture
def long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PAUSE_PER_WORKER_SECONDS", "_SHARED_PAUSE_PER_WORKER_SECONDS", "_PAUSE_AT_MOST_SECONDS"):
        monkeypatch.setattr(radius_udp, name, 600.0)


@pytest.mark.usefixtures("long_pause")
@pytest.mark.parametrize("workers", [1, 2])
def test_it_pauses_between_commits_while_others_are_under_way_and_answers_all_before_it_stops(
    scene: Scene, workers: int
) -> None:
    scene.uptime = time.monotonic()
    first, *rest = [scene.gateway.build_last_request(scene.new_client()) for _ in range(6)]
    with new_socket() as own:
        with serving(scene, workers=workers) as server:
            own.sendto(first, server)
            assert own.recv(4_096)[0] == radius.ACCEPT, "nobody waits for a pause that nothing made"
            for request in [scene.gateway.build(b""), *rest, scene.gateway.build(b"")]:
                own.sendto(request, server)
            answers = [own.recv(4_096)[0] for _ in range(2)]
            assert answers == [radius.CHALLENGE] * 2, "the others were taken, and it goes on meanwhile"
            assert len(scene.installation.list_attempts()) == 1
        assert [own.recv(4_096)[0] for _ in rest] == [radius.ACCEPT] * 5
    assert len({attempt.batch for attempt in scene.installation.list_attempts()}) == 2


@pytest.mark.usefixtures("long_pause")
def test_who_is_alone_does_not_wait_for_company(scene: Scene) -> None:
    with serving(scene) as server, new_gateway(scene, server) as (gateway, _):
        for _ in range(3):
            assert gateway.log_in(scene.new_client()).code == radius.ACCEPT


@pytest.mark.usefixtures("long_pause")
def test_one_of_several_workers_pauses_also_when_nothing_is_open(scene: Scene) -> None:
    """Else a gateway that asks without EAP, and ends its logins with their first packets, would keep others out."""
    with new_socket() as own:
        with serving(scene, workers=2) as server:
            own.sendto(radius.sign(scene.secret, b"", authenticator=os.urandom(16)), server)
            assert own.recv(4_096)[0] == radius.REJECT
            for _ in range(20):
                own.sendto(radius.sign(scene.secret, b"", authenticator=os.urandom(16)), server)
                time.sleep(0.01)
        assert [own.recv(4_096)[0] for _ in range(20)] == [radius.REJECT] * 20
    assert len({attempt.batch for attempt in scene.installation.list_attempts()}) == 2


def test_a_change_is_followed_while_nothing_comes(scene: Scene) -> None:
    with serving(scene) as server, new_gateway(scene, server) as (gateway, _):
        deny(scene.installation.store, SubjectKind.USER, "alice@corp.example", reason="left", actor="t", now=now())
        epoch = read_epoch(scene)
        wait_until(lambda: scene.decider.epoch == epoch)
        assert gateway.log_in(scene.new_client()).code == radius.REJECT
    assert scene.installation.list_attempts()[0].reason == Reason.USER_DENIED


def read_epoch(scene: Scene) -> int:
    with scene.installation.store.write(now()) as tx:
        return tx.epoch


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_logins_left_open_are_recorded_while_packets_keep_coming(scene: Scene) -> None:
    scene.uptime = time.monotonic() - 31
    scene.gateway.ask(scene.new_client().answer_identity())
    with serving(scene) as server, new_gateway(scene, server) as (gateway, _):
        deadline = time.monotonic() + 20
        while not scene.installation.list_attempts():
            assert time.monotonic() < deadline
            gateway.ask(b"")
    assert scene.installation.list_attempts()[0].reason == Reason.CLIENT_STOPPED


def test_what_is_dropped_is_told_by_reason(scene: Scene) -> None:
    scene.receive(bytes(20))
    scene.receive(bytes(20), ("192.0.2.1", 1))
    with capture_logs() as logs, serving(scene) as server, new_gateway(scene, server) as (gateway, _):
        gateway.ask(b"")
    (told,) = [log for log in logs if log["event"] == "packets dropped"]
    assert (told["malformed_or_forged"], told["unknown_gateway"]) == (1, 1)
