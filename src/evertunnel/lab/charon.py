"""strongSwan in a namespace, without systemd, with ESP in user space: this kernel or a container's may have none."""

import os
import time
from pathlib import Path

from evertunnel.errors import UnavailableError
from evertunnel.lab.network import Network
from evertunnel.lab.processes import Processes

_BINARY = Path("/usr/sbin/charon-systemd")
_COMMON_PLUGINS = (
    "pem pkcs1 pkcs8 x509 revocation constraints pubkey openssl random nonce kdf"
    " kernel-libipsec kernel-netlink socket-default vici updown counters curl"
)
_GATEWAY = "eap-identity eap-radius"
_PLUGINS = {"gateway": _GATEWAY, "gateway2": _GATEWAY, "laptop": "eap-identity eap-tls eap-mschapv2"}


def start_charon(
    host: str,
    network: Network,
    processes: Processes,
    folder: Path,
    *,
    include: Path | None = None,
    owner: int = 0,
    more: str = "",
) -> Path:
    """Start it on a host and wait for its control socket, which is given to `owner`. Returns the socket's path.

    `more` is configuration that has the last word.
    """
    if not _BINARY.exists():
        raise UnavailableError(f"{_BINARY} is not installed: apt install charon-systemd")
    socket_path = folder / f"{host}.vici"
    socket_path.unlink(missing_ok=True)
    configuration = folder / f"{host}.strongswan.conf"
    configuration.write_text(
        f"""\
charon-systemd {{
  load = {_COMMON_PLUGINS} {_PLUGINS[host]}
  plugins {{
    vici {{
      socket = unix://{socket_path}
    }}
  }}
  filelog {{
    lab {{
      path = {folder}/{host}.charon.log
      flush_line = yes
      default = 1
    }}
  }}
}}
{f"include {include}" if include else ""}
{more}
""",
        encoding="ascii",
    )
    processes.start(
        f"charon-{host}",
        network.wrap(host, str(_BINARY)),
        environment={"STRONGSWAN_CONF": str(configuration)},
    )
    deadline = time.monotonic() + 10
    while not socket_path.exists():
        if time.monotonic() > deadline or processes.find(f"charon-{host}") is None:
            raise UnavailableError(f"strongSwan on {host} did not start; see {folder}/charon-{host}.log")
        time.sleep(0.02)
    os.chown(socket_path, owner, -1)
    return socket_path
