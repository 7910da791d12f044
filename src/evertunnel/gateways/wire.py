"""VICI's sections as messages between agent and server, and back. Pure.

The agent leaves out what nobody reads and cuts what is too long; the server takes nothing that its own rules do not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evertunnel.gateways.tunnels import KINDS
from evertunnel.protocols.agent.frames import FRAME_BYTES
from evertunnel.protocols.agent.messages import TUNNELS_AT_ONCE, Child, Children, Event, TunnelSection, encode_message
from evertunnel.vici_connection import Section

_TEXTS = {
    "state": 64, "initiator-spi": 64, "responder-spi": 64, "remote-host": 64, "remote-id": 600, "remote-eap-id": 600,
}  # fmt: skip
_CHILD_TEXTS = ("spi-in", "spi-out", "state")
_CHILDREN_AT_MOST = 64
# What a frame holds besides tunnels or events. One of them alone always fits: all that is in it is bounded.
PART_BYTES = FRAME_BYTES - 8 * 1024


def is_ours(name: str) -> bool:
    """Whether a tunnel's connection is one of those we load; the gateway's others are nobody's business."""
    return name in KINDS


def encode_tunnel(name: str, section: Mapping[str, Any]) -> TunnelSection:
    """A section of list-sas or of an event."""
    values: dict[str, Any] = {"name": name[:64], "uniqueid": _digits(section.get("uniqueid"), 18)}
    values |= {key: str(section[key])[:length] for key, length in _TEXTS.items() if key in section}
    values["remote-vips"] = [str(address)[:64] for address in section.get("remote-vips", ())][:16]
    children = list((section.get("child-sas") or {}).items())[:_CHILDREN_AT_MOST]
    values["child-sas"] = {str(child)[:64]: _encode_child(found) for child, found in children}
    return TunnelSection.model_validate(values)


def decode_tunnel(tunnel: TunnelSection) -> Section:
    """As VICI would have said it."""
    return tunnel.model_dump(by_alias=True, exclude_none=True)


def encode_event(name: str, message: Mapping[str, Any]) -> list[Event]:
    """What an event of VICI says of our connections."""
    if name == "log":
        number, group = str(message.get("ikesa-uniqueid", "")), str(message.get("group", ""))
        if not number.isascii() or not number.isdigit():
            return []
        return [Event(name="log", group=group[:64], number=number[:18], line=str(message.get("msg", ""))[:1000])]
    up = message.get("up") == "yes"
    found = []
    for connection, section in message.items():
        if not isinstance(section, Mapping) or not is_ours(connection):
            continue
        if name == "ike-rekey":
            old, new = (encode_tunnel(connection, section[which]) for which in ("old", "new"))
            found.append(Event(name="ike-rekey", tunnel=new, old=old))
        else:
            # Beside a tunnel that moves stands where to.
            address = {"remote-host": message["remote-host"]} if "remote-host" in message else {}
            tunnel = encode_tunnel(connection, {**section, **address})
            found.append(Event.model_validate({"name": name, "up": up, "tunnel": tunnel}))
    return found


def decode_event(event: Event) -> tuple[str, Section]:
    """As VICI would have said it. Raises ValueError for an event without its tunnel."""
    if event.name == "log":
        return "log", {"group": event.group, "ikesa-uniqueid": event.number, "msg": event.line}
    if event.tunnel is None or (event.name == "ike-rekey") != (event.old is not None):
        raise ValueError(f"an {event.name} without its tunnel")
    section = decode_tunnel(event.tunnel)
    connection = section["name"]
    if event.old is not None:
        return event.name, {connection: {"old": decode_tunnel(event.old), "new": section}}
    return event.name, {"up": "yes" if event.up else "no", connection: section}


def split(tunnels: Sequence[TunnelSection]) -> list[list[TunnelSection]]:
    """Parts that each fit into a frame, by number and by bytes; one empty part for none.

    A client chooses how many children its tunnel has: it must not be able to make a listing that cannot be sent.
    """
    parts: list[list[TunnelSection]] = [[]]
    filled = 0
    for tunnel in tunnels:
        length = measure(tunnel)
        if parts[-1] and (len(parts[-1]) == TUNNELS_AT_ONCE or filled + length > PART_BYTES):
            parts.append([])
            filled = 0
        parts[-1].append(tunnel)
        filled += length
    return parts


def measure(message: TunnelSection | Event) -> int:
    """Bytes that it takes in a list, in a frame."""
    return len(encode_message(message)) + 1


def _encode_child(section: Mapping[str, Any]) -> Child | Children:
    if "old" in section:  # a rekey names both
        return Children(old=_encode_one_child(section["old"]))
    return _encode_one_child(section)


def _encode_one_child(section: Mapping[str, Any]) -> Child:
    values = {key: str(section[key])[:64] for key in _CHILD_TEXTS if key in section}
    values |= {key: _digits(section.get(key), 20) for key in ("bytes-in", "bytes-out")}
    return Child.model_validate(values)


def _digits(value: object, length: int) -> str:
    text = str(value or "0")
    return text[:length] if text.isascii() and text.isdigit() else "0"
