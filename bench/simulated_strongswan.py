"""A strongSwan that exists on its VICI socket only, with as many tunnels as wanted: no machine here holds ten thousand.

It answers as charon 5.9.8 does, in charon's order and with charon's keys, as quickly as Python can send.
"""

import selectors
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

from vici.protocol import FiniteStream, Message, Packet

from evertunnel.gateways.strongswan import USER_CONNECTION


def list_numbers(count: int) -> range:
    """Numbers of the tunnels it begins with."""
    return range(1, count + 1)


def name_user(number: int) -> str:
    """Whose tunnel it is."""
    return f"user{number}@corp.example"


def make_spi(number: int) -> str:
    """Both indexes of a tunnel."""
    return f"{number:016x}"


def build_tunnel(number: int) -> dict[str, Any]:
    """One entry of list-sas, as charon lists a user tunnel with one child."""
    spi, address = make_spi(number), f"10.{31 + number // 65536}.{number // 256 % 256}.{number % 256}"
    child = {
        "name": "net", "uniqueid": str(number), "reqid": str(number), "state": "INSTALLED", "mode": "TUNNEL",
        "protocol": "ESP", "encap": "yes", "spi-in": f"{number:08x}", "spi-out": f"{number:08x}",
        "encr-alg": "AES_GCM_16", "encr-keysize": "256", "bytes-in": "123456", "packets-in": "1234", "use-in": "1",
        "bytes-out": "654321", "packets-out": "1234", "use-out": "1", "rekey-time": "3000", "life-time": "3600",
        "install-time": "60", "local-ts": ["10.20.0.0/16"], "remote-ts": [f"{address}/32"],
    }  # fmt: skip
    return {
        "uniqueid": str(number), "version": "2", "state": "ESTABLISHED", "local-host": "198.51.100.1",
        "local-port": "4500", "local-id": "vpn.example.test", "remote-host": "203.0.113.7", "remote-port": "4500",
        "remote-id": "10.0.0.7", "remote-eap-id": name_user(number), "initiator-spi": spi, "responder-spi": spi,
        "nat-remote": "yes", "nat-any": "yes", "encr-alg": "AES_GCM_16", "encr-keysize": "256",
        "prf-alg": "PRF_HMAC_SHA2_256", "dh-group": "ECP_256", "established": "60", "rekey-time": "13000",
        "remote-vips": [address], "child-sas": {f"net-{number}": child},
    }  # fmt: skip


def _frame(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


def _event(name: str, message: Mapping[str, Any]) -> bytes:
    return _frame(struct.pack("!BB", Packet.EVENT, len(name)) + name.encode() + Message.serialize(message))


def _response(message: Mapping[str, Any]) -> bytes:
    return _frame(bytes([Packet.CMD_RESPONSE]) + Message.serialize(message))


class SimulatedStrongswan:
    """Its tunnels, and who listens."""

    def __init__(self, path: str, tunnels: int) -> None:
        self._entries = {
            number: _event("list-sa", {USER_CONNECTION: build_tunnel(number)}) for number in list_numbers(tunnels)
        }
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._ears: dict[socket.socket, set[str]] = {}

    def run(self) -> None:
        """Until it is ended."""
        while True:
            for key, _ in self._selector.select():
                own = key.fileobj
                assert isinstance(own, socket.socket)
                if own is self._listener:
                    peer, _ = own.accept()
                    self._selector.register(peer, selectors.EVENT_READ)
                    self._ears[peer] = set()
                elif not self._answer(own):
                    self._selector.unregister(own)
                    del self._ears[own]
                    own.close()

    def _answer(self, peer: socket.socket) -> bool:
        head = peer.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return False
        payload = peer.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL)
        name = payload[2 : 2 + payload[1]].decode()
        if payload[0] in (Packet.EVENT_REGISTER, Packet.EVENT_UNREGISTER):
            (self._ears[peer].add if payload[0] == Packet.EVENT_REGISTER else self._ears[peer].discard)(name)
            peer.sendall(_frame(bytes([Packet.EVENT_CONFIRM])))
            return True
        asked = Message.deserialize(FiniteStream(payload[2 + payload[1] :]))
        number = int(asked.get("ike-id", b"0"))
        match name:
            case "list-sas":
                peer.sendall(self._entries.get(number, b"") if number else b"".join(self._entries.values()))
                peer.sendall(_response({}))
            case "terminate":
                self._terminate(number)
                peer.sendall(_response({"success": "yes", "matches": "1", "terminated": "1"}))
            case "load-key":
                peer.sendall(_response({"success": "yes", "id": "00" * 20}))
            case _:
                peer.sendall(_response({"success": "yes"}))
        return True

    def _terminate(self, number: int) -> None:
        if self._entries.pop(number, None) is None:
            return
        told = _event("ike-updown", {USER_CONNECTION: {**build_tunnel(number), "state": "DELETING"}})
        for peer, ears in self._ears.items():
            if "ike-updown" in ears:
                peer.sendall(told)


def main() -> None:
    """`python -m bench.simulated_strongswan SOCKET TUNNELS`; ends with whoever started it."""
    path, tunnels = sys.argv[1], int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    simulated = SimulatedStrongswan(path, tunnels)
    simulated.run()


if __name__ == "__main__":
    main()
