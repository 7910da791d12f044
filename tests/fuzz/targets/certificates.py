"""What strangers bring to the authorities: certificate requests, public keys, OCSP requests, names, keys in files."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from evertunnel.errors import InvalidInputError
from evertunnel.pki.keys import decode_private_key, encode_public_key, load_public_key
from evertunnel.pki.names import build_principal_name, build_subject, verify_dns_name, verify_user_name
from evertunnel.pki.requests import decode_request
from evertunnel.pki.revocation import CertificateState, Responder
from evertunnel.pki.security_identifiers import build_sid_extension, verify_sid
from tests.fuzz.target import Target
from tests.peers.certificates import build_authority, build_leaf, encode_key, new_key
from tests.unit.access.samples import NOW


def build() -> Target:
    """Requests as OpenSSL and Windows make them, in both forms, and a question about one of ours."""
    issuing = build_authority("Issuing")
    responder = Responder(issuing.certificate, issuing.certificate, issuing.key)
    leaf = build_leaf(issuing, "alice@corp.example")
    checks: list[Callable[[bytes], object]] = [
        _check_request, _check_key, partial(_check_question, responder), _check_private_key, _check_names,
    ]  # fmt: skip
    seeds = []
    for kind in ("p256", "p384", "rsa2048"):
        key = new_key(kind)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        seeds += [b"\0" + request.public_bytes(form) for form in (Encoding.DER, Encoding.PEM)]
        seeds += [b"\1" + encode_public_key(key.public_key()), b"\3" + encode_key(key)]
    for algorithm in (hashes.SHA1(), hashes.SHA256()):
        question = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, issuing.certificate, algorithm)
        plain, nonce = question.build(), question.add_extension(x509.OCSPNonce(bytes(32)), False).build()
        seeds += [b"\2" + each.public_bytes(Encoding.DER) for each in (plain, nonce)]
    seeds += [b"\4laptop1.corp.example", b"\4alice@corp.example", b"\4S-1-5-21-1004336348-1177238915-682003330-1104"]
    return Target(
        partial(check, checks), seeds, words=[b"\x30\x82", b"\xa0\x03", b"\x02\x01", b"-----BEGIN", b"\x06\x08"]
    )


def check(checks: list[Callable[[bytes], object]], data: bytes) -> None:
    """Read by the first octet; only InvalidInputError may come of it."""
    if not data:
        return
    try:
        checks[data[0] % len(checks)](data[1:])
    except InvalidInputError as error:
        assert 0 < len(str(error)) < 600


def _check_request(data: bytes) -> None:
    _check_key(decode_request(data))


def _check_key(data: bytes) -> None:
    encoded = encode_public_key(load_public_key(data))
    assert encode_public_key(load_public_key(encoded)) == encoded


def _check_question(responder: Responder, data: bytes) -> None:
    answer = responder.answer(
        data, lambda serial: CertificateState(serial % 2 == 0), this_update=NOW, next_update=NOW + timedelta(seconds=3)
    )
    read = ocsp.load_der_ocsp_response(answer)
    if read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
        assert read.serial_number == ocsp.load_der_ocsp_request(data).serial_number
        assert (read.certificate_status is ocsp.OCSPCertStatus.GOOD) == (read.serial_number % 2 == 0)


def _check_private_key(data: bytes) -> None:
    decode_private_key(data)


def _check_names(data: bytes) -> None:
    """What passes can be written into a certificate."""
    text = data.decode("utf-8", "replace")
    for verify, write in (
        (verify_dns_name, lambda name: x509.DNSName(name)),
        (verify_user_name, lambda name: (build_principal_name(name), build_subject(name))),
        (verify_sid, build_sid_extension),
    ):
        try:
            verify(text)
        except InvalidInputError as error:
            assert len(str(error)) < 2_000
            continue
        write(text)
