"""Rules about signing in: EAP methods, server validation, certificate selection, conditional access."""

from collections.abc import Iterator

from evertunnel.model import TunnelKind
from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.model import (
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    PEAP,
    MSCHAPv2,
    OtherEAP,
    PlainMSCHAPv2,
    Profile,
    Protocol,
    ServerTrust,
)

_TEAP = 55


def lint_passwords(profile: Profile) -> Iterator[Finding]:
    """Methods with a password."""
    method = profile.authentication
    if isinstance(method, PlainMSCHAPv2):
        if {Protocol.IKEV2, Protocol.AUTOMATIC} & set(profile.protocols):
            yield error(
                "mschapv2-ikev2", "authentication", "MS-CHAPv2 without EAP together with IKEv2",
                "IKEv2 carries EAP only: the tunnel never comes up", "use EAP-TLS",
            )  # fmt: skip
        yield error(
            "mschapv2", "authentication", "MS-CHAPv2 is used", "whoever hears one login can compute the password",
            "use EAP-TLS",
        )  # fmt: skip
    if isinstance(method, MSCHAPv2):
        yield error(
            "eap-mschapv2", "authentication", "EAP-MSCHAPv2 is used without PEAP around it",
            "whoever poses as the gateway can compute the password", "use EAP-TLS",
        )  # fmt: skip
    if isinstance(method, PEAP) and isinstance(method.inner, MSCHAPv2):
        yield advice(
            "peap-mschapv2", "authentication", "PEAP carries a password (MS-CHAPv2)",
            "it is as safe as the client's check of the server, and a password can be phished", "use certificates",
        )  # fmt: skip


def lint_server_trust(profile: Profile) -> Iterator[Finding]:
    """What the client demands of the policy server."""
    method = profile.authentication
    if isinstance(method, EAPTLS | PEAP):
        yield from _lint_trust(method.trust, "authentication.trust")
    if isinstance(method, PEAP):
        if isinstance(method.inner, EAPTLS) and method.inner.trust != method.trust:
            yield advice(
                "inner-trust", "authentication.inner.trust", "inner and outer method trust different servers",
                "one server ends both, so one of them refuses it", "give both the same names and roots",
            )  # fmt: skip
        if not method.crypto_binding:
            yield error(
                "crypto-binding", "authentication.crypto_binding", "PEAP does not demand crypto-binding",
                "a man in the middle can carry the inner login into a tunnel of his own", "set crypto_binding",
            )  # fmt: skip
        if method.inner_optional:
            yield error(
                "inner-optional", "authentication.inner_optional", "the inner method of PEAP is optional",
                "the server may then skip the login", "set inner_optional to false",
            )  # fmt: skip


def _lint_trust(trust: ServerTrust, field: str) -> Iterator[Finding]:
    why = "anybody with a certificate of a public authority can pose as the policy server"
    if not trust.validate:
        yield error("no-validation", field, "the server's certificate is not validated", why, "set validate")
    if not trust.roots:
        yield error("no-root", f"{field}.roots", "no root is named", why, "give the hash of the policy server's root")
    if not trust.names:
        yield error("no-server-name", f"{field}.names", "no server name is given", why, "give the policy server's name")
    elif not trust.enforce_names:
        yield error("names-not-enforced", field, "server names are given but not enforced", why, "set enforce_names")
    if trust.prompt:
        yield error(
            "prompt", f"{field}.prompt", "people may accept a server that is not trusted",
            "and they will: the question says nothing they could check", "set prompt to false",
        )  # fmt: skip
    for index, name in enumerate(trust.names):
        if "*" not in name and set(name) & set("^$|()[]+\\"):
            yield error(
                "server-name-pattern", f"{field}.names[{index}]", f"{name[:80]!r} looks like a pattern without a star",
                "only a name with a star is read as a regular expression; this one no certificate has",
                "write the whole name, or a regular expression with a star",
            )  # fmt: skip
        if "*" not in name and any(character in ", \t" for character in name):
            yield error(
                "server-name-list", f"{field}.names[{index}]", f"{name[:80]!r} is no name, but looks like several",
                "names are separated by semicolons; this one no certificate has",
                f"write {';'.join(name.replace(',', ' ').split())[:300]}",
            )  # fmt: skip
    for index, root in enumerate(trust.roots):
        if len(root) != 40:
            yield error(
                "hash", f"{field}.roots[{index}]", "the root's hash is not SHA-1", "EAP-TLS and PEAP know SHA-1 only",
                "give the 40 digits of the thumbprint",
            )  # fmt: skip


def lint_carried_method(profile: Profile) -> Iterator[Finding]:
    """Methods that are carried along as they came."""
    if not isinstance(profile.authentication, OtherEAP):
        return
    yield advice(
        "eap-carried", "authentication", f"EAP type {profile.authentication.type} is carried along as it came",
        "nothing inside of it was checked", "use EAP-TLS (13) or PEAP (25), or check it by hand",
    )  # fmt: skip
    if profile.authentication.type == _TEAP:
        yield advice(
            "teap-build", "authentication", "the method is TEAP", "earlier builds do not know it", "use EAP-TLS there",
            "Windows 10 before 2004",
        )  # fmt: skip


