"""Names that get into certificates: strict in, exact out."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError
from evertunnel.pki.names import build_principal_name, build_subject, shorten, verify_dns_name, verify_user_name

GOOD_HOSTS = ["a", "laptop1", "vpn.example.com", "1.example", "xn--bcher-kva.example", "A-b.C", "a" * 63 + ".example"]
BAD_HOSTS = [
    "", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", "a\n", "a.example\n", "*.example", "a/b", "a:1",
    "bücher.example", "ｘ.example", "\u0130.example", "\u212a.example", "\u017f.example", "a" * 64,
    ".".join(["a" * 60] * 5), "a\x00b",
]  # fmt: skip
GOOD_USERS = ["alice@corp.example", "a.b-c_d+e'f@x.y", "éloïse@corp.example", "李@corp.example", "a" * 64 + "@x.y"]
BAD_USERS = [
    "alice", "@corp.example", "alice@", "alice@corp@example", "a b@x.y", "a\tb@x.y", "a\u202eb@x.y", "a\u200bb@x.y",
    "a\x1b[31m@x.y", 'a"b@x.y', "a\\b@x.y", "a/b@x.y", "a,b@x.y", "<a>@x.y", "a:b@x.y", "a*@x.y", "a|b@x.y",
    "a" * 65 + "@x.y", "alice@corp_example", "alice@\u212a.example", "\uff41lice@x.y", "e\u0301lise@x.y", "\ufb01@x.y",
    "é" * 60 + "@corp.example", "a@" + ".".join(["b" * 50] * 4), "\udc80@x.y",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_HOSTS)
def test_a_host_name_is_taken(name: str) -> None:
    verify_dns_name(name)


@pytest.mark.parametrize("name", BAD_HOSTS)
def test_what_dns_and_certificates_do_not_take_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a DNS name"):
        verify_dns_name(name)


@pytest.mark.parametrize("name", GOOD_USERS)
def test_a_user_name_is_taken(name: str) -> None:
    verify_user_name(name)


@pytest.mark.parametrize("name", BAD_USERS)
def test_a_name_that_is_no_principal_name_or_looks_like_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        verify_user_name(name)


# Mostly letters that are taken, and those that only look so.
NEARLY = st.text(st.sampled_from("abcxyzAZ019-.é李\u212a\u0130\u017f\u0301\ufb01 @\u202e\x1b"), max_size=30)


@given(NEARLY, NEARLY)
def test_whatever_is_taken_as_a_user_name_can_be_put_into_a_certificate(user: str, domain: str) -> None:
    name = f"{user}@{domain}"
    try:
        verify_user_name(name)
    except InvalidInputError:
        return
    text = name.encode()
    assert build_principal_name(name).value == bytes([0x0C, len(text)]) + text
    assert build_subject(name).get_attributes_for_oid(NameOID.COMMON_NAME)


@given(NEARLY)
def test_whatever_is_taken_as_a_host_name_is_ascii_and_fits_an_alternative_name(name: str) -> None:
    try:
        verify_dns_name(name)
    except InvalidInputError:
        return
    assert x509.DNSName(name).value == name
    assert name.isascii()


@pytest.mark.parametrize("name", ["a" * 200, "é" * 100, "会" * 100, "😀" * 100], ids=["1", "2", "3", "4"])
def test_a_long_common_name_is_cut_between_characters(name: str) -> None:
    [attribute] = build_subject(name).get_attributes_for_oid(NameOID.COMMON_NAME)
    assert isinstance(attribute.value, str)
    assert name.startswith(attribute.value)
    assert 60 < len(attribute.value.encode()) <= 64


def test_two_devices_whose_names_are_cut_alike_still_have_different_subjects() -> None:
    first = build_subject("a" * 63 + ".one.example", serial_number="1")
    assert first != build_subject("a" * 63 + ".two.example", serial_number="2")


def test_a_principal_name_too_long_for_one_length_byte_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="127 bytes"):
        build_principal_name("é" * 63 + "@x")


@given(st.text(), st.integers(0, 50))
def test_shortening_keeps_a_beginning(text: str, size: int) -> None:
    assert text.startswith(shorten(text, size))
    assert len(shorten(text, size).encode()) <= size


@pytest.mark.parametrize("name", ["x" * 100_000, "x" * 100_000 + "@corp.example", "\ufb01" * 100_000])
def test_a_name_as_long_as_a_file_makes_no_error_as_long(name: str) -> None:
    for verify in (verify_dns_name, verify_user_name):
        with pytest.raises(InvalidInputError) as refused:
            verify(name)
        assert len(str(refused.value)) < 1_000
