"""What is said of a strongSwan that does not answer."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from vici.protocol import Packet, Transport

from evertunnel.vici_connection import EVENTS, AwayError, ViciConnection


def test_a_strongswan_that_lets_nobody_in_any_more_does_not_answer(tmp_path: Path) -> None:
    path = str(tmp_path / "charon.vici")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting: list[socket.socket] = []
        with suppress(BlockingIOError):
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(path)
        with pytest.raises(AwayError, match="does not answer: its queue is full"):
            ViciConnection(path).read_statistics()
        for one in waiting:
            one.close()


def test_a_strongswan_that_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(AwayError, match="cannot be reached: No such file"):
        ViciConnection(str(tmp_path / "charon.vici")).read_statistics()


def test_a_strongswan_that_does_not_know_an_event_is_heard_all_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "charon.vici")
    asked: list[str] = []

    def serve(listener: socket.socket) -> None:
        """Knows every event but that of a client that moves, each of which is registered once."""
        connection, _ = listener.accept()
        with connection:
            transport = Transport(connection)
            while len(asked) < len(EVENTS):
                name = transport.receive()[2:].decode()
                asked.append(name)
                known = name != "ike-update"
                transport.send(bytes([Packet.EVENT_CONFIRM if known else Packet.EVENT_UNKNOWN]))
            transport.send(bytes([Packet.EVENT, len("log")]) + b"log")
            for _ in EVENTS[1:]:
                transport.receive()  # it wants to hear no more
                transport.send(bytes([Packet.EVENT_CONFIRM]))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        client = ViciConnection(path)
        events = client.listen(timeout_seconds=5)
        assert next(events) == ("log", {})
        del events
        thread.join(5)
        client.close()
    assert sorted(asked) == sorted(EVENTS)
