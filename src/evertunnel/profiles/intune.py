"""Intune: the profile as a custom OMA-URI configuration, written and read (Graph windows10CustomConfiguration)."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.findings import Finding, Level, Place, Reading
from evertunnel.profiles.model import Profile
from evertunnel.profiles.profile_xml import build_profile_xml, limit_profile
from evertunnel.profiles.read_profile_xml import read_profile_xml

CUSTOM_TYPE = "#microsoft.graph.windows10CustomConfiguration"
_XML_TYPE = "#microsoft.graph.omaSettingStringXml"
_TEXT_TYPE = "#microsoft.graph.omaSettingString"
_ESCAPED = re.compile(r"(?:[A-Za-z0-9._~!*'()$&+,;=:@-]|%[0-9A-Fa-f]{2})+")
_ROOTS = {TunnelKind.USER: "./User/Vendor/MSFT/VPNv2/", TunnelKind.DEVICE: "./Device/Vendor/MSFT/VPNv2/"}


def limit_custom(profile: Profile) -> tuple[Profile, list[str]]:
    """What the configuration can say: what ProfileXML can."""
    return limit_profile(profile, Target.INTUNE)


def build_custom(profile: Profile) -> dict[str, Any]:
    """The body for `POST /deviceManagement/deviceConfigurations`. Raises InvalidInputError."""
    # On one line: Intune was seen to stumble over line breaks.
    document = build_profile_xml(profile, Target.INTUNE, indent="")
    return {
        "@odata.type": CUSTOM_TYPE,
        "displayName": profile.name,
        "description": f"Evertunnel profile, version {profile.version}",
        "omaSettings": [
            {
                "@odata.type": _XML_TYPE,
                "displayName": "ProfileXML",
                "description": "",
                "omaUri": f"{_ROOTS[profile.tunnel]}{quote(profile.name, safe='')}/ProfileXML",
                "fileName": "profile.xml",
                "value": base64.b64encode(document.encode()).decode(),
            }
        ],
    }


def _check_uri(uri: str, profile: Profile, path: str) -> Iterator[Finding]:
    """The scope and the name stand in the URI alone."""
    device = profile.tunnel is TunnelKind.DEVICE
    if device and uri.lower().startswith("./user/"):
        yield Finding(
            Level.ERROR, "oma-scope", "tunnel", "a device tunnel stands in the scope of the user",
            "Windows makes a device tunnel in the scope of the device only", f"write {_ROOTS[profile.tunnel]}",
            path=path,
        )  # fmt: skip
    if not device and not uri.lower().startswith("./user/"):
        yield Finding(
            Level.ADVICE, "oma-scope", "tunnel", "a user tunnel stands in the scope of the device",
            "it is then there for everybody who uses the computer", f"write {_ROOTS[profile.tunnel]}, if it is for one",
            path=path,
        )  # fmt: skip
    name = uri.split("/")[-2]
    if not _ESCAPED.fullmatch(name):
        yield Finding(
            Level.ERROR, "oma-name", "name", f"the name {name[:60]!r} is not escaped in the URI",
            "Windows finds no node of that name", f"write {quote(unquote(name), safe='')}", path=path,
        )  # fmt: skip


def read_custom(document: Mapping[str, Any]) -> list[Reading]:
    """Every VPN profile among the settings. Raises InvalidInputError with the JSON path."""
    settings = document.get("omaSettings")
    if not isinstance(settings, list):
        raise InvalidInputError("$.omaSettings: must be a list")
    readings = []
    for index, setting in enumerate(settings):
        path = f"$.omaSettings[{index}]"
        if not isinstance(setting, Mapping):
            raise InvalidInputError(f"{path}: must be an object")
        uri, value = str(setting.get("omaUri", "")), setting.get("value")
        parts = uri.split("/")
        if "vpnv2" not in uri.lower() or parts[-1].lower() != "profilexml":
            continue
        if not isinstance(value, str):
            raise InvalidInputError(f"{path}.value: must be a text")
        text = value
        if setting.get("@odata.type") != _TEXT_TYPE:
            try:
                text = base64.b64decode(value, validate=True).decode("utf-8-sig")
            except ValueError as error:
                raise InvalidInputError(f"{path}.value: is no base64 of UTF-8 text: {error}") from None
        reading = read_profile_xml(text, name=unquote(parts[-2]))
        # The name is the URI's; one inside the XML is not looked at by Windows.
        profile = replace(reading.profile, name=unquote(parts[-2]))
        places = {field: Place(f"{path}.value: {place.path}", place.line) for field, place in reading.places.items()}
        findings = (
            *(replace(finding, path=f"{path}.value: {finding.path}") for finding in reading.findings),
            *_check_uri(uri, profile, f"{path}.omaUri"),
        )
        readings.append(Reading("intune-custom", profile, findings, places))
    if not readings:
        raise InvalidInputError("$.omaSettings: none of them is a VPNv2 ProfileXML")
    return readings
