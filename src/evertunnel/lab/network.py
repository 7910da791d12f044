"""The lab's network: five namespaces joined by veth pairs. Documentation addresses outside, private ones inside.

laptop 198.51.100.20 --- internet --- 192.0.2.10 gateway 10.20.0.1 --------- 10.20.0.10, 10.20.0.80 corp
                            |           172.30.0.1 | `manage`                        |
                            |           172.30.0.2 |                                 |
                            +------ 203.0.113.10 gateway2 10.20.0.2 -----------------+
"""

import subprocess
from dataclasses import dataclass

from evertunnel.errors import UnavailableError

GATEWAY_ADDRESS = "192.0.2.10"
SECOND_GATEWAY_ADDRESS = "203.0.113.10"
# Where the server and the second gateway speak with each other, and nobody else.
SERVER_MANAGE_ADDRESS, SECOND_GATEWAY_MANAGE_ADDRESS = "172.30.0.1", "172.30.0.2"
MANAGE_LINK = "manage"
LAPTOP_ADDRESS = "198.51.100.20"
CORP_INFRASTRUCTURE_ADDRESS = "10.20.0.10"
CORP_INTRANET_ADDRESS = "10.20.0.80"
# Both hold an address of the gateway: ESP in user space takes it as the source of its routes.
DEVICE_NETWORK = "10.20.0.0/28"
USER_NETWORK = "10.20.0.0/16"
SECOND_DEVICE_POOL, SECOND_USER_POOL = "10.32.0.0/20", "10.33.0.0/20"
_HOSTS = ("internet", "gateway", "gateway2", "laptop", "corp")


@dataclass(frozen=True, slots=True)
class Network:
    """The namespaces of one lab; two labs differ in their prefix."""

    prefix: str

    def namespace(self, host: str) -> str:
        """The name of a host's namespace."""
        return f"{self.prefix}-{host}"

    def wrap(self, host: str, *command: str) -> list[str]:
        """A command that runs on a host of the lab."""
        return ["ip", "netns", "exec", self.namespace(host), *command]

    def build(self) -> None:
        """Make namespaces, cables, addresses and routes. Raises UnavailableError."""
        for host in _HOSTS:
            self._ip("netns", "add", self.namespace(host))
            self._ip("-n", self.namespace(host), "link", "set", "lo", "up")
        self._join("internet", "to-gateway", "192.0.2.1/24", "gateway", "outside", f"{GATEWAY_ADDRESS}/24")
        self._join("internet", "to-laptop", "198.51.100.1/24", "laptop", "outside", f"{LAPTOP_ADDRESS}/24")
        self._join("internet", "to-gateway2", "203.0.113.1/24", "gateway2", "outside", f"{SECOND_GATEWAY_ADDRESS}/24")
        self._join(
            "gateway", MANAGE_LINK, f"{SERVER_MANAGE_ADDRESS}/30",
            "gateway2", MANAGE_LINK, f"{SECOND_GATEWAY_MANAGE_ADDRESS}/30",
        )  # fmt: skip
        self._join("gateway", "inside", "10.20.0.1/24", "corp", "port1")
        self._join("gateway2", "inside", "10.20.0.2/24", "corp", "port2")
        corp = "-n", self.namespace("corp")
        self._ip(*corp, "link", "add", "inside", "type", "bridge")
        for port in ("port1", "port2"):
            self._ip(*corp, "link", "set", port, "master", "inside")
        for address in (CORP_INFRASTRUCTURE_ADDRESS, CORP_INTRANET_ADDRESS):
            self._ip(*corp, "address", "add", f"{address}/24", "dev", "inside")
        self._ip(*corp, "link", "set", "inside", "up")
        self._ip("-n", self.namespace("gateway"), "route", "add", "default", "via", "192.0.2.1")
        self._ip("-n", self.namespace("laptop"), "route", "add", "default", "via", "198.51.100.1")
        self._ip("-n", self.namespace("gateway2"), "route", "add", "default", "via", "203.0.113.1")
        self._ip(*corp, "route", "add", "default", "via", "10.20.0.1")
        for pool in (SECOND_DEVICE_POOL, SECOND_USER_POOL):
            self._ip(*corp, "route", "add", pool, "via", "10.20.0.2")
        for host in ("internet", "gateway", "gateway2"):
            self._run(*self.wrap(host, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))

    def remove(self) -> None:
        """Remove every namespace of this lab that exists; cables go with them."""
        existing = {line.split()[0] for line in self._run("ip", "netns", "list").splitlines() if line}
        for host in reversed(_HOSTS):
            if self.namespace(host) in existing:
                self._ip("netns", "del", self.namespace(host))

    def set_link(self, host: str, link: str, *, up: bool) -> None:
        """Plug a cable in or out."""
        self._ip("-n", self.namespace(host), "link", "set", link, "up" if up else "down")

    def _join(
        self, host: str, link: str, address: str, other_host: str, other_link: str, other_address: str = ""
    ) -> None:
        left, right = self.namespace(host), self.namespace(other_host)
        self._ip("link", "add", link, "netns", left, "type", "veth", "peer", "name", other_link, "netns", right)
        for namespace, name, own in ((left, link, address), (right, other_link, other_address)):
            if own:
                self._ip("-n", namespace, "address", "add", own, "dev", name)
            self._ip("-n", namespace, "link", "set", name, "up")

    def _ip(self, *arguments: str) -> None:
        self._run("ip", *arguments)

    @staticmethod
    def _run(*command: str) -> str:
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
        except FileNotFoundError as error:
            raise UnavailableError(f"{command[0]} is not installed: apt install iproute2") from error
        except subprocess.CalledProcessError as error:
            raise UnavailableError(f"{' '.join(command)}: {error.stderr.strip()}") from error
        return done.stdout
