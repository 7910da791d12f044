"""What strongSwan says of a tunnel, as our words. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evertunnel.gateways.strongswan import DEVICE_CONNECTION, USER_CONNECTION
from evertunnel.model import TunnelKind

KINDS = {DEVICE_CONNECTION: TunnelKind.DEVICE, USER_CONNECTION: TunnelKind.USER}

# Our device certificates: CN is the DNS name, serialNumber the certificate's id. Both charsets need no escaping, so
# a claimed identity with anything else in it (wildcards, commas, more parts) is not one of them.
_DEVICE_NAME = re.compile(r"CN=(?P<name>[a-z0-9.-]+), serialNumber=(?P<certificate>[0-9a-f]{16})")

# States of a CHILD_SA that is listed and carries nothing any more.
_GONE = frozenset({"DELETING", "DELETED", "DESTROYING"})


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One IKE_SA. `kind` is None when it belongs to a connection that is not ours.

    `children` are the octets in and out that each CHILD_SA counts, by its indexes; `carries` says whether any of them
    is there to stay. `leaving` waits for the client to agree that it is over, and passes traffic until then.
    """

    unique_id: int
    kind: TunnelKind | None
    established: bool
    connecting: bool
    leaving: bool
    spis: str
    remote_address: str
    claimed_identity: str
    virtual_addresses: str
    children: Mapping[str, tuple[int, int]]
    carries: bool


def read_tunnel(name: str, section: Mapping[str, Any]) -> Tunnel:
    """A tunnel from an entry of list-sas or the section of an ike-updown event."""
    children = section.get("child-sas") or {}
    return Tunnel(
        unique_id=int(section.get("uniqueid", 0)),
        kind=KINDS.get(name),
        established=section.get("state") == "ESTABLISHED",
        connecting=section.get("state") == "CONNECTING",
        leaving=section.get("state") == "DELETING",
        spis=f"{section.get('initiator-spi', '')}:{section.get('responder-spi', '')}",
        remote_address=read_address(section.get("remote-host", "")),
        claimed_identity=str(section.get("remote-eap-id") or section.get("remote-id") or "")[:256],
        virtual_addresses=" ".join(section.get("remote-vips", []))[:200],
        children=dict(_read_child(child) for child in children.values()),
        carries=any(child.get("state") not in _GONE for child in children.values()),
    )


def read_address(value: object) -> str:
    """A host as strongSwan writes it."""
    return str(value)[:64]


def _read_child(section: Mapping[str, Any]) -> tuple[str, tuple[int, int]]:
    section = section.get("old", section)  # a rekey names both; the new one has counted nothing yet
    indexes = f"{section.get('spi-in', '')}:{section.get('spi-out', '')}"
    return indexes, (int(section.get("bytes-in", 0)), int(section.get("bytes-out", 0)))


def find_device_certificate_id(identity: str) -> str | None:
    """The id of the device certificate whose subject an identity is, letter for letter; None for any other.

    charon lets a peer claim any identity its certificate matches, wildcards included. A subject that no other
    certificate has leaves a peer nothing else to claim than itself.
    """
    match = _DEVICE_NAME.fullmatch(identity)
    return match["certificate"] if match else None
