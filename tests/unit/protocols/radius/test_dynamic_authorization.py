"""Disconnect- and CoA-Requests as pyrad reads them, and its answers as we do."""

import pytest
from pyrad import packet as pyrad
from pyrad.dictionary import Dictionary

from evertunnel.protocols.radius.attributes import SESSION_TIMEOUT, USER_NAME, Code
from evertunnel.protocols.radius.dynamic_authorization import (
    DynamicAnswer,
    DynamicRequest,
    decode_dynamic_answer,
    encode_dynamic_request,
    explain_error_cause,
)
from evertunnel.protocols.radius.packet import PacketError

SECRET = b"s3cret"
CODES = [Code.DISCONNECT_REQUEST, Code.COA_REQUEST]


def build(code: Code = Code.DISCONNECT_REQUEST, identifier: int = 9) -> DynamicRequest:
    attributes = [(USER_NAME, b"alice"), (SESSION_TIMEOUT, bytes((0, 0, 2, 88)))]
    return encode_dynamic_request(code, identifier, attributes, secret=SECRET, timestamp=1_700_000_000)


def answer(request: DynamicRequest, code: int, *, cause: bytes | None = None, signed: bool = False) -> bytes:
    reply = pyrad.CoAPacket(secret=SECRET, dict=Dictionary(), packet=request.data).CreateReply()
    reply.dict = Dictionary()
    reply.code = code
    if cause is not None:
        reply[101] = [cause]
    if signed:
        reply.add_message_authenticator()
    return bytes(reply.ReplyPacket())


@pytest.mark.parametrize("code", CODES)
def test_pyrad_takes_what_we_send(code: Code) -> None:
    read = pyrad.CoAPacket(secret=SECRET, dict=Dictionary(), packet=build(code).data)
    assert read.VerifyCoARequest()
    assert read.verify_message_authenticator()
    assert (read.code, read.id, read[USER_NAME]) == (code, 9, [b"alice"])
    assert read[55] == [(1_700_000_000).to_bytes(4, "big")]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("code", CODES)
def test_we_take_what_pyrad_answers(code: Code, signed: bool) -> None:
    request = build(code)
    assert decode_dynamic_answer(answer(request, code + 1, signed=signed), request, SECRET) == DynamicAnswer(True)
    refused = decode_dynamic_answer(
        answer(request, code + 2, cause=bytes((0, 0, 1, 245)), signed=signed), request, SECRET
    )
    assert refused == DynamicAnswer(False, explain_error_cause(501))
    without_cause = decode_dynamic_answer(answer(request, code + 2), request, SECRET)
    assert without_cause.error == "the gateway refused and gave no cause"


def test_every_bit_counts() -> None:
    request = build()
    data = answer(request, 41, signed=True)
    for at in range(len(data)):
        with pytest.raises(PacketError):
            decode_dynamic_answer(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], request, SECRET)


def test_an_answer_is_to_its_own_request() -> None:
    with pytest.raises(PacketError):
        decode_dynamic_answer(answer(build(identifier=8), 41), build(), SECRET)
    with pytest.raises(PacketError):  # an ACK of the other kind
        decode_dynamic_answer(answer(build(), 44), build(), SECRET)


def test_an_unknown_cause_is_told_by_its_number() -> None:
    assert "Error-Cause 777" in explain_error_cause(777)


def test_what_does_not_fit_is_not_sent() -> None:
    with pytest.raises(ValueError, match="ends at 255"):
        encode_dynamic_request(Code.COA_REQUEST, 1, [(USER_NAME, bytes(254))], secret=SECRET, timestamp=0)
    with pytest.raises(ValueError, match="ends at 4096"):
        encode_dynamic_request(Code.COA_REQUEST, 1, [(USER_NAME, bytes(253))] * 17, secret=SECRET, timestamp=0)
