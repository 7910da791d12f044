"""RADIUS packets: what is read, what is dropped, and replies that an independent codec accepts."""

import hmac
import re
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.packet import (
    AccessRequest,
    PacketError,
    decode_access_request,
    encode_reply,
    encode_vendor_attribute,
)
from tests.peers import radius

SECRET = b"xyzzy5461"
EAP = bytes.fromhex("0207000501")

# RFC 5997 6.1: a Status-Server with its Message-Authenticator, secret xyzzy5461.
STATUS_SERVER = bytes.fromhex("0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3")
# RFC 2865 7.1: an Access-Request with User-Password, without a Message-Authenticator, secret xyzzy5461.
PAP_REQUEST = bytes.fromhex(
    "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003"
)


def sign(attributes: list[tuple[int, bytes]], **lies: object) -> bytes:
    return radius.sign(SECRET, radius.encode_attributes(attributes), **lies)  # type: ignore[arg-type]


def decode(data: bytes) -> AccessRequest:
    return decode_access_request(data, SECRET)


def assert_dropped(data: bytes, why: str) -> None:
    with pytest.raises(PacketError, match=re.escape(why)):
        decode(data)


def test_a_request_of_pyrad_is_read() -> None:
    eap = bytes(range(256)) * 3
    data = radius.build_request(
        SECRET,
        [
            (radius.USER_NAME, b"nemo"),
            (radius.STATE, b"state"),
            (radius.NAS_PORT, b"\x00\x00\x00\x03"),
            *radius.split_eap(eap),
        ],
        identifier=200,
    )
    request = decode(data)
    assert (request.identifier, request.authenticator) == (200, data[4:20])
    assert request.eap_message == eap
    assert request.has_eap_message
    assert request.state == b"state"
    assert request.find_text(radius.USER_NAME) == "nemo"
    assert request.find_integer(radius.NAS_PORT) == 3


def test_absent_attributes_are_none_or_empty_and_misfits_are_not_numbers() -> None:
    request = decode(sign([(radius.NAS_PORT, b"\x01"), (radius.USER_NAME, b"\xff")]))
    assert request.state is None
    assert request.find_integer(radius.FRAMED_MTU) is None
    assert request.find_integer(radius.NAS_PORT) is None
    assert request.find_text(radius.USER_NAME) == "\N{REPLACEMENT CHARACTER}"
    assert request.find_text(radius.CALLING_STATION_ID) == ""
    assert not request.has_eap_message


def test_the_first_of_several_values_counts() -> None:
    assert decode(sign([(radius.STATE, b"one"), (radius.STATE, b"two")])).state == b"one"


def test_an_empty_eap_message_is_told_from_none() -> None:
    request = decode(sign([(radius.EAP_MESSAGE, b"")]))
    assert request.has_eap_message
    assert request.eap_message == b""


def test_the_message_authenticator_of_rfc_5997_is_computed_as_there() -> None:
    signed = STATUS_SERVER[:22] + bytes(16)
    assert radius.sign(SECRET, b"", code=12, identifier=0xDA, authenticator=STATUS_SERVER[4:20]) == STATUS_SERVER
    assert hmac.digest(SECRET, signed, "md5") == STATUS_SERVER[22:]


def test_status_server_is_not_for_this_port_although_its_signature_is_right() -> None:
    assert_dropped(STATUS_SERVER, "code 12")


def test_codes_a_server_does_not_take_are_dropped() -> None:
    for code in range(256):
        if code != Code.ACCESS_REQUEST:
            assert_dropped(sign([(radius.EAP_MESSAGE, EAP)], code=code), f"code {code} ")


def test_a_request_without_message_authenticator_is_dropped() -> None:
    assert_dropped(PAP_REQUEST, "Message-Authenticator is missing")


@pytest.mark.parametrize("length", [0, 1, 19])
def test_a_length_below_20_is_dropped(length: int) -> None:
    assert_dropped(sign([(radius.EAP_MESSAGE, EAP)], length=length), f"length {length} is outside")


