"""The loop around the socket, on loopback."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs

from evertunnel.model import Reason
from evertunnel.servers.logins import Reply
from evertunnel.servers.radius_udp import RadiusProcess
from tests.peers import radius
from tests.peers.gateway import Gateway
from tests.unit.servers.conftest import Scene


@contextmanager
def serving(
    scene: Scene, *, before: Callable[[tuple[str, int]], None] | None = None
) -> Iterator[tuple[RadiusProcess, tuple[str, int]]]:
    """The process in a thread of this one; it has stopped when this ends. `before` it takes its first packet."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        process = RadiusProcess(listener, scene.server)
        scene.recorder.stop()
        recorder = scene.new_recorder(process.send, running=False)
        if before is not None:
            before(listener.getsockname())
        thread = threading.Thread(target=process.run, args=(recorder,))
        thread.start()
        try:
            yield process, listener.getsockname()
        finally:
            process.stop()
            listener.sendto(b"", listener.getsockname())  # it looks up once a second, or when something comes
            thread.join(timeout=20)
            assert not thread.is_alive()


@contextmanager
def new_gateway(scene: Scene, server: tuple[str, int]) -> Iterator[tuple[Gateway, socket.socket]]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as own:
        own.bind(("127.0.0.1", 0))
        own.connect(server)
        own.settimeout(20)

        def carry(data: bytes) -> bytes:
            own.send(data)
            return own.recv(4_096)

        yield Gateway(scene.secret, carry), own


def test_a_login_over_the_socket(scene: Scene) -> None:
    with serving(scene) as (_, server), new_gateway(scene, server) as (gateway, _):
        assert gateway.log_in(scene.new_client()).code == radius.ACCEPT
    assert len(scene.installation.list_sessions()) == 1


@pytest.mark.parametrize("data", [b"", b"\x01", bytes(20), bytes(4_096), bytes(4_097), bytes(60_000)], ids=len)
def test_what_is_no_packet_gets_silence_and_the_loop_goes_on(scene: Scene, data: bytes) -> None:
    with serving(scene) as (_, server), new_gateway(scene, server) as (gateway, own):
        own.send(data)
        assert gateway.ask(b"").code == radius.CHALLENGE, "the first answer that comes is the one to this"


def test_a_packet_with_more_behind_it_than_radius_allows_is_read_to_its_length(scene: Scene) -> None:
    with serving(scene) as (_, server), new_gateway(scene, server) as (gateway, _):
        answer = gateway.send(gateway.build(b"") + bytes(50_000))
        assert answer is not None
        assert answer.code == radius.CHALLENGE


def test_logins_left_open_are_recorded_while_packets_keep_coming(scene: Scene) -> None:
    scene.uptime = time.monotonic() - 31
    scene.gateway.ask(scene.new_client().answer_identity())
    with serving(scene) as (_, server), new_gateway(scene, server) as (gateway, _):
        deadline = time.monotonic() + 20
        while not scene.installation.list_attempts():
            assert time.monotonic() < deadline
            gateway.ask(b"")
    assert scene.installation.list_attempts()[0].reason == Reason.CLIENT_STOPPED


def test_a_hundred_packets_that_come_while_it_is_busy_are_all_answered(scene: Scene) -> None:
    gateway = scene.new_gateway(attributes=[(radius.PROXY_STATE, bytes(250))] * 4)
    packets = [gateway.build(b"") for _ in range(120)]
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as own:
        own.bind(("127.0.0.1", 0))
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        own.settimeout(20)

        def send_all(server: tuple[str, int]) -> None:
            for packet in packets:
                own.sendto(packet, server)

        with serving(scene, before=send_all):
            assert {own.recv(4_096)[0] for _ in packets} == {radius.CHALLENGE}


def test_a_reply_that_cannot_be_sent_is_like_one_that_was_lost(scene: Scene) -> None:
    with serving(scene) as (process, server), new_gateway(scene, server) as (gateway, _):
        with capture_logs() as logs:
            process.send(Reply(bytes(70_000), server))
        assert [log["event"] for log in logs] == ["cannot send"]
        assert gateway.ask(b"").code == radius.CHALLENGE


def test_it_stops_after_what_it_has_and_records_it(scene: Scene) -> None:
    with serving(scene) as (process, server), new_gateway(scene, server) as (gateway, own):
        own.send(gateway.build_last_request(scene.new_client()))
        process.stop()
    assert len(scene.installation.list_attempts()) == 1


def test_without_its_recorder_it_ends_so_that_it_is_started_anew(scene: Scene) -> None:
    recorder = scene.new_recorder(running=False)

    def end_it() -> None:
        while not recorder.running:
            time.sleep(0.01)
        recorder.stop()

    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        process = RadiusProcess(listener, scene.server)
        ending = threading.Thread(target=end_it)
        ending.start()
        with pytest.raises(RuntimeError, match="the recorder ended"):
            process.run(recorder)
        ending.join()
