"""Tell systemd how we are (sd_notify(3)): one datagram to the socket it named, and nothing when it named none."""

import os
import socket


def notify(state: str) -> None:
    """For example READY=1. Nobody may be there, and serving must not end for that."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode())
        except OSError:
            return
