"""Ends one tunnel, and no other that has its number now."""

from evertunnel.gateways.tunnels import read_tunnel
from evertunnel.vici_connection import ViciConnection


def terminate_tunnel(connection: ViciConnection, unique_id: int, spis: str) -> None:
    """End it if the number is still its own: strongSwan counts from 1 again after a restart."""
    for section in connection.list_tunnels(unique_id):
        if read_tunnel(section["name"], section).spis == spis:
            connection.terminate(unique_id)
