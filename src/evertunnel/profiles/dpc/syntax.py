"""What DPC takes in its settings: items of another form it drops with a warning, or refuses the profile for them.

Restated from DPC 5.2 (ld0614/DPC, its reference and checks); from documentation only.
"""

import re
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network, summarize_address_range
from typing import Literal, get_args

from evertunnel.profiles.model import Network, Protocol

DPCTunnel = Literal["UserTunnel", "UserBackupTunnel", "MachineTunnel"]
TUNNELS: tuple[DPCTunnel, ...] = get_args(DPCTunnel)

# RAS strategies that DPC offers.
STRATEGIES: dict[int, tuple[Protocol, ...]] = {
    5: (Protocol.SSTP,),
    6: (Protocol.SSTP, Protocol.IKEV2),
    7: (Protocol.IKEV2,),
    14: (Protocol.IKEV2, Protocol.SSTP),
}
# DPC sends these through a split tunnel that has no routes.
DEFAULT_ROUTES = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
# DPC reads numbers as signed, and fails over negative ones.
LARGEST_NUMBER = 2**31 - 1
LONGEST_XML = 16_000

_LABEL = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NETWORK_LABEL = re.compile(r"(?![0-9]+$)(?!-)[^\W_][\w -]{0,62}(?<!-)|_[\w -]{0,62}(?<!-)")
_OID = re.compile(r"(?:[1-9][0-9]{0,3}|0)(?:\.(?:[1-9][0-9]*|0)){4,20}")
_PACKAGE = re.compile(r"[A-Za-z0-9.-]+_[A-Za-z0-9]+")
_FILE = re.compile(r"[A-Za-z]:\\[^<>\"|?*/:]{1,240}")
_VARIABLE_FILE = re.compile(r"%[A-Za-z0-9_()]{1,40}%\\[^<>\"|?*/:%]{1,240}")


def is_server(text: str) -> bool:
    """A full name with a dot, as DPC takes it for the server and for policy servers; no address, no wildcard."""
    return 0 < len(text) <= 253 and "." in text and all(map(_LABEL.fullmatch, text.split(".")))


def is_domain(text: str) -> bool:
    """A name for suffixes and name rules: with a leading dot it covers all below, a lone dot everything."""
    return text == "." or is_server(text.lstrip("."))


def is_trusted_network(text: str) -> bool:
    """The name of a network's profile; here a single label is enough."""
    labels = text.lstrip(".").split(".")
    return text == "." or (0 < len(text) <= 253 and all(map(_NETWORK_LABEL.fullmatch, labels)))


def is_oid(text: str) -> bool:
    """An object identifier of at least five numbers."""
    return _OID.fullmatch(text) is not None


def is_route(network: Network) -> bool:
    """DPC takes neither a prefix of length 0 nor a network that begins at ::."""
    return network.prefixlen > 0 and (network.version == 4 or int(network.network_address) != 0)


def is_app(text: str) -> bool:
    """SYSTEM, a package family name, or the full path of a file."""
    return text.upper() == "SYSTEM" or any(form.fullmatch(text) for form in (_PACKAGE, _FILE, _VARIABLE_FILE))


def has_variable(text: str) -> bool:
    """A path that begins with an environment variable: DPC expands it only in a REG_EXPAND_SZ."""
    return _VARIABLE_FILE.fullmatch(text) is not None


def convert_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The IPv4 part of address ranges without `a-b`, which DPC does not take; each range becomes its networks."""
    result: list[str] = []
    for text in texts:
        first, dash, last = text.partition("-")
        if dash:
            low, high = ip_address(first), ip_address(last)
            if isinstance(low, IPv4Address) and isinstance(high, IPv4Address):
                networks = summarize_address_range(low, high)
                result += [str(network) for network in networks if network.prefixlen]
        elif ":" not in text and ip_network(text, strict=False).prefixlen:
            # Alone, DPC refuses 0.0.0.0.
            result.append("0.0.0.0/32" if text == "0.0.0.0" else text)  # noqa: S104
    return tuple(dict.fromkeys(result))
