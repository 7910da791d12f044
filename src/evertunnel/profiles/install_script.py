"""A script that installs the profile through the MDM bridge, for any tool that runs PowerShell as SYSTEM.

What it can say is what ProfileXML says, the profile's version, and what ProfileXML lacks: the filters of a machine
certificate and what bypasses the proxy. A pre-shared key of L2TP stands in it in the clear, as in every ProfileXML.

From documentation only: never run on Windows; parsed by tree-sitter-powershell, an independent grammar. That
`Set-VpnConnectionProxy` finds a profile of all users is taken from DPC, which calls the class under it as SYSTEM.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.findings import Finding, Level, Reading
from evertunnel.profiles.model import MachineCertificate, Profile, Proxy
from evertunnel.profiles.powershell import fill_script, is_changed, read_payload
from evertunnel.profiles.profile_xml import build_profile_xml, limit_profile
from evertunnel.profiles.read_profile_xml import read_profile_xml
from evertunnel.profiles.script_texts import INSTALL_PROFILE

FORMAT = "powershell"
_KIND = "install-profile"
_MOST_ITEMS = 1_000


def limit_install_script(profile: Profile) -> tuple[Profile, list[str]]:
    """What of a profile the script can say, and what it cannot."""
    without = profile
    if isinstance(profile.authentication, MachineCertificate):
        without = replace(without, authentication=MachineCertificate())
    if profile.proxy:
        without = replace(without, proxy=replace(profile.proxy, exceptions=(), bypass_local=False))
    limited, losses = limit_profile(without, Target.WMI)
    limited = replace(limited, version=profile.version, proxy=profile.proxy)
    if isinstance(profile.authentication, MachineCertificate):
        limited = replace(limited, authentication=profile.authentication)
    return limited, losses


def build_install_script(profile: Profile) -> str:
    """The script, in ASCII. Raises InvalidInputError for values that no client can be given."""
    document = build_profile_xml(profile, Target.WMI)
    method = profile.authentication
    machine = method if isinstance(method, MachineCertificate) else MachineCertificate()
    proxy = profile.proxy
    extras = {
        "machine_usages": list(machine.usages),
        "machine_issuer": machine.issuer,
        "proxy": {
            "server": proxy.server,
            "auto_config_url": proxy.auto_config_url,
            "exceptions": list(proxy.exceptions),
            "bypass_local": proxy.bypass_local,
        }
        if proxy and (proxy.exceptions or proxy.bypass_local)
        else None,
    }
    values = {
        "kind": _KIND,
        "name": profile.name,
        "tunnel": profile.tunnel.value,
        "version": profile.version,
        "document": document,
        "hash": _hash({"document": document}),
        "extras_hash": _hash({"document": document, **extras}),
        **extras,
    }
    return fill_script(INSTALL_PROFILE, values)


def read_install_script(text: str) -> Reading:
    """The profile in a script of ours. Raises InvalidInputError for any other script."""
    values = read_payload(text, _KIND)
    document, name, version = values.get("document"), values.get("name"), values.get("version")
    if not isinstance(document, str) or not isinstance(name, str) or not name:
        raise InvalidInputError("the payload of the script has no name or no document: it was changed")
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 2**31:
        raise InvalidInputError("the payload of the script has no version: it was changed")
    reading = read_profile_xml(document, name=name, intune=False)
    findings = list(reading.findings)
    profile = replace(reading.profile, name=name, version=version)
    if isinstance(profile.authentication, MachineCertificate):
        issuer = values.get("machine_issuer")
        usages = _read_texts(values, "machine_usages")
        profile = replace(profile, authentication=MachineCertificate(usages, issuer if isinstance(issuer, str) else ""))
    if isinstance(extra := values.get("proxy"), dict):
        profile = replace(
            profile,
            proxy=replace(
                profile.proxy or Proxy(),
                exceptions=_read_texts(extra, "exceptions"),
                bypass_local=extra.get("bypass_local") is True,
            ),
        )
    if values.get("hash") != _hash({"document": document}):
        findings.append(
            Finding(
                Level.ERROR, "script-hash", "", "the profile in the script was changed without its hash",
                "clients that have the profile would not take the change", "export the script again",
            )
        )  # fmt: skip
    if is_changed(text, INSTALL_PROFILE):
        findings.append(
            Finding(
                Level.ADVICE, "script-changed", "", "the script around the profile is not the one of this version",
                "it was written by another version of Evertunnel, or edited", "export the script again",
            )
        )  # fmt: skip
    return Reading(FORMAT, profile, tuple(findings), reading.places)


def _hash(values: Mapping[str, Any]) -> str:
    """Tells two documents apart; what was installed is compared by it."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _read_texts(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = values.get(name)
    if not isinstance(found, list) or len(found) > _MOST_ITEMS or not all(isinstance(item, str) for item in found):
        raise InvalidInputError(f"the payload of the script has no list {name}: it was changed")
    return tuple(found)
