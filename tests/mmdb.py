"""Writes MaxMind-format files (format 2.0): a binary tree over the bits of addresses, and a section of values."""

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_DOUBLE = 3
_MAP, _UTF8, _UINT16, _UINT32, _UINT64, _ARRAY, _BOOLEAN = 7, 2, 5, 6, 9, 11, 14
Node = list["Node | bytes | None"]


def build_mmdb(records: Mapping[str, Any], *, ip_version: int = 6, kind: str = "Test-Country") -> bytes:
    """A file that gives each network (CIDR) its record. IPv4 networks of an IPv6 file lie below ::/96."""
    root: Node = [None, None]
    for text, record in records.items():
        network = ip_network(text)
        bits = format(int(network.network_address), f"0{network.max_prefixlen}b")[: network.prefixlen]
        if isinstance(network, IPv4Network) and ip_version == 6:
            bits = "0" * 96 + bits
        _insert(root, bits, _encode(record))
    nodes = _number(root)
    data, offsets = b"", {}
    for node in nodes:
        for side in node:
            if isinstance(side, bytes) and side not in offsets:
                offsets[side] = len(data)
                data += side
    numbers = {id(node): number for number, node in enumerate(nodes)}

    def point(side: "Node | bytes | None") -> int:
        if side is None:
            return len(nodes)  # nothing is known
        return len(nodes) + 16 + offsets[side] if isinstance(side, bytes) else numbers[id(side)]

    tree = b"".join(struct.pack(">II", *(point(side) for side in node)) for node in nodes)
    metadata = {
        "binary_format_major_version": (2, _UINT16),
        "binary_format_minor_version": (0, _UINT16),
        "build_epoch": (1_770_000_000, _UINT64),
        "database_type": kind,
        "description": {"en": "made by a test"},
        "ip_version": (ip_version, _UINT16),
        "languages": ["en"],
        "node_count": (len(nodes), _UINT32),
        "record_size": (32, _UINT16),
    }
    return tree + bytes(16) + data + _MARKER + _encode(metadata)


def country(code: str) -> dict[str, Any]:
    """A record as MaxMind writes it."""
    return {"country": {"iso_code": code, "names": {"en": code}}, "registered_country": {"iso_code": "US"}}


def city(code: str, latitude: float, longitude: float, radius_km: int | None = 20) -> dict[str, Any]:
    """The same of a file of cities."""
    location: dict[str, Any] = {"latitude": latitude, "longitude": longitude}
    if radius_km is not None:
        location["accuracy_radius"] = (radius_km, _UINT16)
    return {**country(code), "city": {"names": {"en": code}}, "location": location}


def _insert(root: Node, bits: str, value: bytes) -> None:
    node = root
    for bit in bits[:-1]:
        following = node[int(bit)]
        if not isinstance(following, list):
            following = [following, following]
            node[int(bit)] = following
        node = following
    node[int(bits[-1])] = value


def _number(root: Node) -> list[Node]:
    found = [root]
    for node in found:
        found.extend(side for side in node if isinstance(side, list))
    return found


def _encode(value: Any) -> bytes:
    """Numbers are pairs with their type, which readers insist on."""
    match value:
        case bool():
            return _control(_BOOLEAN, int(value))
        case str():
            data = value.encode()
            return _control(_UTF8, len(data)) + data
        case float():
            return _control(_DOUBLE, 8) + struct.pack(">d", value)
        case (int() as number, int() as kind):
            data = number.to_bytes((number.bit_length() + 7) // 8)
            return _control(kind, len(data)) + data
        case dict():
            return _control(_MAP, len(value)) + b"".join(_encode(key) + _encode(item) for key, item in value.items())
        case list():
            return _control(_ARRAY, len(value)) + b"".join(map(_encode, value))
    raise TypeError(type(value))


def _control(kind: int, size: int) -> bytes:
    more = b""
    if size >= 29:
        assert size < 29 + 256
        more, size = bytes([size - 29]), 29
    return (bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])) + more
