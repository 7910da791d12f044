"""RADIUS packets: as they come, and with a right signature, which no mutation would find by itself.

The first octet says what the rest is. Signed attributes must come out as they went in; what is not signed must not
come out at all; whatever is answered is read by another codec.
"""

import struct
from hashlib import md5

from evertunnel.actions.account import AccountingReport
from evertunnel.protocols.radius.accounting import (
    AccountingRequest,
    decode_accounting_request,
    encode_accounting_response,
)
from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.packet import (
    AccessRequest,
    PacketError,
    Request,
    decode_access_request,
    encode_reply,
)
from evertunnel.protocols.radius.status import decode_status_server
from evertunnel.servers.accounting_server import build_report
from tests.fuzz.target import Target
from tests.peers import accounting, radius
from tests.unit.access.samples import GATEWAY, NOW

SECRET = b"xyzzy5461"
EAP_MESSAGE, MESSAGE_AUTHENTICATOR, PROXY_STATE = 79, 80, 33
# RFC 5997 6.1, RFC 2865 7.1 and 7.2 with their secret.
STATUS_SERVER = bytes.fromhex("0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3")
PAP = bytes.fromhex(
    "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003"
)
CHAP = bytes.fromhex(
    "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f7073790313168d9a2d1d4fe7a0b5c3d4d3f2a1b0c9d80406c0a80110"
    "05060000001406060000000207060000000100"
)
_RAW, _ACCESS, _STATUS, _ACCOUNTING = range(4)


def build() -> Target:
    """Whole packets and attributes of every kind of request."""
    login = [(1, b"alice"), (24, bytes(16)), (33, b"a proxy"), (12, b"\0\0\x05\x78"), *radius.split_eap(bytes(600))]
    counted = accounting.build(
        SECRET, accounting.INTERIM, octets_in=1, giga_in=2, address=b"\x0a\x1f\0\1", user="alice", signed=True
    )
    seeds = [bytes((_RAW,)) + data for data in (STATUS_SERVER, PAP, CHAP, counted)]
    seeds.append(bytes((_RAW,)) + radius.build_request(SECRET, login, identifier=1))
    seeds.append(bytes((_ACCESS,)) + radius.encode_attributes(login))
    seeds.append(bytes((_STATUS,)) + radius.encode_attributes([(33, b"a proxy")]))
    seeds.append(bytes((_ACCOUNTING,)) + counted[20:])
    return Target(check, seeds, largest_bytes=4200, words=[bytes((n,)) for n in (1, 24, 26, 33, 40, 44, 55, 79, 80)])


def check(data: bytes) -> None:
    """Decode by the first octet."""
    if not data:
        return
    kind, rest = data[0] % 4, data[1:]
    if kind == _RAW:
        _check_raw(rest)
    elif kind == _ACCESS:
        _check_access(rest)
    elif kind == _STATUS:
        _check_status(rest)
    else:
        _check_accounting(rest)


def _check_raw(data: bytes) -> None:
    """Nothing comes out of it under a secret that the sender did not have."""
    for decode in (decode_access_request, decode_accounting_request, decode_status_server):
        try:
            decode(data, b"another secret")
        except PacketError as error:
            assert len(str(error)) < 200
        else:
            raise AssertionError("a packet was taken whose signature is wrong")


def _check_access(attributes: bytes) -> None:
    data = radius.sign(SECRET, attributes)
    try:
        request = decode_access_request(data, SECRET)
    except PacketError:
        return
    walked = _walk(attributes)
    kept = tuple(each for each in walked if each[0] != EAP_MESSAGE)
    assert request.attributes == kept
    assert request.eap_message == b"".join(value for number, value in walked if number == EAP_MESSAGE)
    assert request.state == next((value for number, value in kept if number == 24), None)
    for number, _ in kept:
        request.find_integer(number)
        request.find_text(number).encode()
    _check_reply(request, data)


def _check_reply(request: AccessRequest, data: bytes) -> None:
    eap = request.eap_message[:1000]
    try:
        reply = encode_reply(Code.ACCESS_CHALLENGE, request, SECRET, eap_message=eap, attributes=[(24, bytes(16))])
    except ValueError:
        assert sum(len(value) + 2 for _, value in request.attributes) > 2900, "a short reply was not written"
        return
    answered = radius.read_reply(SECRET, data, reply)
    assert radius.join_eap(answered) == eap
    assert answered.get(PROXY_STATE, []) == [value for number, value in request.attributes if number == PROXY_STATE]


def _check_status(attributes: bytes) -> None:
    try:
        request = decode_status_server(radius.sign(SECRET, attributes, code=Code.STATUS_SERVER), SECRET)
    except PacketError:
        return
    assert request.attributes == _walk(attributes)


def _check_accounting(attributes: bytes) -> None:
    header = struct.pack("!BBH", Code.ACCOUNTING_REQUEST, 9, min(20 + len(attributes), 0xFFFF))
    data = header + md5(header + bytes(16) + attributes + SECRET).digest() + attributes
    try:
        request = decode_accounting_request(data, SECRET)
    except PacketError:
        return
    assert request.attributes == tuple(each for each in _walk(attributes) if each[0] != MESSAGE_AUTHENTICATOR)
    assert all(0 <= count < 2**64 for count in request.octets)
    assert isinstance(request, AccountingRequest) and all(request.addresses)
    report = build_report(request, GATEWAY, NOW)
    assert report is None or report.happened_at <= NOW
    if isinstance(report, AccountingReport):
        texts = (report.acct_session_id, report.user_name, report.remote_address, *report.session_ids)
        assert all(len(text.encode()) <= 4 * 256 and "\0" not in text for text in texts)
    _check_answer(request, data)


def _check_answer(request: Request, data: bytes) -> None:
    answer = encode_accounting_response(request, SECRET)
    assert len(answer) <= len(data)
    assert answer[4:20] == md5(answer[:4] + data[4:20] + answer[20:] + SECRET).digest()


def _walk(attributes: bytes) -> tuple[tuple[int, bytes], ...]:
    """The same as the decoder, written the other way round: by cutting from the front."""
    found = []
    while attributes:
        size = attributes[1]
        found.append((attributes[0], attributes[2:size]))
        attributes = attributes[size:]
    return tuple(found)
