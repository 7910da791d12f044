"""Tunnels of a gateway that change at moments which no real one can be made to choose."""

from evertunnel.vici_connection import Section, ViciConnection


def make_tunnel(number: int, identity: str) -> Section:
    spi = f"{number:016x}"
    return {
        "name": "evertunnel-user", "uniqueid": str(number), "state": "ESTABLISHED",
        "initiator-spi": spi, "responder-spi": spi, "remote-eap-id": identity,
    }  # fmt: skip


class Tunnels(ViciConnection):
    """What a gateway lists, and what it was told to end."""

    def __init__(self, *tunnels: Section) -> None:
        super().__init__("/nowhere")
        self.listings = 0
        self.tunnels = {int(tunnel["uniqueid"]): tunnel for tunnel in tunnels}

    def flush_certificates(self) -> None:
        pass

    def terminate(self, unique_id: int) -> None:
        self.tunnels.pop(unique_id, None)

    def list_tunnels(self, unique_id: int | None = None, *, children: bool = True) -> list[Section]:  # noqa: ARG002
        self.listings += unique_id is None
        return [tunnel for number, tunnel in self.tunnels.items() if unique_id in (None, number)]
