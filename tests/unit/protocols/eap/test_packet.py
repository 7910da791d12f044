"""EAP packets (RFC 3748 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.eap.packet import (
    EAPError,
    Response,
    Type,
    decode_response,
    encode_failure,
    encode_request,
    encode_success,
)
from tests.peers.eap_tls import build_response


def test_a_response_is_read() -> None:
    assert decode_response(bytes.fromhex("0207000a01616c696365")) == Response(7, Type.IDENTITY, b"alice")
    assert decode_response(bytes.fromhex("02ff00050d")) == Response(255, Type.TLS, b"")


def test_request_success_and_failure_from_a_peer_are_refused() -> None:
    for code in range(256):
        if code != 2:
            with pytest.raises(EAPError, match=f"code {code} may not come"):
                decode_response(bytes((code,)) + bytes.fromhex("0700050d"))


@pytest.mark.parametrize("length", [0, 4, 9, 11, 65535])
def test_a_length_that_lies_is_refused(length: int) -> None:
    message = build_response(7, Type.IDENTITY, b"alice")
    with pytest.raises(EAPError, match=f"length {length} differs"):
        decode_response(message[:2] + length.to_bytes(2, "big") + message[4:])


def test_a_response_is_refused_when_cut_at_any_length_or_followed_by_anything() -> None:
    message = build_response(7, Type.IDENTITY, b"alice")
    for end in range(len(message)):
        with pytest.raises(EAPError):
            decode_response(message[:end])
    with pytest.raises(EAPError):
        decode_response(message + b"\0")


@given(st.binary(max_size=40))
def test_noise_is_refused_or_says_what_it_is(message: bytes) -> None:
    try:
        response = decode_response(message)
    except EAPError:
        return
    assert build_response(response.identifier, response.type, response.data) == message


def test_requests_success_and_failure_are_written_as_in_rfc_3748() -> None:
    assert encode_request(0, Type.IDENTITY) == bytes.fromhex("0100000501")
    assert encode_request(8, Type.TLS, b"\x20") == bytes.fromhex("010800060d20")
    assert encode_success(9) == bytes.fromhex("03090004")
    assert encode_failure(9) == bytes.fromhex("04090004")