def lint_selection(profile: Profile) -> Iterator[Finding]:
    """Which certificate the client takes."""
    selection = profile.selection
    if selection is None or profile.tunnel is not TunnelKind.USER:
        return
    if not selection.issuers and not selection.usages and not selection.any_purpose_usages and not profile.entra:
        yield advice(
            "any-certificate", "authentication.selection", "nothing narrows which certificate the client takes",
            "with several in the store Windows asks, or takes one the server refuses", "name the issuing authority",
        )  # fmt: skip
    if any(len(issuer) != 40 for issuer in selection.issuers):
        yield error(
            "issuer-hash", "authentication.selection.issuers", "an issuer's hash is not SHA-1",
            "CAHashList knows SHA-1 only", "give the 40 digits of the thumbprint",
        )  # fmt: skip
    if not selection.without_asking and profile.always_on:
        yield advice(
            "asks", "authentication.selection.without_asking", "Windows asks which certificate to take",
            "an always-on tunnel then waits for an answer", "set without_asking",
        )  # fmt: skip


def lint_conditional_access(profile: Profile) -> Iterator[Finding]:
    """Two modes, never mixed: certificates by Entra, or by our access authority."""
    selection = profile.selection
    demanded = selection is not None and any(
        usage.oid == CONDITIONAL_ACCESS_OID for usage in (*selection.usages, *selection.any_purpose_usages)
    )
    if profile.entra is None:
        if demanded and selection is not None and not selection.issuers:
            yield error(
                "access-without-issuer", "authentication.selection.issuers",
                "the short-lived certificate's usage is demanded, but neither Entra nor an issuer is named",
                "without DeviceCompliance Windows asks nobody for one, and takes whatever has the usage",
                "name our access authority's hash, or set DeviceCompliance for Entra",
            )  # fmt: skip
        return
    if selection is None:
        yield error(
            "compliance-without-certificate", "entra", "DeviceCompliance is set, but the login uses no certificate",
            "the certificate that Entra issues is then not used", "use EAP-TLS, alone or in PEAP",
        )  # fmt: skip
        return
    if not demanded:
        yield error(
            "compliance-without-usage", "authentication.selection.usages",
            f"DeviceCompliance is set, but the usage {CONDITIONAL_ACCESS_OID} is not demanded",
            "Windows may take another certificate than Entra's, past conditional access",
            f"add the usage 'AAD Conditional Access' = {CONDITIONAL_ACCESS_OID} with its mapping",
        )  # fmt: skip
    if selection.all_purpose:
        yield error(
            "all-purpose", "authentication.selection", "DeviceCompliance is set together with AllPurposeEnabled",
            "a certificate without usages fits as well as Entra's, past conditional access",
            "remove AllPurposeEnabled, or set it to false",
        )  # fmt: skip
    if selection.issuers:
        yield error(
            "access-mixed", "authentication.selection.issuers", "DeviceCompliance is set together with issuer hashes",
            "Entra's certificates come from an authority of its own that changes: no certificate ever fits",
            "remove the issuer list for Entra, or DeviceCompliance for certificates of our own",
        )  # fmt: skip
    if selection.smart_card:
        yield error(
            "compliance-smart-card", "authentication.selection.smart_card", "DeviceCompliance with a smart card",
            "Entra's certificate lies in the user's store", "use the certificate store",
        )  # fmt: skip
    if profile.entra.single_sign_on is None:
        yield advice(
            "no-single-sign-on", "entra.single_sign_on", "DeviceCompliance without Sso",
            "Entra's certificate cannot get Kerberos tickets: shares and sites inside ask for a password",
            "name the usage and issuer of the certificate for Kerberos",
        )  # fmt: skip
        return
    if CONDITIONAL_ACCESS_OID in profile.entra.single_sign_on.usages:
        yield error(
            "single-sign-on-usage", "entra.single_sign_on.usages", "Sso names the usage of Entra's own certificate",
            "that one cannot get Kerberos tickets; Sso is there to name another", "write 1.3.6.1.5.5.7.3.2",
        )  # fmt: skip
    if any(len(issuer) != 40 for issuer in profile.entra.single_sign_on.issuers):
        yield error(
            "single-sign-on-hash", "entra.single_sign_on.issuers", "the issuer's hash for Kerberos is not SHA-1",
            "Windows compares the SHA-1 thumbprint", "give the 40 digits of the thumbprint",
        )  # fmt: skip
    if not profile.entra.single_sign_on.issuers:
        yield error(
            "single-sign-on-issuer", "entra.single_sign_on.issuers", "Sso names no issuer",
            "Windows does not find the certificate for Kerberos", "give the hash of its issuing authority",
        )  # fmt: skip


RULES = (lint_passwords, lint_server_trust, lint_carried_method, lint_selection, lint_conditional_access)
