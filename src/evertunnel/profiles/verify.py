"""What every profile must satisfy before any format is written: values that could become something else are refused.

Lists in ProfileXML are text with commas, ServerNames with semicolons; a comma inside an item would be two items on the
client. Control characters cannot stand in XML, .reg or swanctl.conf at all.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.model import EAPTLS, PEAP, OtherEAP, PortRange, Profile, Protocol, Unknown

_LONGEST_TEXT = 16_000
_MOST_ITEMS = 1_000
# No white space, separators, quotes, or what a shell, XML or a configuration file could read as its own.
_TOKEN = re.compile(r"[^\s,;\"'`<>&|{}()\\#=%$!^*?\[\]~]{1,255}")
_URL = re.compile(r"https?://[^\s\"'`<>{}|\\^]{1,2000}")
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,18})){1,30}(?:\.\*)?")


def verify_profile(profile: Profile) -> None:
    """Raise InvalidInputError with the field that cannot be carried to a client, and why."""
    _verify_texts(profile, "")
    if not profile.name.strip() or profile.name != profile.name.strip() or len(profile.name) > 128:
        _refuse("name", profile.name, "1 to 128 characters, no blanks around")
    if "/" in profile.name or "\\" in profile.name:
        _refuse("name", profile.name, "no / and no \\, it becomes part of the client's path")
    if not profile.servers:
        raise InvalidInputError("servers: give at least one server")
    for index, server in enumerate(profile.servers):
        _verify_token(f"servers[{index}].address", server.address)
        if any(separator in server.label for separator in ",;"):
            _refuse(f"servers[{index}].label", server.label, "no comma and no semicolon")
    if not profile.protocols or (Protocol.AUTOMATIC in profile.protocols and len(profile.protocols) > 1):
        raise InvalidInputError("protocols: give at least one; Automatic stands alone")
    if len(set(profile.protocols)) != len(profile.protocols):
        raise InvalidInputError("protocols: each may stand once")
    for name in ("dns_suffixes", "trusted_networks"):
        for index, item in enumerate(getattr(profile, name)):
            _verify_token(f"{name}[{index}]", item)
    for index, rule in enumerate(profile.name_rules):
        _verify_token(f"name_rules[{index}].domain", rule.domain)
        _verify_addresses(f"name_rules[{index}].servers", rule.servers)
        if rule.proxy:
            _verify_token(f"name_rules[{index}].proxy", rule.proxy)
    _verify_filters(profile)
    _verify_authentication(profile)
    if profile.proxy and profile.proxy.server:
        _verify_token("proxy.server", profile.proxy.server)
    if profile.proxy and profile.proxy.auto_config_url and not _URL.fullmatch(profile.proxy.auto_config_url):
        _refuse("proxy.auto_config_url", profile.proxy.auto_config_url, "a URL beginning with http:// or https://")
    for index, item in enumerate(profile.proxy.exceptions if profile.proxy else ()):
        _verify_token(f"proxy.exceptions[{index}]", item.replace("*", "x"))
    for name, low, high in (
        ("protocol_retry_hours", 0, 500_000),
        ("network_outage_seconds", 0, 2**32 - 1),
        ("ipv4_metric", 1, 9999),
        ("ipv6_metric", 1, 9999),
    ):
        number = getattr(profile, name)
        if number is not None and not low <= number <= high:
            raise InvalidInputError(f"{name}: {number} is not between {low} and {high}")
    for index, route in enumerate(profile.routes):
        if not 0 <= route.metric < 2**32:
            raise InvalidInputError(f"routes[{index}].metric: {route.metric} is not between 0 and {2**32 - 1}")


def _verify_authentication(profile: Profile) -> None:
    method = profile.authentication
    trusts = [method.trust] if isinstance(method, EAPTLS | PEAP) else []
    selections = []
    if isinstance(method, PEAP) and isinstance(method.inner, EAPTLS):
        trusts.append(method.inner.trust)
    if profile.selection is not None:
        selections.append(profile.selection)
    for trust in trusts:
        for index, name in enumerate(trust.names):
            if not name.strip() or ";" in name:
                _refuse(f"authentication.trust.names[{index}]", name, "a name, without semicolon")
        _verify_hashes("authentication.trust.roots", trust.roots)
    for selection in selections:
        _verify_hashes("authentication.selection.issuers", selection.issuers)
        for usage in (*selection.usages, *selection.any_purpose_usages):
            if not usage.name.strip():
                raise InvalidInputError("authentication.selection.usages: a usage needs a name")
            _verify_oid("authentication.selection.usages", usage.oid)
    for oid in getattr(method, "usages", ()):
        _verify_oid("authentication.usages", oid)
    if isinstance(method, OtherEAP):
        if not 0 < method.type < 256:
            raise InvalidInputError(f"authentication.type: {method.type} is no EAP type")
        if method.type in (13, 25, 26):
            # Carried along as text, no rule would look into it.
            raise InvalidInputError(f"authentication.type: {method.type} has a form of its own here, not other-eap")
    if profile.entra and profile.entra.single_sign_on:
        _verify_hashes("entra.single_sign_on.issuers", profile.entra.single_sign_on.issuers)
        for oid in profile.entra.single_sign_on.usages:
            _verify_oid("entra.single_sign_on.usages", oid)


def _verify_filters(profile: Profile) -> None:
    for index, item in enumerate(profile.traffic_filters):
        at = f"traffic_filters[{index}]"
        if item.protocol is not None and not 0 <= item.protocol <= 255:
            raise InvalidInputError(f"{at}.protocol: {item.protocol} is not between 0 and 255")
        for name in ("local_ports", "remote_ports"):
            for ports in getattr(item, name):
                verify_ports(f"{at}.{name}", ports)
        for name in ("local_addresses", "remote_addresses"):
            for text in getattr(item, name):
                verify_address_range(f"{at}.{name}", text)


def verify_ports(field: str, ports: PortRange) -> None:
    """Raise InvalidInputError unless it is a range of ports."""
    if not 0 <= ports.first <= ports.last <= 65_535:
        raise InvalidInputError(f"{field}: {ports.first}-{ports.last} is no range of ports")


def verify_address_range(field: str, text: str) -> None:
    """Raise InvalidInputError unless `text` is an address, `first-last` or CIDR."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            low, high = ip_address(first), ip_address(last)
            good = low.version == high.version and int(low) <= int(high)
        else:
            ip_network(text, strict=False)
            good = True
    except ValueError:
        good = False
    if not good or text != text.strip():
        _refuse(field, text, "an address, first-last, or a network such as 10.0.0.0/8")


