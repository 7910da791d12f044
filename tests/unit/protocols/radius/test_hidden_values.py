"""MS-MPPE keys under the shared secret, hidden by us and revealed by pyrad, and the other way round."""

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad import packet as pyrad

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.hidden_values import encode_session_keys, hide_key, reveal_key
from evertunnel.protocols.radius.packet import decode_access_request, encode_reply
from tests.peers import radius

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes(range(100, 116))
MSK = bytes(range(64))


def salted_by_pyrad() -> pyrad.Packet:
    reply = pyrad.Packet(code=pyrad.AccessAccept, id=1, secret=SECRET, authenticator=AUTHENTICATOR)
    reply.request_authenticator = AUTHENTICATOR
    return reply


def test_the_first_half_of_the_msk_is_what_the_gateway_receives_with() -> None:
    data = radius.build_request(SECRET, radius.split_eap(b""))
    request = decode_access_request(data, SECRET)
    keys = encode_session_keys(MSK, secret=SECRET, request_authenticator=request.authenticator, salts=(5, 6))
    read = radius.read_reply(SECRET, data, encode_reply(Code.ACCESS_ACCEPT, request, SECRET, attributes=keys))
    assert read["MS-MPPE-Recv-Key"] == [MSK[:32]]
    assert read["MS-MPPE-Send-Key"] == [MSK[32:]]


def test_the_two_keys_of_a_packet_have_different_salts_with_the_top_bit_set() -> None:
    keys = encode_session_keys(MSK, secret=SECRET, request_authenticator=AUTHENTICATOR, salts=(0, 0x7FFF))
    assert [value[6:8] for _, value in keys] == [b"\x80\x00", b"\xff\xff"]
    with pytest.raises(ValueError, match="must differ"):
        encode_session_keys(MSK, secret=SECRET, request_authenticator=AUTHENTICATOR, salts=(3, 3))


def test_the_first_block_is_that_of_rfc_2548() -> None:
    # b(1) = MD5(S + R + A), c(1) = p(1) xor b(1), with p = length octet, key, padding.
    hidden = hide_key(b"k" * 16, secret=SECRET, authenticator=AUTHENTICATOR, salt=1)
    pad = md5(SECRET + AUTHENTICATOR + hidden[:2]).digest()
    assert bytes(a ^ b for a, b in zip(hidden[2:18], pad, strict=True)) == b"\x10" + b"k" * 15
    pad = md5(SECRET + hidden[2:18]).digest()
    assert bytes(a ^ b for a, b in zip(hidden[18:], pad, strict=True)) == b"k" + bytes(15)


@given(key=st.binary(max_size=239), secret=st.binary(min_size=1, max_size=64), salt=st.integers(0, 0x7FFF))
def test_a_hidden_key_is_revealed(key: bytes, secret: bytes, salt: int) -> None:
    hidden = hide_key(key, secret=secret, authenticator=AUTHENTICATOR, salt=salt)
    assert len(hidden) % 16 == 2
    assert reveal_key(hidden, secret=secret, authenticator=AUTHENTICATOR) == key


@given(key=st.binary(max_size=239))
def test_pyrad_reveals_what_we_hide(key: bytes) -> None:
    assert salted_by_pyrad().SaltDecrypt(hide_key(key, secret=SECRET, authenticator=AUTHENTICATOR, salt=77)) == key


@given(key=st.binary(max_size=239))
def test_we_reveal_what_pyrad_hides(key: bytes) -> None:
    assert reveal_key(salted_by_pyrad().SaltCrypt(key), secret=SECRET, authenticator=AUTHENTICATOR) == key


@given(st.binary(max_size=300))
def test_noise_reveals_something_or_is_a_value_error(hidden: bytes) -> None:
    try:
        key = reveal_key(hidden, secret=SECRET, authenticator=AUTHENTICATOR)
    except ValueError:
        return
    assert len(key) <= len(hidden) - 3


def test_a_hidden_key_is_a_value_error_when_cut_at_any_length() -> None:
    hidden = hide_key(b"k" * 32, secret=SECRET, authenticator=AUTHENTICATOR, salt=1)
    for end in range(len(hidden)):
        cut_between_blocks = end > 2 and end % 16 == 2
        with pytest.raises(ValueError, match="impossible length" if cut_between_blocks else "whole blocks"):
            reveal_key(hidden[:end], secret=SECRET, authenticator=AUTHENTICATOR)
