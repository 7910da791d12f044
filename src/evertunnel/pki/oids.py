"""Object identifiers that `cryptography` does not name, and the ones we name in our own words."""

from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

SERVER_AUTHENTICATION = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTHENTICATION = ExtendedKeyUsageOID.CLIENT_AUTH
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING
# "IP security IKE intermediate": makes Windows and RRAS pick the right certificate among several (RFC 4945 5.1.3.12).
IKE_INTERMEDIATE = ObjectIdentifier("1.3.6.1.5.5.8.2.2")
# "AAD Conditional Access": the usage Microsoft's one-hour VPN certificate carries (windowsserverdocs,
# how-to-aovpn-conditional-access).
CONDITIONAL_ACCESS = ObjectIdentifier("1.3.6.1.4.1.311.87")
# otherName type of a user principal name in a subject alternative name ([MS-WCCE] 2.2.2.7.5).
USER_PRINCIPAL_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
# The security identifier of an account, in an extension of its own ([MS-WCCE] 2.2.2.7.7.4), and the type of the name
# that holds it there.
SECURITY_IDENTIFIER = ObjectIdentifier("1.3.6.1.4.1.311.25.2")
SECURITY_IDENTIFIER_NAME = ObjectIdentifier("1.3.6.1.4.1.311.25.2.1")
# RFC 9608: this certificate will never be listed as revoked anywhere; it ends before that would matter.
NO_REVOCATION_AVAILABLE = ObjectIdentifier("2.5.29.56")
