"""Certificate signing requests: only a key that signed the request comes out, whatever goes in."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError
from evertunnel.pki.keys import encode_public_key
from evertunnel.pki.requests import decode_request
from tests.unit.pki.samples import KEY_TYPES, make_key, make_request

REQUEST = make_request(subject="somebody else", names=["evil.example"])
KEY = encode_public_key(make_key().public_key())


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_the_key_that_signed_comes_out(key_type: str) -> None:
    key = make_key(key_type)
    assert decode_request(make_request(key)) == encode_public_key(key.public_key())


def test_pem_is_read_too_with_white_space_before_it() -> None:
    pem = x509.load_der_x509_csr(REQUEST).public_bytes(Encoding.PEM)
    assert decode_request(b"\n  " + pem) == KEY


def test_the_old_pem_label_is_read_too() -> None:
    pem = x509.load_der_x509_csr(REQUEST).public_bytes(Encoding.PEM)
    assert decode_request(pem.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")) == KEY


def test_a_request_signed_by_another_key_is_refused() -> None:
    other = make_request(make_key("p256", "another"))
    info = encode_public_key(make_key("p256", "another").public_key())
    forged = other.replace(info, KEY)
    assert forged != other
    with pytest.raises(InvalidInputError, match="not signed by the key it names"):
        decode_request(forged)


def test_a_request_with_its_signature_changed_is_refused() -> None:
    changed = bytearray(REQUEST)
    changed[-1] ^= 1
    with pytest.raises(InvalidInputError):
        decode_request(bytes(changed))


def test_a_request_of_a_key_we_do_not_take_says_which_ones_we_do() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    with pytest.raises(InvalidInputError, match="P-256 or P-384"):
        decode_request(request.public_bytes(Encoding.DER))


def test_a_huge_request_is_refused_before_it_is_read() -> None:
    huge = make_request(names=[f"host{number}.example" for number in range(1500)])
    assert len(huge) > 16 * 1024
    with pytest.raises(InvalidInputError, match="larger than 16 KiB"):
        decode_request(huge)


@pytest.mark.parametrize("length", range(0, 270, 7))
def test_a_request_cut_off_anywhere_is_refused(length: int) -> None:
    with pytest.raises(InvalidInputError):
        decode_request(REQUEST[:length])


def test_bytes_after_a_request_are_refused() -> None:
    with pytest.raises(InvalidInputError):
        decode_request(REQUEST + b"\x00")


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_request(data)


@given(st.binary(max_size=300))
def test_noise_that_looks_like_pem_is_refused(data: bytes) -> None:
    text = b"-----BEGIN CERTIFICATE REQUEST-----\n" + data + b"\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(InvalidInputError):
        decode_request(text)


@given(st.integers(0, len(REQUEST) - 1), st.integers(1, 255))
def test_one_changed_byte_never_brings_another_key_out(place: int, change: int) -> None:
    changed = bytearray(REQUEST)
    changed[place] ^= change
    with pytest.raises(InvalidInputError):
        decode_request(bytes(changed))