def test_a_length_above_4096_is_dropped_although_signed() -> None:
    filler = [(radius.PROXY_STATE, bytes(253))] * 16
    fits = sign([*filler[:15], (radius.PROXY_STATE, bytes(207)), (radius.EAP_MESSAGE, EAP[:2])])
    assert len(fits) < 4096
    assert decode(fits).has_eap_message
    assert_dropped(sign(filler), "length 4118 is outside")


def test_a_packet_of_exactly_4096_octets_is_read() -> None:
    data = sign([(radius.PROXY_STATE, bytes(253))] * 15 + [(radius.PROXY_STATE, bytes(4096 - 38 - 15 * 255 - 2))])
    assert len(data) == 4096
    assert len(decode(data).attributes) == 16


def test_a_length_above_the_datagram_is_dropped() -> None:
    data = sign([(radius.EAP_MESSAGE, EAP)])
    assert_dropped(data[:2] + (len(data) + 1).to_bytes(2, "big") + data[4:], "is more than")


def test_octets_after_length_are_ignored() -> None:
    data = sign([(radius.EAP_MESSAGE, EAP)], trailing=b"\x01\x00padding")
    assert decode(data).eap_message == EAP
    assert decode(data).attributes == ()


@pytest.mark.parametrize("size", [0, 1])
def test_an_attribute_of_length_0_or_1_is_dropped(size: int) -> None:
    assert_dropped(radius.sign(SECRET, bytes((radius.USER_NAME, size))), f"attribute 1 has length {size}")


def test_an_attribute_over_the_end_is_dropped() -> None:
    assert_dropped(radius.sign(SECRET, bytes((radius.USER_NAME, 24)) + b"abc"), "attribute 1 has length 24")


def test_an_attribute_cut_off_after_its_type_is_dropped() -> None:
    data = sign([(radius.EAP_MESSAGE, EAP)])
    assert_dropped(data[:2] + (len(data) + 1).to_bytes(2, "big") + data[4:] + b"\x01", "cut off")


def test_unknown_vendors_and_types_are_ignored() -> None:
    unknown = [(255, b"?"), (0, b"?"), (radius.VENDOR_SPECIFIC, b"\0\0\xff\xff\x01\x00"), (radius.VENDOR_SPECIFIC, b"")]
    assert decode(sign([*unknown, (radius.EAP_MESSAGE, EAP)])).eap_message == EAP


def test_a_wrong_message_authenticator_is_dropped() -> None:
    data = sign([(radius.EAP_MESSAGE, EAP)])
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        with pytest.raises(PacketError):
            decode(bytes(changed))


def test_a_wrong_secret_is_dropped() -> None:
    with pytest.raises(PacketError, match="does the shared secret differ"):
        decode_access_request(sign([(radius.EAP_MESSAGE, EAP)]), SECRET + b"x")


def test_a_second_message_authenticator_is_dropped() -> None:
    assert_dropped(sign([(radius.MESSAGE_AUTHENTICATOR, bytes(16))]), "repeated")


@pytest.mark.parametrize("octets", [0, 15, 17])
def test_a_message_authenticator_of_another_length_is_dropped(octets: int) -> None:
    attributes = radius.encode_attributes([(radius.MESSAGE_AUTHENTICATOR, bytes(octets))])
    header = b"\x01\x07" + (20 + len(attributes)).to_bytes(2, "big") + bytes(16)
    assert_dropped(header + attributes, "not 16 octets")


def test_a_request_is_dropped_when_cut_at_any_length() -> None:
    data = sign([(radius.USER_NAME, b"nemo"), (radius.EAP_MESSAGE, EAP)])
    for end in range(len(data)):
        with pytest.raises(PacketError):
            decode(data[:end])


@given(st.binary(max_size=4200))
def test_noise_is_dropped(data: bytes) -> None:
    with pytest.raises(PacketError):
        decode(data)


