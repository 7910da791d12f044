"""Whether a device's own tunnel is up from where its user connects, which a policy may demand of a user tunnel."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address


def find_own_tunnel(tunnel_addresses: Iterable[str], client_address: str) -> tuple[bool | None, str]:
    """Yes or no, and in words. None: the client's address cannot be read, so nothing is known.

    `tunnel_addresses` are those of the live device tunnels of the device in the user's certificate. Behind one address
    may be many computers: that is why it must be this device's tunnel, and why the address alone proves nothing.
    """
    address = _read_address(client_address)
    if address is None:
        return None, "the client's address is not known"
    found = [_read_address(text) for text in tunnel_addresses]
    if address in found:
        return True, f"the device's own tunnel is up from {address}"
    elsewhere = ", ".join(str(each) for each in found if each is not None)
    return False, f"the device's own tunnel is up from {elsewhere}, not from {address}" if elsewhere else (
        "the device's own tunnel is not up"
    )


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as gateways write it, with a port in brackets or a zone or without; IPv4 in IPv6 is IPv4."""
    try:
        address = ip_address(text.partition("[")[0].partition("%")[0].strip())
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
