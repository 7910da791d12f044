"""The other end for those who keep RRAS and NPS: a script that sets up the server for one profile.

From documentation only: never run on Windows; parsed by tree-sitter-powershell, an independent grammar. The attribute
numbers of `netsh nps add np` come from dumps; Microsoft documents the names only.
"""

import re

from evertunnel.model import TunnelKind
from evertunnel.profiles.model import (
    CLIENT_AUTHENTICATION_OID,
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    PEAP,
    CryptographySuite,
    MachineCertificate,
    MSCHAPv2,
    OtherEAP,
    PlainMSCHAPv2,
    Profile,
    Protocol,
)
from evertunnel.profiles.powershell import fill_script
from evertunnel.profiles.profile_xml import SUITE_ELEMENTS
from evertunnel.profiles.script_texts import CONFIGURE_RRAS
from evertunnel.profiles.verify import verify_profile

_THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}")
# Where the cmdlets of client and server spell a value otherwise than ProfileXML does.
_ENCRYPTION = {"AES_GCM_128": "GCMAES128", "AES_GCM_256": "GCMAES256"}
_INTEGRITY = {"SHA196": "SHA1"}


def build_suite(suite: CryptographySuite) -> dict[str, str]:
    """The parameters of Set-VpnServerConfiguration -CustomPolicy, in its spelling."""
    values = {element: str(getattr(suite, field)) for field, element in SUITE_ELEMENTS.items()}
    values["EncryptionMethod"] = _ENCRYPTION.get(values["EncryptionMethod"], values["EncryptionMethod"])
    values["IntegrityCheckMethod"] = _INTEGRITY.get(values["IntegrityCheckMethod"], values["IntegrityCheckMethod"])
    return values


def build_rras_script(profile: Profile) -> str:
    """The script, in ASCII. Raises InvalidInputError for values that no client can be given."""
    verify_profile(profile)
    method = profile.authentication
    machine = method if isinstance(method, MachineCertificate) else MachineCertificate()
    values = {
        "kind": "configure-rras",
        "profile": profile.name,
        "tunnel": profile.tunnel.value,
        "protocols": _list_protocols(profile),
        "suite": build_suite(profile.cryptography) if profile.cryptography and _find_ipsec(profile) else None,
        "tunnel_type": _find_ipsec(profile),
        "user_auth": [_find_user_auth(profile)],
        "machine_usages": list(machine.usages),
        "client_root": machine.issuer if _THUMBPRINT.fullmatch(machine.issuer) else "",
        "fragmentation": "IKEv2" in _list_protocols(profile) and not profile.disable_ikev2_fragmentation,
        "eap_type": f"{_find_eap_type(profile):02X}" + "0" * 30,
        "allowed_certificate_oids": list_allowed_oids(profile),
        "no_revocation_address": _is_conditional(profile),
        "losses": list_rras_losses(profile),
    }
    return fill_script(CONFIGURE_RRAS, values)


def list_allowed_oids(profile: Profile) -> list[str]:
    """What NPS' Allowed-Certificate-OID has to hold, so that no other certificate than the profile's gets in."""
    if _is_conditional(profile):
        return [CONDITIONAL_ACCESS_OID]
    usages = profile.selection.usages if profile.selection else ()
    return [usage.oid for usage in usages if usage.oid != CLIENT_AUTHENTICATION_OID and not usage.oid.endswith("*")]


def list_rras_losses(profile: Profile) -> list[str]:
    """What the server would have to know for this profile, and the script does not set."""
    losses = []
    method, trust = profile.authentication, profile.trust
    if profile.cryptography is None:
        losses.append(
            "the profile has no cryptography suite: the server keeps what it accepts, 3DES and group 2 among it"
        )
    elif not _find_ipsec(profile):
        losses.append("the cryptography suite: SSTP and PPTP do not use it")
    if trust and (trust.names or trust.roots):
        losses.append("the certificate of NPS: it must bear one of the profile's server names and chain to its roots")
    if profile.selection and profile.selection.issuers:
        losses.append("the issuers of user certificates: NPS takes every authority in the NTAuth store")
    if isinstance(method, PEAP | OtherEAP):
        losses.append("the inner method of the EAP type and its certificate: choose them in the NPS console")
    if isinstance(method, MachineCertificate) and method.issuer and not _THUMBPRINT.fullmatch(method.issuer):
        losses.append("the issuer of machine certificates is given by name: RRAS needs the thumbprint of its root")
    if profile.tunnel is TunnelKind.USER and profile.selection and not list_allowed_oids(profile):
        losses.append("no certificate usage narrows who gets in: NPS takes any client certificate it trusts")
    if profile.l2tp_preshared_key:
        losses.append("the pre-shared key of L2TP: it does not belong in a script; set it in the RRAS console")
    if profile.routes or profile.traffic_filters:
        losses.append("routes and traffic filters: they are the client's; the server needs its own packet filters")
    if Protocol.PPTP in profile.protocols:
        losses.append("GRE and the ports of PPTP: Windows Server 2025 no longer takes PPTP unless it is switched on")
    return losses


def _list_protocols(profile: Profile) -> list[str]:
    if profile.protocols == (Protocol.AUTOMATIC,):
        return [Protocol.IKEV2.value, Protocol.SSTP.value]
    return [protocol.value for protocol in profile.protocols]


def _find_ipsec(profile: Profile) -> str:
    """The tunnel type whose policy the suite is, as the cmdlet spells it; empty when no protocol uses IPsec."""
    protocols = _list_protocols(profile)
    return "IKEV2" if Protocol.IKEV2 in protocols else "L2TP" if Protocol.L2TP in protocols else ""


def _find_user_auth(profile: Profile) -> str:
    match profile.authentication:
        case MachineCertificate():
            return "Certificate"
        case PlainMSCHAPv2():
            return "MsChapv2"
        case _:
            return "EAP"


def _find_eap_type(profile: Profile) -> int:
    match profile.authentication:
        case EAPTLS():
            return 13
        case PEAP():
            return 25
        case MSCHAPv2():
            return 26
        case OtherEAP(type=number):
            return number
        case _:
            return 0


def _is_conditional(profile: Profile) -> bool:
    """Whether the user's certificate comes from conditional access, Entra's or ours: short-lived, without a CRL."""
    selection = profile.selection
    if selection is None:
        return False
    return profile.entra is not None or any(usage.oid == CONDITIONAL_ACCESS_OID for usage in selection.usages)
