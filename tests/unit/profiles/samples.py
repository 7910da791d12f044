"""Two profiles that are as they should be, for tests that spoil one thing."""

from ipaddress import ip_network

from evertunnel.model import TunnelKind
from evertunnel.profiles.model import (
    EAPTLS,
    PEAP,
    CertificateSelection,
    EntraCompliance,
    MachineCertificate,
    NameRule,
    Profile,
    Route,
    Server,
    ServerTrust,
    SingleSignOn,
    Usage,
)
from evertunnel.profiles.suites import RECOMMENDED

ROOT, ISSUER = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"
TRUST = ServerTrust(("radius.example.com",), (ROOT,))
OWN_CERTIFICATES = CertificateSelection(
    issuers=(ISSUER,), usages=(Usage("Evertunnel Conditional Access", "1.3.6.1.4.1.311.87"),)
)
ENTRA_CERTIFICATES = CertificateSelection(usages=(Usage("AAD Conditional Access", "1.3.6.1.4.1.311.87"),))

USER = Profile(
    name="Corp VPN",
    tunnel=TunnelKind.USER,
    servers=(Server("vpn.example.com"),),
    authentication=EAPTLS(TRUST, OWN_CERTIFICATES),
    routes=(Route(ip_network("10.20.0.0/16")),),
    dns_suffixes=("corp.example",),
    name_rules=(NameRule(".corp.example", ("10.20.0.53",)),),
    trusted_networks=("corp.example",),
    cryptography=RECOMMENDED,
    register_dns=True,
)
DEVICE = Profile(
    name="Corp VPN Device",
    tunnel=TunnelKind.DEVICE,
    servers=(Server("vpn.example.com"),),
    authentication=MachineCertificate(),
    routes=(Route(ip_network("10.20.0.10/32")),),
    trusted_networks=("corp.example",),
    cryptography=RECOMMENDED,
)
ENTRA = Profile(
    name="Corp VPN",
    tunnel=TunnelKind.USER,
    servers=USER.servers,
    authentication=PEAP(EAPTLS(TRUST, ENTRA_CERTIFICATES), TRUST),
    entra=EntraCompliance(SingleSignOn(("1.3.6.1.5.5.7.3.2",), (ISSUER,))),
    routes=USER.routes,
    trusted_networks=("corp.example",),
    cryptography=RECOMMENDED,
)
