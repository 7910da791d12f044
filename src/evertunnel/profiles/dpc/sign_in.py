"""What of a tunnel's sign-in DPC can say. From documentation only (DPC 5.2, its reference and source)."""

from dataclasses import replace

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.cut import Cut
from evertunnel.profiles.dpc.syntax import is_oid, is_server
from evertunnel.profiles.eap_xml import CONDITIONAL_ACCESS_NAME
from evertunnel.profiles.model import (
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    PEAP,
    EntraCompliance,
    MachineCertificate,
    ServerTrust,
    SingleSignOn,
    Usage,
)  # fmt: skip


def limit_machine(cut: Cut) -> None:
    """The machine certificate: DPC filters by usages only."""
    method = cut.profile.authentication
    assert isinstance(method, MachineCertificate)
    cut.drop("authentication", replace(method, issuer=""), "the machine certificate's issuer")
    good = tuple(oid for oid in method.usages if is_oid(oid))
    cut.drop("authentication", MachineCertificate(good), "usages with fewer than five numbers or a wildcard")


def limit_compliance(cut: Cut) -> None:
    """Device compliance: DPC demands one issuer for single sign-on, and takes one usage."""
    if cut.profile.entra is None:
        return
    other = cut.profile.entra.single_sign_on
    issuers = [issuer for issuer in other.issuers if len(issuer) == 40] if other else []
    if other is None or not issuers:
        raise InvalidInputError(
            "entra.single_sign_on: DPC refuses device compliance without an issuer for single sign-on"
        )
    usages = [oid for oid in other.usages if is_oid(oid)]
    one = EntraCompliance(SingleSignOn(tuple(usages[:1]), tuple(issuers[:1])))
    cut.drop("entra", one, "more than one usage or issuer of the certificate for single sign-on")


def limit_authentication(cut: Cut) -> None:
    """Sign-in of a user tunnel: PEAP around EAP-TLS, one trust for both."""
    method = cut.profile.authentication
    if isinstance(method, EAPTLS):
        method = PEAP(method, method.trust)
        cut.drop(
            "authentication", method, "plain EAP-TLS: DPC puts EAP-TLS into PEAP, which the policy server must accept"
        )
    if not isinstance(method, PEAP) or not isinstance(method.inner, EAPTLS):
        raise InvalidInputError(
            f"authentication: DPC cannot say {method.kind}, only PEAP with EAP-TLS inside; its OverrideXML can carry it"
        )
    plain = PEAP(method.inner, method.trust, crypto_binding=method.crypto_binding)
    cut.drop(
        "authentication", plain, "options of PEAP: fast reconnect, optional inner method, quarantine, identity privacy"
    )
    trust = ServerTrust(
        tuple(name for name in method.trust.names if is_server(name)),
        tuple(root for root in method.trust.roots if len(root) == 40),
        enforce_names=method.trust.enforce_names,
    )
    if not trust.roots:
        raise InvalidInputError("authentication.trust.roots: DPC refuses a user tunnel without a root to trust")
    if trust.enforce_names and not trust.names:
        raise InvalidInputError(
            "authentication.trust.names: DPC refuses a user tunnel without the policy server's full name"
        )
    inner = EAPTLS(method.inner.trust, method.inner.selection)
    cut.drop("authentication", replace(plain, inner=inner), "another user name than the certificate's")
    inner = replace(inner, trust=method.trust)
    cut.drop(
        "authentication",
        replace(plain, inner=inner),
        "what the inner method demands of the server: DPC repeats the outer",
    )
    inner = replace(inner, trust=trust)
    plain = PEAP(inner, trust, crypto_binding=method.crypto_binding)
    cut.drop(
        "authentication",
        plain,
        "what DPC does not demand of the server: names that are no full names, asking, not validating",
    )
    selection = inner.selection
    usages = tuple(usage for usage in selection.usages if is_oid(usage.oid))[:1]
    issuers = tuple(issuer for issuer in selection.issuers if len(issuer) == 40)
    if cut.profile.entra is not None:
        usages, issuers = (Usage(CONDITIONAL_ACCESS_NAME, CONDITIONAL_ACCESS_OID),), ()
    elif not issuers:
        raise InvalidInputError(
            "authentication.selection.issuers: DPC refuses a user tunnel without the issuer of its certificates"
        )
    selection = replace(type(selection)(), issuers=issuers, usages=usages, smart_card=selection.smart_card)
    inner = replace(inner, selection=selection)
    cut.drop(
        "authentication", replace(plain, inner=inner),
        "how the certificate is picked: DPC knows issuers and one usage, or only the usage of Entra",
    )  # fmt: skip