@given(st.binary(max_size=300))
def test_signed_noise_is_read_or_dropped_and_nothing_else(attributes: bytes) -> None:
    try:
        request = decode(radius.sign(SECRET, attributes))
    except PacketError:
        return
    read = radius.encode_attributes(request.attributes)
    assert len(read) + len(request.eap_message) <= len(attributes)


@pytest.mark.parametrize("code", [Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE])
@pytest.mark.parametrize("eap", [b"", EAP, bytes(253), bytes(254), bytes(1500)])
def test_every_reply_is_signed_first_and_verified_by_pyrad(code: Code, eap: bytes) -> None:
    data = radius.build_request(SECRET, [(radius.EAP_MESSAGE, EAP)])
    reply = encode_reply(code, decode(data), SECRET, eap_message=eap, attributes=[(radius.STATE, b"s" * 16)])
    assert (reply[20], reply[21]) == (radius.MESSAGE_AUTHENTICATOR, 18)
    read = radius.read_reply(SECRET, data, reply)
    assert (read.code, read.id) == (code, data[1])
    assert radius.join_eap(read) == eap
    assert read[radius.STATE] == [b"s" * 16]


@pytest.mark.parametrize("octets", [1, 63, 64, 65, 200])
def test_the_signature_is_that_of_the_standard_library_for_secrets_of_every_length(octets: int) -> None:
    for secret in (b"s" * octets, b"t" * octets, b"s" * octets):
        request = decode_access_request(radius.build_request(secret, [(radius.EAP_MESSAGE, EAP)]), secret)
        reply = encode_reply(Code.ACCESS_CHALLENGE, request, secret, eap_message=EAP)
        unsigned = reply[:4] + request.authenticator + reply[20:22] + bytes(16) + reply[38:]
        assert reply[22:38] == hmac.digest(secret, unsigned, "md5")


def test_the_response_authenticator_is_that_of_rfc_2865() -> None:
    request = decode(sign([(radius.EAP_MESSAGE, EAP)]))
    reply = encode_reply(Code.ACCESS_REJECT, request, SECRET)
    assert reply[4:20] == md5(reply[:4] + request.authenticator + reply[20:] + SECRET).digest()


def test_proxy_state_is_copied_unchanged_and_in_order() -> None:
    states = [(radius.PROXY_STATE, b"second hop"), (radius.PROXY_STATE, b""), (radius.PROXY_STATE, b"first\0hop")]
    data = sign([states[0], (radius.USER_NAME, b"nemo"), *states[1:]])
    reply = encode_reply(Code.ACCESS_CHALLENGE, decode(data), SECRET, eap_message=EAP)
    assert radius.read_reply(SECRET, data, reply)[radius.PROXY_STATE] == [value for _, value in states]


def test_a_reply_of_more_than_4096_octets_is_an_error() -> None:
    request = decode(sign([(radius.PROXY_STATE, bytes(253))] * 15))
    assert len(encode_reply(Code.ACCESS_REJECT, request, SECRET, eap_message=bytes(200))) == 20 + 18 + 202 + 15 * 255
    with pytest.raises(ValueError, match="RADIUS ends at 4096"):
        encode_reply(Code.ACCESS_CHALLENGE, request, SECRET, eap_message=bytes(250))


def test_an_attribute_too_long_for_its_length_octet_is_an_error() -> None:
    with pytest.raises(ValueError, match="attribute 25 would be 256 octets long"):
        encode_reply(Code.ACCESS_REJECT, decode(sign([])), SECRET, attributes=[(radius.CLASS, bytes(254))])


def test_a_vendor_attribute_is_read_by_pyrad() -> None:
    data = radius.build_request(SECRET, [])
    reply = encode_reply(
        Code.ACCESS_ACCEPT, decode(data), SECRET, attributes=[encode_vendor_attribute(311, 7, b"\0\0\0\x02")]
    )
    assert radius.read_reply(SECRET, data, reply)[(311, 7)] == [b"\0\0\0\x02"]
