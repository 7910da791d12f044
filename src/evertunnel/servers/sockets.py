"""Listening sockets, made before anybody gives up root; what keeps one from being made is said in one line."""

import os
import socket
from pathlib import Path

from evertunnel.config import split_endpoint
from evertunnel.errors import InvalidInputError
from evertunnel.servers.shared_port import SharedPort


def bind_tcp(endpoint: str, option: str) -> socket.socket:
    """A listening TCP socket. Raises InvalidInputError: in use, no right, no such address."""
    family, address = _read_endpoint(endpoint)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise InvalidInputError(f"{option}: cannot listen on {endpoint}: {error.strerror}") from error
    return listener


def bind_udp(endpoint: str, workers: int, option: str) -> SharedPort:
    """A UDP port for so many workers. Raises InvalidInputError."""
    try:
        return SharedPort(*_read_endpoint(endpoint), workers)
    except OSError as error:
        raise InvalidInputError(f"{option}: cannot listen on {endpoint}: {error.strerror}") from error


def _read_endpoint(endpoint: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    address, port = split_endpoint(endpoint)
    return socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port)


def bind_unix(path: Path, *, owner: int, group: int) -> socket.socket:
    """A listening Unix socket that everybody may call; who calls is told by the kernel and judged by the server."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        os.chown(path, owner, group)
        path.chmod(0o666 if group == -1 else 0o660)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InvalidInputError(f"cannot listen on {path}: {error.strerror or error}") from error
    return listener
