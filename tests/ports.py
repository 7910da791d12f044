"""Ports on loopback for servers of tests, which nothing else on this machine takes in the meantime."""

import itertools
import os
import random
import socket

# Below the ports the kernel gives to whoever connects or binds to 0 (from 32768 on), and a thousand for each process
# that runs tests at the same time.
_FIRST = 10_000
_EACH = 1_000
_PROCESSES = 20

_number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_next = itertools.count(random.randrange(_EACH))  # two runs side by side begin at different places


def find_port() -> int:
    """A port that is free for UDP, and for TCP, and whose successor is (accounting takes it). Never the same twice."""
    for offset in itertools.islice(_next, _EACH):
        port = _FIRST + _number * _EACH + offset * 2 % _EACH
        if all(_is_free(kind, port + more) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) for more in (0, 1)):
            return port
    raise AssertionError("no port is free")


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind is socket.SOCK_STREAM)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
