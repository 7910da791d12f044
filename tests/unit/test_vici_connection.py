"""What is said of a strongSwan that does not answer."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from evertunnel.vici_connection import AwayError, ViciConnection


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
