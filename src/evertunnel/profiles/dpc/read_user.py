"""The part of DPC's settings that only user tunnels have: sign-in, device compliance, proxy."""

from dataclasses import replace

from evertunnel.profiles.dpc.reading import DPCReader
from evertunnel.profiles.dpc.syntax import is_oid, is_server
from evertunnel.profiles.eap_xml import CONDITIONAL_ACCESS_NAME
from evertunnel.profiles.findings import Level
from evertunnel.profiles.hashes import read_hash
from evertunnel.profiles.model import (
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    PEAP,
    CertificateSelection,
    EntraCompliance,
    Proxy,
    ServerTrust,
    SingleSignOn,
    Usage,
)  # fmt: skip

_REFUSED = "DPC refuses the profile"


def read_method(reader: DPCReader, entra: EntraCompliance | None) -> PEAP:
    """PEAP with EAP-TLS inside, which is what DPC makes; both trust the same."""
    names = []
    for row in reader.read_table("NPSList", "authentication.trust.names"):
        if is_server(str(row.data)):
            names.append(str(row.data))
        else:
            reader.drop(
                "dpc-item", "authentication.trust.names", "NPSList", row, str(row.data), "a full name with a dot"
            )
    enforce = reader.read_flag("DisableNPSValidation", "authentication.trust.enforce_names") is not True
    trust = ServerTrust(
        tuple(names), _read_hashes(reader, "RootCertificates", "authentication.trust.roots"), enforce_names=enforce
    )
    if enforce and not names:
        _report_empty(
            reader, "authentication.trust.names", "NPSList", "the full name in the policy server's certificate"
        )
    issuers = _read_hashes(reader, "IssuingCertificates", "authentication.selection.issuers")
    return PEAP(
        EAPTLS(trust, _read_selection(reader, issuers, entra)),
        trust,
        crypto_binding=reader.read_flag("DisableCryptoBinding", "authentication.crypto_binding") is not True,
    )


def _read_selection(reader: DPCReader, issuers: tuple[str, ...], entra: EntraCompliance | None) -> CertificateSelection:
    field = "authentication.selection.usages"
    name, oid = reader.read_text("EKUName", field), reader.read_text("EKUOID", field).strip()
    limited = reader.read_flag("LimitEKU", field)
    selection = CertificateSelection(
        issuers=issuers,
        smart_card=reader.read_flag("EnableEAPSmartCard", "authentication.selection.smart_card") or False,
    )
    if entra is not None:
        if limited:
            reader.report(
                Level.ERROR, "dpc-usage", field, "LimitEKU", "device compliance is on as well",
                "DPC ignores the usage named", "set LimitEKU to 0",
            )  # fmt: skip
        # Entra's issuer is another one: DPC lists the issuers and switches the list off.
        return replace(selection, issuers=(), usages=(Usage(CONDITIONAL_ACCESS_NAME, CONDITIONAL_ACCESS_OID),))
    if not limited:
        return selection
    if not name.strip() or not is_oid(oid):
        reader.report(
            Level.ERROR, "dpc-usage", field, "EKUOID",
            f"the usage {name[:60]!r} with the OID {oid[:60]!r} is incomplete", _REFUSED,
            "set EKUName, and EKUOID to an object identifier",
        )  # fmt: skip
        return selection
    return replace(selection, usages=(Usage(name, oid),))


def read_compliance(reader: DPCReader) -> EntraCompliance | None:
    """Device compliance, always with single sign-on."""
    field = "entra.single_sign_on"
    text, oid = (
        reader.read_text("DCIssuerHash", f"{field}.issuers"),
        reader.read_text("DCEKUOID", f"{field}.usages").strip(),
    )
    if not reader.read_flag("DeviceComplianceEnabled", "entra"):
        return None
    digits = read_hash(text)
    if digits is None or len(digits) != 40:
        reader.report(
            Level.ERROR, "sso-hash", f"{field}.issuers", "DCIssuerHash", f"{text[:80]!r} is no SHA-1 of a certificate",
            _REFUSED, "write 40 hexadecimal digits",
        )  # fmt: skip
        digits = None
    if oid and not is_oid(oid):
        reader.report(
            Level.ERROR, "dpc-usage", f"{field}.usages", "DCEKUOID", f"{oid[:80]!r} is no object identifier", _REFUSED,
            "write one such as 1.3.6.1.5.5.7.3.2",
        )  # fmt: skip
        oid = ""
    return EntraCompliance(SingleSignOn((oid,) if oid else (), (digits,) if digits else ()))


def read_proxy(reader: DPCReader, *, force: bool) -> Proxy | None:
    """The proxy of a force tunnel: a server (type 2) or an address of a script (type 1)."""
    kind, value = reader.read_number("ProxyType", "proxy"), reader.read_text("ProxyValue", "proxy").strip()
    exceptions = tuple(str(row.data) for row in reader.read_table("ProxyExcludeList", "proxy.exceptions"))
    bypass = reader.read_flag("ProxyBypassForLocal", "proxy.bypass_local") or False
    if not reader.read_flag("EnableProxy", "proxy"):
        return None
    if not force:
        reader.report(
            Level.ERROR, "dpc-proxy", "proxy", "EnableProxy", "a proxy in a split tunnel",
            "DPC drops it with a warning", "set ForceTunnel to 1, or EnableProxy to 0",
        )  # fmt: skip
        return None
    if kind not in (1, 2) or not value:
        reader.report(
            Level.ERROR, "dpc-proxy", "proxy", "ProxyType", f"type {kind} with the value {value[:60]!r}",
            "DPC sets no proxy", "set ProxyType to 1 (script) or 2 (server), and ProxyValue",
        )  # fmt: skip
        return None
    return (
        Proxy(server=value, exceptions=exceptions, bypass_local=bypass) if kind == 2 else Proxy(auto_config_url=value)
    )


def _read_hashes(reader: DPCReader, name: str, field: str) -> tuple[str, ...]:
    found = []
    for row in reader.read_table(name, field):
        digits = read_hash(str(row.data))
        if digits is None or len(digits) != 40:
            reader.drop("hash", field, name, row, str(row.data), "the SHA-1 of a certificate, 40 hexadecimal digits")
        else:
            found.append(digits)
    if not found:
        _report_empty(reader, field, name, "the thumbprint of a certificate")
    return tuple(dict.fromkeys(found))


def _report_empty(reader: DPCReader, field: str, name: str, wanted: str) -> None:
    reader.report(Level.ERROR, "dpc-empty", field, name, f"{name} holds nothing of use", _REFUSED, f"give it {wanted}")
