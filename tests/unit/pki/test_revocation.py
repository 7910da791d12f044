"""Revocation lists and OCSP answers, read back with a parser that is not ours to trust blindly."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import encode_public_key
from evertunnel.pki.revocation import (
    MALFORMED,
    REVOCATION_REASONS,
    UNAUTHORIZED,
    CertificateState,
    Responder,
    Revocation,
    build_revocation_list,
)
from tests.unit.pki.samples import KEY_TYPES, NOW, make_authorities, make_certificate, make_grant, make_key

ISSUING = make_authorities()[Authority.ISSUING]
SIGNER = make_certificate(
    make_grant(
        CertificateKind.OCSP_SIGNER,
        authority=Authority.ISSUING,
        public_key_der=encode_public_key(make_key("p256", "responder").public_key()),
    )
)
RESPONDER = Responder(ISSUING.certificate, SIGNER, make_key("p256", "responder"))
SERIAL = 0xABCDEF
GOOD = CertificateState(known=True)
UNKNOWN = CertificateState(known=False)


def build_list(revocations: list[Revocation], *, number: int = 7) -> x509.CertificateRevocationList:
    der = build_revocation_list(
        revocations,
        issuer=ISSUING.certificate,
        issuer_key=ISSUING.key,
        number=number,
        this_update=NOW,
        next_update=NOW + timedelta(days=7),
    )
    return x509.load_der_x509_crl(der)


def ask(
    *,
    serial: int = SERIAL,
    algorithm: hashes.HashAlgorithm | None = None,
    issuer: x509.Certificate = ISSUING.certificate,
    nonce: bytes | None = None,
) -> bytes:
    certificate = make_certificate(make_grant(CertificateKind.USER, serial=serial))
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def answer(request: bytes, state: CertificateState = GOOD, asked: list[int] | None = None) -> ocsp.OCSPResponse:
    def find(serial: int) -> CertificateState:
        if asked is not None:
            asked.append(serial)
        return state

    der = RESPONDER.answer(request, find, this_update=NOW, next_update=NOW + timedelta(hours=1))
    return ocsp.load_der_ocsp_response(der)


def test_an_empty_list_is_signed_numbered_and_dated() -> None:
    found = build_list([])
    assert found.is_signature_valid(ISSUING.certificate.public_key())  # type: ignore[arg-type]
    assert found.issuer == ISSUING.certificate.subject
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert (found.last_update_utc, found.next_update_utc) == (NOW, NOW + timedelta(days=7))
    assert list(found) == []


def test_a_list_points_to_the_key_that_signed_it() -> None:
    above = ISSUING.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    found = build_list([]).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert found.key_identifier == above.digest


@pytest.mark.parametrize("reason", [name for name in REVOCATION_REASONS if name != "unspecified"])
def test_a_revoked_serial_stands_on_the_list_with_its_reason(reason: str) -> None:
    entry = build_list([Revocation(SERIAL, NOW, reason)]).get_revoked_certificate_by_serial_number(SERIAL)
    assert entry is not None
    assert entry.revocation_date_utc == NOW
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is REVOCATION_REASONS[reason]


@pytest.mark.parametrize("reason", ["unspecified", "no such reason"])
def test_an_unspecified_reason_is_left_out(reason: str) -> None:
    entry = build_list([Revocation(SERIAL, NOW, reason)]).get_revoked_certificate_by_serial_number(SERIAL)
    assert entry is not None
    assert list(entry.extensions) == []


def test_ten_thousand_entries_are_built_in_reasonable_time() -> None:
    entries = [Revocation(number, NOW, "certificate hold") for number in range(1, 10_001)]
    assert len(build_list(entries)) == 10_000


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256()], ids=["SHA-1", "SHA-256"])
def test_both_kinds_of_certificate_id_are_answered_in_kind(algorithm: hashes.HashAlgorithm) -> None:
    asked: list[int] = []
    found = answer(ask(algorithm=algorithm), asked=asked)
    assert found.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert found.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert found.hash_algorithm.name == algorithm.name
    assert (found.serial_number, asked) == (SERIAL, [SERIAL])


def test_an_answer_is_signed_by_the_delegate_that_comes_with_it() -> None:
    found = answer(ask())
    assert found.certificates == [SIGNER]
    key = SIGNER.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert found.signature_hash_algorithm is not None
    key.verify(found.signature, found.tbs_response_bytes, ec.ECDSA(found.signature_hash_algorithm))
    assert found.responder_key_hash is not None


def test_times_of_an_answer_are_the_callers() -> None:
    found = answer(ask())
    assert (found.this_update_utc, found.next_update_utc) == (NOW, NOW + timedelta(hours=1))


def test_an_unknown_serial_is_unknown_and_never_good() -> None:
    assert answer(ask(), UNKNOWN).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_a_hold_is_revoked_with_that_reason() -> None:
    held_at: datetime = NOW - timedelta(days=1)
    found = answer(ask(), CertificateState(known=True, revocation=Revocation(SERIAL, held_at, "certificate hold")))
    assert found.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert found.revocation_reason is x509.ReasonFlags.certificate_hold
    assert found.revocation_time_utc == held_at


def test_a_revocation_beats_whatever_is_said_of_being_known() -> None:
    state = CertificateState(known=False, revocation=Revocation(SERIAL, NOW, "key compromise"))
    assert answer(ask(), state).certificate_status is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_a_nonce_comes_back(length: int) -> None:
    found = answer(ask(nonce=b"n" * length)).extensions.get_extension_for_class(x509.OCSPNonce)
    assert found.value.nonce == b"n" * length


def test_a_nonce_longer_than_allowed_is_not_repeated() -> None:
    assert list(answer(ask(nonce=b"n" * 129)).extensions) == []


def test_another_authority_is_not_answered_for_and_nobody_looks_the_serial_up() -> None:
    asked: list[int] = []
    found = answer(ask(issuer=make_authorities()[Authority.ROOT].certificate), asked=asked)
    assert found.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    assert asked == []


def test_an_authority_with_our_name_and_another_key_is_not_answered_for() -> None:
    namesake = make_authorities("p384")[Authority.ISSUING].certificate
    assert namesake.subject == ISSUING.certificate.subject
    assert answer(ask(issuer=namesake)).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_a_hash_nobody_uses_is_not_answered() -> None:
    assert answer(ask(algorithm=hashes.SHA512())).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def never(serial: int) -> CertificateState:
    raise AssertionError(f"looked up {serial}")


def answer_bytes(request: bytes, state_of: Callable[[int], CertificateState] = never) -> bytes:
    return RESPONDER.answer(request, state_of, this_update=NOW, next_update=NOW)


def test_a_request_longer_than_4_kib_is_malformed() -> None:
    assert answer_bytes(ask() + bytes(4096)) == MALFORMED


def test_a_request_about_two_certificates_is_malformed() -> None:
    one = ask()
    single = ocsp.load_der_ocsp_request(one)
    # OCSPRequest > tbsRequest > requestList: the one Request in it, twice.
    entry = one[6:]
    assert entry[:1] == b"\x30"
    twice = entry * 2
    wrapped = b"\x30" + bytes([len(twice)]) if len(twice) < 128 else b"\x30\x81" + bytes([len(twice)])
    body = wrapped + twice
    for _ in range(2):
        body = (b"\x30" + bytes([len(body)]) if len(body) < 128 else b"\x30\x81" + bytes([len(body)])) + body
    assert single.serial_number == SERIAL
    assert answer_bytes(body) == MALFORMED


@pytest.mark.parametrize("number", [0x80, 0xFF])
def test_a_negative_serial_is_malformed(number: int) -> None:
    request = bytearray(ask(serial=1))
    place = request.rfind(b"\x02\x01\x01")
    request[place + 2] = number
    assert answer_bytes(bytes(request)) == MALFORMED


@given(st.binary(max_size=200))
def test_noise_is_malformed(data: bytes) -> None:
    assert answer_bytes(data) in (MALFORMED, UNAUTHORIZED)


@given(st.integers(0, len(ask()) - 1), st.integers(1, 255))
def test_a_request_with_one_byte_changed_gets_an_answer_or_an_error_answer(place: int, change: int) -> None:
    request = bytearray(ask(nonce=b"n" * 16))
    request[place] ^= change
    found = ocsp.load_der_ocsp_response(answer_bytes(bytes(request), lambda _serial: GOOD))
    assert found.response_status in (
        ocsp.OCSPResponseStatus.SUCCESSFUL,
        ocsp.OCSPResponseStatus.MALFORMED_REQUEST,
        ocsp.OCSPResponseStatus.UNAUTHORIZED,
    )


@pytest.mark.parametrize("key_type", KEY_TYPES)
@pytest.mark.parametrize("authority", [Authority.ISSUING, Authority.DEVICE, Authority.ACCESS])
def test_every_authority_with_every_kind_of_key_is_answered_for(authority: Authority, key_type: str) -> None:
    ca = make_authorities(key_type)[authority]
    grant = make_grant(CertificateKind.OCSP_SIGNER, authority=authority, serial=SERIAL)
    signer = make_certificate(grant, key_type=key_type)
    request = ocsp.OCSPRequestBuilder().add_certificate(signer, ca.certificate, hashes.SHA1()).build()
    der = Responder(ca.certificate, signer, make_key()).answer(
        request.public_bytes(Encoding.DER), lambda _serial: GOOD, this_update=NOW, next_update=NOW
    )
    assert ocsp.load_der_ocsp_response(der).certificate_status is ocsp.OCSPCertStatus.GOOD
