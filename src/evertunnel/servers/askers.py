"""Who may ask: gateways by the address or network they ask from, with one secret each, or two while it is rotated."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

import structlog

from evertunnel.errors import UnavailableError
from evertunnel.model import Gateway
from evertunnel.protocols.radius.packet import ForgedError
from evertunnel.protocols.radius.stream import SECRET
from evertunnel.storage.gateways import RADSEC, name_radsec
from evertunnel.storage.snapshot import SealedGateway

T = TypeVar("T")
Unseal = Callable[[Gateway, bytes], bytes]

_WIDTHS = {4: 32, 6: 128}

log = structlog.get_logger()


class Asker:
    """A gateway and its secrets, the newest first. `used` are those that packets proved since it was asked last."""

    __slots__ = ("gateway", "secrets", "used")

    def __init__(self, gateway: Gateway, secrets: tuple[bytes, ...]) -> None:
        self.gateway = gateway
        self.secrets = secrets
        self.used: set[int] = set()

    def read(self, decode: Callable[[bytes, bytes], T], data: bytes) -> tuple[T, bytes]:
        """What a packet holds, and the secret it was made with, which signs its reply too. Raises PacketError.

        Two are tried at most. Who knows neither gets no answer, so nobody can measure which was tried.
        """
        if len(self.secrets) == 1:
            return decode(data, self.secrets[0]), self.secrets[0]
        for position, secret in enumerate(self.secrets):
            try:
                found = decode(data, secret)
            except ForgedError:
                continue
            self.used.add(position)
            return found, secret
        raise ForgedError("neither of the two secrets made it")


class Askers:
    """All of them. The longest prefix wins; a single address is found at once."""

    def __init__(self) -> None:
        self._by_address: dict[str, Asker] = {}
        # IP version, prefix length and network, the longest first.
        self._by_prefix: list[tuple[int, int, dict[int, Asker]]] = []
        self._rotating: list[Asker] = []

    def load(self, gateways: Iterable[tuple[Gateway, SealedGateway]], unseal: Unseal) -> None:
        """Take these and no others; one whose secret does not open is left out."""
        by_address: dict[str, Asker] = {}
        networks: dict[tuple[int, int], dict[int, Asker]] = {}
        rotating = []
        for gateway, sealed in gateways:
            if gateway.radsec:
                by_address[name_radsec(gateway.id)] = Asker(gateway, (SECRET,))
            if not gateway.radius_address:
                continue
            try:
                asker = Asker(gateway, _open_secrets(gateway, sealed, unseal))
            except UnavailableError as error:
                log.error("gateway left out", gateway=gateway.name, error=str(error))
                continue
            if len(asker.secrets) > 1:
                rotating.append(asker)
            network = ip_network(gateway.radius_address)
            if network.prefixlen == network.max_prefixlen:
                by_address[str(network.network_address)] = asker
            else:
                kept = networks.setdefault((network.version, network.prefixlen), {})
                kept[_find_prefix(network)] = asker
        self._by_address = by_address
        self._by_prefix = [(*key, networks[key]) for key in sorted(networks, key=lambda key: -key[1])]
        self._rotating = rotating

    def find(self, address: str) -> Asker | None:
        """Who may ask from an address, as the kernel writes it; or the gateway of a name that RadSec gives."""
        found = self.find_any(address)
        return found if found is not None and found.gateway.enabled else None

    def find_any(self, address: str) -> Asker | None:
        """The same, disabled or not. Who is disabled still says that the sessions he had are over."""
        found = self._by_address.get(address)
        if found is not None or address.startswith(RADSEC):
            return found
        parsed = ip_address(address.partition("%")[0])
        # An IPv4 gateway that reaches an IPv6 socket is still that gateway.
        mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
        parsed = mapped or parsed
        found = self._by_address.get(str(parsed))
        if found is not None:
            return found
        number, version = int(parsed), parsed.version
        for each_version, length, networks in self._by_prefix:
            if each_version == version:
                found = networks.get(number >> (_WIDTHS[version] - length))
                if found is not None:
                    return found
        return None

    def take_used(self) -> dict[str, set[int]]:
        """Of gateways with two secrets: which were used since this was asked last, 0 for the new one."""
        used = {asker.gateway.id: asker.used for asker in self._rotating if asker.used}
        for asker in self._rotating:
            asker.used = set()
        return used


def _open_secrets(gateway: Gateway, sealed: SealedGateway, unseal: Unseal) -> tuple[bytes, ...]:
    before = sealed.previous_secret
    newest = unseal(gateway, sealed.radius_secret)
    return (newest,) if before is None else (newest, unseal(gateway, before))


def _find_prefix(network: IPv4Network | IPv6Network) -> int:
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
