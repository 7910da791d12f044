"""Ends one tunnel, and no other that has its number now."""

from evertunnel.gateways.control import Control
from evertunnel.gateways.tunnels import read_tunnel


def terminate_tunnel(connection: Control, unique_id: int, spis: str) -> None:
    """End it if the number is still its own: strongSwan counts from 1 again after a restart."""
    for section in connection.list_tunnels(unique_id):
        if read_tunnel(section["name"], section).spis == spis:
            connection.terminate(unique_id)
