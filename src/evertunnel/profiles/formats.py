"""Every format a profile is written in: what it is for, what it cannot say, and the text."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.certificate_script import build_certificate_script
from evertunnel.profiles.document import encode_document
from evertunnel.profiles.dpc.gpo import build_dpc_gpo
from evertunnel.profiles.dpc.limits import limit_dpc
from evertunnel.profiles.dpc.script import build_dpc_powershell
from evertunnel.profiles.dpc.syntax import DPCTunnel
from evertunnel.profiles.dpc.values import build_dpc_reg
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.install_script import build_install_script, limit_install_script
from evertunnel.profiles.intune import build_custom, limit_custom
from evertunnel.profiles.intune_vpn import build_vpn, limit_vpn
from evertunnel.profiles.model import Profile
from evertunnel.profiles.profile_xml import build_escaped, build_profile_xml, limit_profile
from evertunnel.profiles.rras import build_rras_script, list_rras_losses
from evertunnel.profiles.swanctl import ClientFiles, build_swanctl, limit_swanctl
from evertunnel.profiles.verify import verify_profile


@dataclass(frozen=True, slots=True)
class Options:
    """What some formats need besides the profile: where clients enrol, and what a Linux client has.

    For DPC which of its tunnels it is (None: by the profile), and whether the whole document is given to it as it is.
    """

    server_url: str = ""
    dpc_tunnel: DPCTunnel | None = None
    dpc_override: bool = False
    files: ClientFiles = field(default_factory=ClientFiles)


@dataclass(frozen=True, slots=True)
class Format:
    """A way out. `encoding` is how the text is written; `losses` lists what of a profile it leaves out."""

    name: str
    purpose: str
    extension: str
    build: Callable[[Profile, Options], str]
    losses: Callable[[Profile, Options], list[str]]
    encoding: str = "utf-8"


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _own_form(profile: Profile) -> str:
    verify_profile(profile)  # what a reader only found fault with could not be read back
    return _json(encode_document(profile))


def _certificate_script(profile: Profile, options: Options) -> str:
    if not options.server_url:
        raise InvalidInputError("--server-url: say where clients enrol, such as https://vpn.example.com")
    return build_certificate_script(profile, server_url=options.server_url)


def _list_dpc_losses(profile: Profile, options: Options) -> list[str]:
    return limit_dpc(profile, tunnel=options.dpc_tunnel, override=options.dpc_override)[1]


# Windows' own editors write .reg files so, and reg.exe takes nothing else for names beyond ASCII.
_REG_ENCODING = "utf-16"

_ALL = (
    Format("profilexml-intune", "ProfileXML as Intune on Windows 11 wants it", "xml",
           lambda profile, _: build_profile_xml(profile, Target.INTUNE),
           lambda p, _: limit_profile(p, Target.INTUNE)[1]),
    Format("profilexml-wmi", "ProfileXML for the MDM bridge (WMI)", "xml",
           lambda profile, _: build_profile_xml(profile, Target.WMI), lambda p, _: limit_profile(p, Target.WMI)[1]),
    Format("profilexml-schema", "ProfileXML in the order of Microsoft's schema", "xml",
           lambda profile, _: build_profile_xml(profile, Target.SCHEMA),
           lambda p, _: limit_profile(p, Target.SCHEMA)[1]),
    Format("profilexml-escaped", "ProfileXML escaped, for SyncML or an OMA-URI value", "txt",
           lambda profile, _: build_escaped(profile), lambda p, _: limit_profile(p, Target.INTUNE)[1]),
    Format("intune-custom", "Graph JSON of a custom OMA-URI configuration", "json",
           lambda profile, _: _json(build_custom(profile)), lambda p, _: limit_custom(p)[1]),
    Format("intune-vpn", "Graph JSON of Intune's own VPN form", "json",
           lambda profile, _: _json(build_vpn(profile)), lambda p, _: limit_vpn(p)[1]),
    Format("dpc-reg", "registry file for DPC", "reg",
           lambda p, o: build_dpc_reg(p, tunnel=o.dpc_tunnel, override=o.dpc_override), _list_dpc_losses,
           _REG_ENCODING),
    Format("dpc-powershell", "PowerShell that sets DPC's registry values", "ps1",
           lambda p, o: build_dpc_powershell(p, tunnel=o.dpc_tunnel, override=o.dpc_override), _list_dpc_losses),
    Format("dpc-gpo", "list of DPC's Group Policy settings", "csv",
           lambda p, o: build_dpc_gpo(p, tunnel=o.dpc_tunnel, override=o.dpc_override), _list_dpc_losses),
    Format("powershell", "script that installs the profile on Windows", "ps1",
           lambda profile, _: build_install_script(profile), lambda p, _: limit_install_script(p)[1]),
    Format("certificate-script", "script that gets the short-lived certificate on Windows", "ps1",
           _certificate_script, lambda _p, _o: []),
    Format("swanctl", "swanctl.conf for a Linux client", "conf",
           lambda profile, options: build_swanctl(profile, options.files),
           lambda p, _: limit_swanctl(p)[1]),
    Format("rras", "script for those who keep RRAS and NPS: the server side", "ps1",
           lambda profile, _: build_rras_script(profile), lambda p, _: list_rras_losses(p)),
    Format("evertunnel", "our own form: JSON with every field", "json",
           lambda profile, _: _own_form(profile), lambda _p, _o: []),
)  # fmt: skip
FORMATS = {item.name: item for item in _ALL}


def get_format(name: str) -> Format:
    """By name; raises InvalidInputError that lists them."""
    found = FORMATS.get(name)
    if found is None:
        raise InvalidInputError(f"--format: {name[:40]!r} is none of {', '.join(FORMATS)}")
    return found
