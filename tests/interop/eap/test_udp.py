"""Hostile packets on the real socket: silence, and the server still serves."""

import os
import random
from collections.abc import Callable

from evertunnel.model import Authority
from tests.interop.eap.conftest import BOB, Live, Wire
from tests.peers import radius
from tests.peers.certificates import build_leaf
from tests.peers.eap_tls import IDENTITY, Client, build_response
from tests.peers.gateway import Gateway

NewWire = Callable[..., Wire]
EAP = build_response(0, IDENTITY, BOB.encode())
NOTHING_MORE_SECONDS = 0.2
PACKETS_AT_ONCE = 20  # more may be too many for the socket's buffer, which would prove nothing


def new_client(live: Live, pem: bytes) -> Client:
    return Client(root_pem=live.root_file.read_bytes(), pem=pem, identity=BOB, server_name="localhost")


def assert_silence_then_service(live: Live, wire: Wire, packets: list[bytes]) -> None:
    """The packets get no answer: the first that comes after some of them is the one to an honest packet."""
    for at in range(0, max(len(packets), 1), PACKETS_AT_ONCE):
        for packet in packets[at : at + PACKETS_AT_ONCE]:
            wire.send(packet)
        honest = radius.build_request(live.secret, radius.split_eap(EAP))
        reply = wire.carry(honest)
        assert reply is not None
        assert radius.read_reply(live.secret, honest, reply).code == radius.CHALLENGE
    assert wire.receive(seconds=NOTHING_MORE_SECONDS) is None


def sign(live: Live, attributes: list[tuple[int, bytes]], **lies: object) -> bytes:
    encoded = radius.encode_attributes(attributes)
    return radius.sign(live.secret, encoded, authenticator=os.urandom(16), **lies)  # type: ignore[arg-type]


def test_malformed_and_truncated_packets(live: Live, new_wire: NewWire) -> None:
    good = sign(live, [(radius.USER_NAME, BOB.encode()), (radius.EAP_MESSAGE, EAP)])
    chance = random.Random(1)
    packets = [good[:end] for end in range(0, len(good), 3)]
    packets += [bytes((code,)) + good[1:] for code in range(2, 256, 5)]
    packets += [good[:2] + length.to_bytes(2, "big") + good[4:] for length in (0, 1, 19, len(good) + 1, 4_097, 65_535)]
    packets += [good[:20] + bytes((1, size)) + good[22:] for size in (0, 1, 255)]
    packets += [chance.randbytes(chance.randint(0, 1_500)) for _ in range(200)]
    assert_silence_then_service(live, new_wire(), packets)


def test_forged_packets(live: Live, new_wire: NewWire) -> None:
    good = sign(live, [(radius.EAP_MESSAGE, EAP)])
    packets = [good[:at] + bytes((good[at] ^ 0x80,)) + good[at + 1 :] for at in range(20, len(good))]
    packets += [radius.build_request(live.secret + b"x", radius.split_eap(EAP))]
    packets += [sign(live, [(radius.MESSAGE_AUTHENTICATOR, bytes(16)), (radius.EAP_MESSAGE, EAP)])]
    unsigned = radius.encode_attributes([(radius.EAP_MESSAGE, EAP)])
    packets += [b"\x01\x07" + (20 + len(unsigned)).to_bytes(2, "big") + os.urandom(16) + unsigned]
    packets += [sign(live, [(radius.EAP_MESSAGE, EAP), (radius.STATE, os.urandom(16))]) for _ in range(20)]
    assert_silence_then_service(live, new_wire(), packets)


def test_oversized_packets(live: Live, new_wire: NewWire) -> None:
    filler = [(radius.PROXY_STATE, bytes(253))] * 16
    packets = [sign(live, [(radius.EAP_MESSAGE, EAP), *filler]), bytes(65_000), sign(live, [])[:20] + bytes(60_000)]
    assert_silence_then_service(live, new_wire(), packets)


def test_an_address_without_a_secret_gets_no_answer(live: Live, new_wire: NewWire) -> None:
    stranger = new_wire("127.0.0.2")
    stranger.send(radius.build_request(live.secret, radius.split_eap(EAP)))
    assert_silence_then_service(live, new_wire(), [])
    assert stranger.receive(seconds=NOTHING_MORE_SECONDS) is None


def test_a_login_replayed_from_another_port_gets_nobody_in(live: Live, new_wire: NewWire) -> None:
    gateway = Gateway(live.secret, new_wire().carry)
    accept = gateway.log_in(new_client(live, live.issue("--user", BOB).pem))
    assert accept.code == radius.ACCEPT
    first, *rest = [answer.request for answer in gateway.answers]
    thief = new_wire()
    answered = thief.carry(first)
    assert answered is not None
    assert answered[0] == radius.CHALLENGE, "to say who one is gets a beginning, not an end"
    assert_silence_then_service(live, thief, rest)


def test_a_login_repeated_from_its_own_port_gets_the_same_bytes(live: Live, new_wire: NewWire) -> None:
    wire = new_wire()
    gateway = Gateway(live.secret, wire.carry)
    gateway.log_in(new_client(live, live.issue("--user", BOB).pem))
    (before,) = live.list_attempts(1)
    for answer in gateway.answers:
        assert wire.carry(answer.request) == answer.data
    assert live.list_attempts(1) == [before]


def test_a_repeated_accept_after_a_denial_is_a_reject(live: Live, new_wire: NewWire) -> None:
    name = "frank@corp.example"
    live.run("user", "add", name)
    live.run("group", "join", "Long-lived", "--user", name)
    wire = new_wire()
    gateway = Gateway(live.secret, wire.carry)
    client = new_client(live, live.issue("--user", name).pem)
    client.identity = name
    accept = gateway.log_in(client)
    assert accept.code == radius.ACCEPT
    live.run("deny", "user", name, "--reason", "left", "--wait", "0", check=False)
    reject = wire.carry(accept.request)
    assert reject is not None
    assert radius.read_reply(live.secret, accept.request, reject).code == radius.REJECT
    reasons = [attempt["reason"] for attempt in live.list_attempts(2)]
    assert sorted(reasons) == ["granted", "user_denied"]


def test_many_logins_left_open_do_not_keep_anybody_out(live: Live, new_wire: NewWire) -> None:
    wire = new_wire()
    for _ in range(3_000):
        assert wire.carry(sign(live, radius.split_eap(EAP))) is not None
    gateway = Gateway(live.secret, new_wire().carry)
    assert gateway.log_in(new_client(live, live.issue("--user", BOB).pem)).code == radius.ACCEPT


def test_a_refused_client_leaves_no_trace_of_its_certificate_in_the_reply(live: Live, new_wire: NewWire) -> None:
    ghost = build_leaf(live.load_authority(Authority.ISSUING), BOB)
    gateway = Gateway(live.secret, new_wire().carry)
    reject = gateway.log_in(new_client(live, ghost.pem))
    assert reject.words == "Access-Reject, Failure"
    assert set(reject.packet.keys()) == {radius.MESSAGE_AUTHENTICATOR, radius.EAP_MESSAGE}
