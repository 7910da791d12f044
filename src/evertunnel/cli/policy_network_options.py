"""The options of network policies, which add and change share, and where in a document their values stand."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

Deny = Annotated[bool | None, typer.Option("--deny/--grant", help="What it does.")]
Tunnel = Annotated[str | None, typer.Option(help="Condition: user or device.")]
Users = Annotated[list[str] | None, typer.Option(help="Condition: one of these users.")]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        help="Condition: in one of these groups; granting: the user of a user tunnel, the device of a device "
        "tunnel; denying: either."
    ),
]
UserGroups = Annotated[list[str] | None, typer.Option(help="Condition: the user is in one of these.")]
DeviceGroups = Annotated[list[str] | None, typer.Option(help="Condition: the device is in one of these.")]
Devices = Annotated[list[str] | None, typer.Option(help="Condition: one of these devices.")]
Gateways = Annotated[list[str] | None, typer.Option(help="Condition: on one of these gateways.")]
DeviceTunnel = Annotated[
    bool, typer.Option("--device-tunnel", help="Condition: the device's own tunnel is up from the same address.")
]
Usages = Annotated[list[str] | None, typer.Option(help="Demand a certificate with one of these usages.")]
Timeout = Annotated[int | None, typer.Option(help="End the tunnel after so many seconds.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="Allow this method, the first named is offered first: eap-tls, peap-eap-tls, eap-mschapv2 or "
        "peap-eap-mschapv2; default: the first two. The others are weak and must be switched on."
    ),
]
Unbound = Annotated[bool, typer.Option("--without-crypto-binding", help="Take PEAP clients that cannot bind. Weak.")]

# Where in a document the value of an option stands.
PLACES = {
    "tunnel": ("conditions", "tunnel"),
    "user": ("conditions", "users"),
    "group": ("conditions", "groups"),
    "user-group": ("conditions", "user_groups"),
    "device-group": ("conditions", "device_groups"),
    "device": ("conditions", "devices"),
    "gateway": ("conditions", "gateways"),
    "device-tunnel": ("conditions", "device_tunnel"),
    "certificate-oid": ("settings", "allowed_certificate_oids"),
    "session-timeout": ("settings", "session_timeout_seconds"),
    "method": ("settings", "authentication_methods"),
    "without-crypto-binding": ("settings", "without_crypto_binding"),
}


def sort_given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a command was given of these options, as a document has it. They are found by the names of its parameters.

    An empty text or a zero was given too, and the server says what is wrong with it.
    """
    document: dict[str, Any] = {"conditions": {}, "settings": {}}
    for word, (section, key) in PLACES.items():
        value = parameters[word.replace("-", "_")]
        if value is None or value is False or value == []:
            continue
        document[section][key] = value
    return document
