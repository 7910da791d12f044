"""Revocation lists and OCSP answers. What is said of a serial is the caller's; how it is said is here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from evertunnel.pki.keys import PrivateKey, signing_hash

_MAXIMUM_OCSP_REQUEST_BYTES = 4096
MALFORMED = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST).public_bytes(
    Encoding.DER
)
UNAUTHORIZED = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(
    Encoding.DER
)
TRY_LATER = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)

REVOCATION_REASONS: dict[str, x509.ReasonFlags] = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key compromise": x509.ReasonFlags.key_compromise,
    "affiliation changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation of operation": x509.ReasonFlags.cessation_of_operation,
    "certificate hold": x509.ReasonFlags.certificate_hold,
    "privilege withdrawn": x509.ReasonFlags.privilege_withdrawn,
}


@dataclass(frozen=True, slots=True)
class Revocation:
    """A serial that is on hold or revoked, since when, and why (RFC 5280 5.3.1)."""

    serial: int
    revoked_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateState:
    """What an OCSP answer says of one serial: `known` false is `unknown`; a revocation beats `good`."""

    known: bool
    revocation: Revocation | None = None


def build_revocation_list(
    revocations: Iterable[Revocation],
    *,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    number: int,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """A complete CRL, DER (RFC 5280 5)."""
    entries = [
        _with_reason(
            x509.RevokedCertificateBuilder().serial_number(revocation.serial).revocation_date(revocation.revoked_at),
            revocation.reason,
        ).build()
        for revocation in revocations
    ]
    # The constructor takes the whole list; add_revoked_certificate copies it each time and is quadratic.
    builder = x509.CertificateRevocationListBuilder(
        issuer.subject,
        this_update,
        next_update,
        [
            x509.Extension(
                x509.AuthorityKeyIdentifier.oid,
                critical=False,
                value=x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
            ),
            x509.Extension(x509.CRLNumber.oid, critical=False, value=x509.CRLNumber(number)),
        ],
        entries,
    )
    return builder.sign(issuer_key, signing_hash(issuer_key)).public_bytes(Encoding.DER)


class Responder:
    """Answers OCSP requests about one authority with a delegated signer (RFC 6960 2.6)."""

    def __init__(self, issuer: x509.Certificate, signer: x509.Certificate, signer_key: PrivateKey) -> None:
        self._signer = signer
        self._signer_key = signer_key
        self._issuer_hashes = {
            algorithm.name: _issuer_hashes(issuer, algorithm)
            for algorithm in (hashes.SHA1(), hashes.SHA256())  # noqa: S303
        }

    def answer(
        self,
        request_der: bytes,
        state_of: Callable[[int], CertificateState],
        *,
        this_update: datetime,
        next_update: datetime,
    ) -> bytes:
        """The DER answer to a DER request. A request that cannot be read or names another CA gets an error answer."""
        if len(request_der) > _MAXIMUM_OCSP_REQUEST_BYTES:
            return MALFORMED
        try:
            request = ocsp.load_der_ocsp_request(request_der)
            asked = self._issuer_hashes.get(request.hash_algorithm.name)
            serial = request.serial_number
            name_hash, key_hash = request.issuer_name_hash, request.issuer_key_hash
            nonce = _find_nonce(request)
        except Exception:  # several requests in one, broken DER, odd algorithms: all the asker's doing
            return MALFORMED
        if serial < 0:  # no serial of anybody's (RFC 5280 4.1.2.2), and an answer cannot be built about one
            return MALFORMED
        if asked != (name_hash, key_hash):
            return UNAUTHORIZED
        state = state_of(serial)
        revoked = state.revocation
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            name_hash,
            key_hash,
            serial,
            request.hash_algorithm,
            ocsp.OCSPCertStatus.REVOKED
            if revoked
            else (ocsp.OCSPCertStatus.GOOD if state.known else ocsp.OCSPCertStatus.UNKNOWN),
            this_update,
            next_update,
            revoked.revoked_at if revoked else None,
            REVOCATION_REASONS.get(revoked.reason, x509.ReasonFlags.unspecified) if revoked else None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self._signer).certificates([self._signer])
        if nonce is not None:
            builder = builder.add_extension(nonce, critical=False)
        return builder.sign(self._signer_key, signing_hash(self._signer_key)).public_bytes(Encoding.DER)


def _with_reason(builder: x509.RevokedCertificateBuilder, reason: str) -> x509.RevokedCertificateBuilder:
    flag = REVOCATION_REASONS.get(reason, x509.ReasonFlags.unspecified)
    if flag is x509.ReasonFlags.unspecified:  # RFC 5280 5.3.1: leave it out rather than say so
        return builder
    return builder.add_extension(x509.CRLReason(flag), critical=False)


def _find_nonce(request: ocsp.OCSPRequest) -> x509.OCSPNonce | None:
    try:
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value
    except x509.ExtensionNotFound:
        return None
    return nonce if 1 <= len(nonce.nonce) <= 128 else None  # RFC 9654 2.1


def _issuer_hashes(issuer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """Hash of the issuer's name and of its key bits, as a CertID has them (RFC 6960 4.1.1)."""
    return _hash(issuer.subject.public_bytes(), algorithm), _hash(_key_bits(issuer), algorithm)


def _key_bits(certificate: x509.Certificate) -> bytes:
    """What stands in the BIT STRING subjectPublicKey, without its tag, length and number of unused bits."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)


def _hash(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
