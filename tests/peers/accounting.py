"""A gateway's side of RADIUS accounting: requests written and answers checked by pyrad."""

import struct
from typing import Any

from pyrad import packet as pyrad

START, STOP, INTERIM, ON, OFF = 1, 2, 3, 7, 8
_NUMBERS = {
    "nas_port": 5, "delay": 41, "octets_in": 42, "octets_out": 43, "session_time": 46, "cause": 49,
    "giga_in": 52, "giga_out": 53, "stamp": 55,
}  # fmt: skip
_OCTETS = {"user": 1, "address": 8, "class_": 25, "client": 31, "proxy_state": 33, "session": 44}


def build(
    secret: bytes, status: int, session: str = "1-1", *, identifier: int | None = None, signed: bool = False,
    **values: Any,
) -> bytes:  # fmt: skip
    """An Accounting-Request. Numbers go as four octets, texts and octets as they are, several as a list."""
    request = pyrad.AcctPacket(id=identifier, secret=secret)
    request[40] = [struct.pack("!I", status)]
    for name, value in {"session": session, **values}.items():
        many = value if isinstance(value, list) else [value]
        if name in _NUMBERS:
            request[_NUMBERS[name]] = [struct.pack("!I", one) for one in many]
        else:
            request[_OCTETS[name]] = [one.encode() if isinstance(one, str) else one for one in many]
    if signed:
        request.add_message_authenticator()
    return bytes(request.RequestPacket())


def read_answer(secret: bytes, request: bytes, answer: bytes) -> pyrad.AcctPacket:
    """An answer as pyrad reads it; it must belong to the request."""
    asked = pyrad.AcctPacket(secret=secret, packet=request)
    answered: pyrad.AcctPacket = asked.CreateReply(packet=answer)
    assert asked.VerifyReply(answered, answer), "the answer is not for this request"
    assert answered.code == pyrad.AccountingResponse
    return answered
