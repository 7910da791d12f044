"""Packets through a tunnel, one a millisecond, and when the last one arrived.

python -m bench.traffic receive ADDRESS PORT FILE: append the arrival time of each packet to FILE
python -m bench.traffic send ADDRESS PORT SOURCE-ADDRESS: send until ended
"""

import socket
import struct
import sys
import time

_EVERY_SECONDS = 0.001


def receive(address: str, port: int, path: str) -> None:
    """Note every arrival, in seconds since 1970."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, port))
    with open(path, "ab", buffering=0) as file:
        while True:
            listener.recv(64)
            file.write(struct.pack("d", time.time()))  # noqa: TID251  a measurement, not a decision


def send(address: str, port: int, source: str) -> None:
    """Keep sending; a tunnel that went away under it is what is measured."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((source, 0))
    while True:
        try:
            sender.sendto(b"x" * 32, (address, port))
        except OSError:
            time.sleep(_EVERY_SECONDS)
        time.sleep(_EVERY_SECONDS)


if __name__ == "__main__":
    verb, host, number, last = sys.argv[1:5]
    (receive if verb == "receive" else send)(host, int(number), last)