def _verify_texts(value: Any, path: str) -> None:
    """No text anywhere may hold what XML or a line of configuration cannot."""
    if isinstance(value, Unknown):
        return
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise InvalidInputError(f"{path}: longer than {_LONGEST_TEXT} characters")
        multiline = path == "authentication.xml"
        for character in value:
            if unicodedata.category(character) in ("Cc", "Cs", "Cn", "Zl", "Zp") and not (
                multiline and character in "\r\n\t"
            ):
                _refuse(path, value, "no control characters, line breaks or unassigned characters")
    elif is_dataclass(value):
        for item in fields(value):
            _verify_texts(getattr(value, item.name), f"{path}.{item.name}".lstrip("."))
    elif isinstance(value, tuple):
        if len(value) > _MOST_ITEMS:
            raise InvalidInputError(f"{path}: more than {_MOST_ITEMS} items")
        for index, item in enumerate(value):
            _verify_texts(item, f"{path}[{index}]")


def _verify_token(field: str, text: str) -> None:
    if not _TOKEN.fullmatch(text):
        _refuse(field, text, "a name or address of 1 to 255 characters, without blanks, commas or quotes")


def _verify_addresses(field: str, texts: Iterable[str]) -> None:
    for text in texts:
        try:
            ip_address(text)
        except ValueError:
            _refuse(field, text, "an IP address")


def _verify_hashes(field: str, texts: Iterable[str]) -> None:
    for text in texts:
        if not _HASH.fullmatch(text):
            _refuse(field, text, "a certificate's SHA-1 as 40 hexadecimal digits (64 for TEAP)")


def _verify_oid(field: str, text: str) -> None:
    if not _OID.fullmatch(text):
        _refuse(field, text, "an object identifier such as 1.3.6.1.5.5.7.3.2")


def _refuse(field: str, value: str, wanted: str) -> None:
    raise InvalidInputError(f"{field}: {value[:100]!r} cannot be used; needed: {wanted}")
