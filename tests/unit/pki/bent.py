"""Certificates bent in one place, and the check that must find it."""

from typing import Any

import pytest
from cryptography import x509

from evertunnel.model import CertificateKind
from evertunnel.pki.issuance import Grant
from evertunnel.pki.lint import LintError, verify_certificate
from tests.unit.pki.samples import ADDRESSES, bend, make_authorities, make_certificate, make_grant

USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def change_usage(**bits: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    values = {name: getattr(USAGE, name) for name in (*names, "key_cert_sign", "crl_sign")} | bits
    return x509.KeyUsage(**values, encipher_only=False, decipher_only=False)


def refuse(grant: Grant, certificate: x509.Certificate, *, match: str, key_type: str = "p256") -> None:
    issuer = make_authorities(key_type)[grant.authority].certificate
    with pytest.raises(LintError, match=match):
        verify_certificate(certificate, grant, issuer=issuer, addresses=ADDRESSES)


def bent(kind: CertificateKind, **changes: Any) -> tuple[Grant, x509.Certificate]:
    grant = make_grant(kind)
    return grant, bend(make_certificate(grant), make_authorities()[grant.authority], **changes)
