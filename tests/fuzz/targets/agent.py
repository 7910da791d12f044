"""What an agent and its server say to each other, the code that enrols one, and strongSwan's VICI messages."""

import struct

from evertunnel.protocols.agent.code import EnrolmentCode, decode_code, encode_code
from evertunnel.protocols.agent.frames import FRAME_BYTES, FrameError, FrameReader, encode_frame
from evertunnel.protocols.agent.messages import (
    Begin,
    Child,
    Event,
    Events,
    GateAnswer,
    GateQuestion,
    Message,
    Reply,
    Terminate,
    TunnelSection,
    Welcome,
    decode_from_agent,
    decode_from_server,
    encode_message,
)
from evertunnel.protocols.vici import ViciMessageError, decode_message
from tests.fuzz.target import Target
from tests.unit.access.samples import NOW

_FRAMES, _SERVER, _AGENT, _CODE, _VICI = range(5)


def build() -> Target:
    """One of nearly every message, and what goes round them."""
    tunnel = TunnelSection(name="user", uniqueid="7", remote_vips=["10.31.0.1"], child_sas={"net-1": Child(state="UP")})
    told = Events(events=[Event(name="ike-updown", up=True, tunnel=tunnel), Event(name="log", line="a line")])
    from_agent: list[Message] = [Begin(version=1, time=NOW), told, Reply(id=3, tunnels=[tunnel], more=True)]
    from_agent.append(GateQuestion(id=1, request_der=b"0\3"))
    from_server: list[Message] = [Welcome(gateway="gw2"), Terminate(id=1, numbers=[1, 2]), GateAnswer(id=1)]
    code = encode_code(EnrolmentCode(bytes(16), bytes(32), "gw2", "vpn.example.test", 4433))
    section = b"\1\1a\3\2id\0\5hello\4\1l\5\0\1x\6\2"
    return Target(
        check,
        seeds=[
            *(bytes((_FRAMES, 5)) + encode_frame(encode_message(each)) * 2 for each in from_agent),
            *(bytes((_SERVER,)) + encode_message(each) for each in from_server),
            *(bytes((_AGENT,)) + encode_message(each) for each in from_agent),
            bytes((_CODE,)) + code.encode(),
            bytes((_VICI,)) + section,
        ],
        words=[b'"kind":"events"', b'"tunnels":[', b'"id":', b"null", b"1e999", b"\\ud800", b"evt1-", b'"child-sas":{'],
    )


def check(data: bytes) -> None:
    """Read by the first octet; only the reader's own error may come of it."""
    if len(data) < 2:
        return
    kind, rest = data[0] % 5, data[1:]
    if kind == _FRAMES:
        _check_frames(rest[0], rest[1:])
    elif kind == _CODE:
        _check_code(rest.decode("utf-8", "replace"))
    elif kind == _VICI:
        try:
            decode_message(rest)
        except ViciMessageError:
            return
    else:
        decode = decode_from_server if kind == _SERVER else decode_from_agent
        try:
            message = decode(rest)
        except FrameError as error:
            assert len(str(error)) < 500 and str(error).isascii() and str(error).isprintable()
            return
        assert decode(encode_message(message)) == message


def _check_frames(step: int, data: bytes) -> None:
    """However they are cut into pieces, the same frames come out."""
    reader, found, kept = FrameReader(), [], data
    try:
        for at in range(0, len(data), step + 1):
            reader.feed(data[at : at + step + 1])
            while (body := reader.take()) is not None:
                found.append(body)
    except FrameError:
        return
    for body in found:
        assert kept[:4] == struct.pack("!I", len(body)) and kept[4 : 4 + len(body)] == body
        assert len(body) <= FRAME_BYTES
        kept = kept[4 + len(body) :]
    assert reader.is_inside == bool(kept)


def _check_code(text: str) -> None:
    try:
        code = decode_code(text)
    except ValueError as error:
        assert len(str(error)) < 200
        return
    assert decode_code(encode_code(code)) == code
    assert repr(code.secret) not in repr(code)
