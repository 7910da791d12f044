"""Nobody looks after a strongSwan any more: it keeps neither our connections nor their tunnels."""

from pathlib import Path

from evertunnel.gateways.files import FRAGMENT_MODE, write_file
from evertunnel.gateways.tunnels import KINDS, read_tunnel
from evertunnel.vici_connection import ViciConnection


def end_everything(connection: ViciConnection, fragment: Path) -> None:
    """First nobody comes in any more, then whoever is in goes. Raises UnavailableError.

    The policy server does not know the gateway any more: strongSwan would wait seconds for it to take the last count of
    each tunnel, so it is told first that there is none.
    """
    write_file(fragment, "# Nobody looks after this gateway any more.\n", mode=FRAGMENT_MODE)
    connection.reload_settings()
    loaded = connection.list_connections()
    for name in KINDS:
        if name in loaded:
            connection.unload_connection(name)
    for section in connection.list_tunnels():
        tunnel = read_tunnel(section["name"], section)
        if tunnel.kind is not None:
            connection.terminate(tunnel.unique_id)
