"""Nobody looks after a strongSwan any more: it keeps neither our connections nor their tunnels."""

from evertunnel.gateways.tunnels import KINDS, read_tunnel
from evertunnel.vici_connection import ViciConnection


def end_everything(connection: ViciConnection) -> None:
    """First nobody comes in any more, then whoever is in goes. Raises UnavailableError."""
    loaded = connection.list_connections()
    for name in KINDS:
        if name in loaded:
            connection.unload_connection(name)
    for section in connection.list_tunnels():
        tunnel = read_tunnel(section["name"], section)
        if tunnel.kind is not None:
            connection.terminate(tunnel.unique_id)
