"""Certificate extensions in the form we write them (RFC 5280 4.2)."""

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from evertunnel.pki.keys import PublicKey


def build_leaf_key_usage(*, key_encipherment: bool) -> x509.KeyUsage:
    """For signing in handshakes, and for nothing that signs certificates."""
    return _key_usage(digital_signature=True, key_encipherment=key_encipherment, authority=False)


def build_authority_key_usage() -> x509.KeyUsage:
    """For signing certificates and revocation lists, and nothing else."""
    return _key_usage(digital_signature=False, key_encipherment=False, authority=True)


def build_key_identifier(key: PublicKey) -> x509.SubjectKeyIdentifier:
    """The short form, 0100 and 60 bits of SHA-1 (RFC 5280 4.2.1.2 (2)).

    A chain of two has four of them: what the long form takes more can cost an EAP round trip.
    """
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest
    return x509.SubjectKeyIdentifier(bytes((0x40 | digest[12] & 0x0F,)) + digest[13:])


def build_issuer_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Points to the issuer's key, so that chains are found by key and not by name."""
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )


def build_distribution_point(url: str) -> x509.CRLDistributionPoints:
    """One HTTP address of a CRL."""
    return x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)])


def build_responder_address(url: str) -> x509.AuthorityInformationAccess:
    """One HTTP address of an OCSP responder."""
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))]
    )


def _key_usage(*, digital_signature: bool, key_encipherment: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
