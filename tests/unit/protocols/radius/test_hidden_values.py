"""MS-MPPE keys under the shared secret, hidden by us and revealed by pyrad."""

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad import packet as pyrad

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.hidden_values import encode_session_keys, hide_key
from evertunnel.protocols.radius.packet import decode_access_request, encode_reply
from tests.peers import radius

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes(range(100, 116))
MSK = bytes(range(64))


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
def test_pyrad_reveals_what_we_hide(key: bytes, secret: bytes, salt: int) -> None:
    reply = pyrad.Packet(code=pyrad.AccessAccept, id=1, secret=secret, authenticator=AUTHENTICATOR)
    reply.request_authenticator = AUTHENTICATOR
    hidden = hide_key(key, secret=secret, authenticator=AUTHENTICATOR, salt=salt)
    assert len(hidden) % 16 == 2
    assert reply.SaltDecrypt(hidden) == key
