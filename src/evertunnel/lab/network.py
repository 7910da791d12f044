"""The lab's network: four namespaces joined by veth pairs. Documentation addresses outside, private ones inside.

laptop 198.51.100.20 --- internet --- 192.0.2.10 gateway 10.20.0.1 --- 10.20.0.10, 10.20.0.80 corp
"""

import subprocess
from dataclasses import dataclass

from evertunnel.errors import UnavailableError

GATEWAY_ADDRESS = "192.0.2.10"
LAPTOP_ADDRESS = "198.51.100.20"
CORP_INFRASTRUCTURE_ADDRESS = "10.20.0.10"
CORP_INTRANET_ADDRESS = "10.20.0.80"
# Both hold an address of the gateway: ESP in user space takes it as the source of its routes.
DEVICE_NETWORK = "10.20.0.0/28"
USER_NETWORK = "10.20.0.0/16"


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
        for host in ("internet", "gateway", "laptop", "corp"):
            self._ip("netns", "add", self.namespace(host))
            self._ip("-n", self.namespace(host), "link", "set", "lo", "up")
        self._join("internet", "to-gateway", "192.0.2.1/24", "gateway", "outside", f"{GATEWAY_ADDRESS}/24")
        self._join("internet", "to-laptop", "198.51.100.1/24", "laptop", "outside", f"{LAPTOP_ADDRESS}/24")
        self._join("gateway", "inside", "10.20.0.1/24", "corp", "inside", f"{CORP_INFRASTRUCTURE_ADDRESS}/24")
        self._ip("-n", self.namespace("corp"), "address", "add", f"{CORP_INTRANET_ADDRESS}/24", "dev", "inside")
        self._ip("-n", self.namespace("gateway"), "route", "add", "default", "via", "192.0.2.1")
        self._ip("-n", self.namespace("laptop"), "route", "add", "default", "via", "198.51.100.1")
        self._ip("-n", self.namespace("corp"), "route", "add", "default", "via", "10.20.0.1")
        for host in ("internet", "gateway"):
            self._run(*self.wrap(host, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))

    def remove(self) -> None:
        """Remove every namespace of this lab that exists; cables go with them."""
        existing = {line.split()[0] for line in self._run("ip", "netns", "list").splitlines() if line}
        for host in ("laptop", "corp", "gateway", "internet"):
            if self.namespace(host) in existing:
                self._ip("netns", "del", self.namespace(host))

    def set_link(self, host: str, link: str, *, up: bool) -> None:
        """Plug a cable in or out."""
        self._ip("-n", self.namespace(host), "link", "set", link, "up" if up else "down")

    def _join(self, host: str, link: str, address: str, other_host: str, other_link: str, other_address: str) -> None:
        left, right = self.namespace(host), self.namespace(other_host)
        self._ip("link", "add", link, "netns", left, "type", "veth", "peer", "name", other_link, "netns", right)
        for namespace, name, own in ((left, link, address), (right, other_link, other_address)):
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
