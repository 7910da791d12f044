"""The rules of RADIUS for Access-Request, one test a rule, named after it (RFC 2865, 3579, 5080; CVE-2024-3596)."""

import pytest

from evertunnel.servers.logins import Reply, Verdict
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, TLS_12, build_response
from tests.peers.gateway import Answer
from tests.unit.servers.conftest import SOURCE, Scene

EAP = build_response(0, IDENTITY, b"alice@corp.example")


def signed(scene: Scene, attributes: list[tuple[int, bytes]], **lies: object) -> bytes:
    return radius.sign(scene.secret, radius.encode_attributes(attributes), **lies)  # type: ignore[arg-type]


def assert_silent(scene: Scene, data: bytes, reason: str = "malformed_or_forged") -> None:
    """No answer, nothing recorded, and the reason counted."""
    assert scene.receive(data) is None
    assert scene.server.take_dropped() == {reason: 1}
    assert scene.installation.list_attempts() == []


def test_length_below_20_above_4096_or_above_the_datagram_is_dropped(scene: Scene) -> None:
    for length in (0, 19, 4_097, 65_535):
        assert_silent(scene, signed(scene, [(radius.EAP_MESSAGE, EAP)], length=length))
    for end in range(20):
        assert_silent(scene, signed(scene, [(radius.EAP_MESSAGE, EAP)])[:end])


def test_octets_after_length_are_ignored(scene: Scene) -> None:
    assert isinstance(scene.receive(signed(scene, [(radius.EAP_MESSAGE, EAP)], trailing=bytes(100))), Reply)


def test_an_attribute_of_length_0_or_1_or_over_the_end_drops_the_packet(scene: Scene) -> None:
    for size in (0, 1, 200):
        attributes = radius.encode_attributes([(radius.EAP_MESSAGE, EAP)]) + bytes((radius.USER_NAME, size))
        assert_silent(scene, radius.sign(scene.secret, attributes))


def test_codes_the_server_does_not_take_are_dropped(scene: Scene) -> None:
    for code in (0, 2, 3, 4, 5, 11, 13, 40, 43, 255):
        assert_silent(scene, signed(scene, [(radius.EAP_MESSAGE, EAP)], code=code))


def test_unknown_vendors_and_types_are_ignored(scene: Scene) -> None:
    unknown = [(0, b""), (radius.VENDOR_SPECIFIC, b"\xff\xff\xff\xff\x01\x02"), (241, b"\x01extended"), (255, b"x")]
    assert isinstance(scene.receive(signed(scene, [*unknown, (radius.EAP_MESSAGE, EAP)])), Reply)


def test_an_address_without_a_secret_gets_no_answer(scene: Scene) -> None:
    for address in ("127.0.0.2", "192.0.2.1", "::1"):
        assert scene.receive(scene.gateway.build(EAP), (address, 40_000)) is None
    assert scene.server.take_dropped() == {"unknown_gateway": 3}
    assert scene.server.take_dropped() == {}, "what was told is not told again"


def test_a_wrong_secret_gets_no_answer(scene: Scene) -> None:
    assert_silent(scene, radius.build_request(scene.secret + b"x", radius.split_eap(EAP)))


def test_each_gateway_has_its_own_secret(scene: Scene) -> None:
    other = scene.installation.add_gateway("gw2", "127.0.0.2")
    scene.follow()
    assert scene.receive(radius.build_request(other, radius.split_eap(EAP)), ("127.0.0.1", 40_000)) is None
    assert scene.receive(radius.build_request(other, radius.split_eap(EAP)), ("127.0.0.2", 40_000)) is not None


@pytest.mark.parametrize(
    ("configured", "source"),
    [("192.0.2.9", "::ffff:192.0.2.9"), ("2001:DB8:0:0::9", "2001:db8::9"), ("2001:db8::9", "2001:db8::9")],
)
def test_a_gateway_is_known_in_any_spelling_of_its_address(scene: Scene, configured: str, source: str) -> None:
    scene.secret = scene.installation.add_gateway("gw2", configured)
    scene.follow()
    assert scene.receive(scene.new_gateway().build(EAP), (source, 40_000)) is not None


def test_proxy_state_is_copied_back_unchanged_and_in_order_into_every_kind_of_answer(scene: Scene) -> None:
    states = [b"second hop", b"\0\xff", b"first hop"]
    gateway = scene.new_gateway(attributes=[(radius.PROXY_STATE, state) for state in states])
    gateway.log_in(scene.new_client())
    gateway.log_in(scene.new_client(identity="mallory@corp.example"))
    assert {answer.code for answer in gateway.answers} == {radius.CHALLENGE, radius.ACCEPT, radius.REJECT}
    for answer in gateway.answers:
        assert answer.packet[radius.PROXY_STATE] == states


@pytest.mark.parametrize("octets", [2_500, 3_000, 3_400])
def test_with_much_proxy_state_messages_become_smaller(scene: Scene, octets: int) -> None:
    """It is copied, whatever it is, and an answer ends at 4096 octets."""
    states = [bytes(250)] * (octets // 252)
    gateway = scene.new_gateway(attributes=[(radius.PROXY_STATE, state) for state in states])
    client = scene.new_client(fragment_bytes=300)
    assert gateway.log_in(client).code == radius.ACCEPT
    assert all(answer.packet[radius.PROXY_STATE] == states for answer in gateway.answers)


def test_a_state_is_not_guessable_and_never_used_twice(scene: Scene) -> None:
    states = []
    for _ in range(10):
        gateway = scene.new_gateway()
        gateway.log_in(scene.new_client())
        states += [answer.state for answer in gateway.answers if answer.state is not None]
    assert len(states) >= 50
    assert len(set(states)) == len(states)
    assert {len(state) for state in states} == {16}
    # The first octet is the worker's. No other stands still, as it would if a counter or a time were in it.
    assert {state[0] for state in states} == {0}
    assert all(len({state[place] for state in states}) > 10 for place in range(1, 16))


def test_an_unknown_state_never_leads_to_accept(scene: Scene) -> None:
    client = scene.new_client()
    answer = scene.gateway.ask(client.answer_identity())
    while answer.code == radius.CHALLENGE:
        eap = client.answer(answer.eap)
        assert answer.state is not None
        for state in (bytes(16), answer.state[:-1], answer.state + b"\0", answer.state[::-1], b""):
            assert scene.gateway.send(scene.gateway.build(eap, state)) is None
        answer = scene.gateway.ask(eap, answer.state)
    assert answer.code == radius.ACCEPT, "what did not fit did no harm"


def test_a_state_is_bound_to_its_gateway(scene: Scene) -> None:
    other_secret = scene.installation.add_gateway("gw2", "127.0.0.2")
    scene.follow()
    other = scene.new_gateway()
    other.secret, other.road = other_secret, lambda data: scene.carry(data, ("127.0.0.2", 40_000))
    client = scene.new_client()
    answer = scene.gateway.ask(client.answer_identity())
    while answer.code == radius.CHALLENGE:
        eap = client.answer(answer.eap)
        assert other.send(other.build(eap, answer.state)) is None
        answer = scene.gateway.ask(eap, answer.state)
    assert answer.code == radius.ACCEPT


def test_a_state_is_bound_to_its_conversation_and_used_up_by_it(scene: Scene) -> None:
    client = scene.new_client()
    first = scene.gateway.ask(client.answer_identity())
    eap = client.answer(first.eap)
    scene.gateway.ask(eap, first.state)
    assert scene.gateway.send(scene.gateway.build(eap, first.state)) is None
    assert scene.server.take_dropped() == {"unknown_state": 1}


def test_eap_message_needs_a_message_authenticator(scene: Scene) -> None:
    attributes = radius.encode_attributes([(radius.EAP_MESSAGE, EAP)])
    unsigned = b"\x01\x07" + (20 + len(attributes)).to_bytes(2, "big") + bytes(16) + attributes
    assert_silent(scene, unsigned, "without_message_authenticator")


def test_an_access_request_without_eap_needs_a_message_authenticator_too(scene: Scene) -> None:
    pap = [(radius.USER_NAME, b"alice@corp.example"), (2, bytes(16)), (radius.PROXY_STATE, b"hop")]
    attributes = radius.encode_attributes(pap)
    unsigned = b"\x01\x07" + (20 + len(attributes)).to_bytes(2, "big") + bytes(16) + attributes
    assert_silent(scene, unsigned, "without_message_authenticator")


def test_a_wrong_message_authenticator_is_dropped(scene: Scene) -> None:
    data = bytearray(signed(scene, [(radius.EAP_MESSAGE, EAP)]))
    data[-1] ^= 1
    assert_silent(scene, bytes(data))


def test_there_is_one_message_authenticator_of_18_octets(scene: Scene) -> None:
    for octets in (0, 15, 16, 17):
        extra = [(radius.MESSAGE_AUTHENTICATOR, bytes(octets)), (radius.EAP_MESSAGE, EAP)]
        assert_silent(scene, signed(scene, extra))


def test_a_password_is_refused_with_a_signed_reject_and_without_eap(scene: Scene) -> None:
    for attributes in ([(2, bytes(16))], [(3, bytes(17)), (60, bytes(16))], []):
        reject = scene.gateway.send(radius.build_request(scene.secret, [(radius.USER_NAME, b"alice"), *attributes]))
        assert reject is not None
        assert (reject.code, reject.eap) == (radius.REJECT, b"")
    assert {attempt.reason for attempt in scene.installation.list_attempts()} == {"method_refused"}


def list_answers_of_every_kind(scene: Scene) -> list[Answer]:
    scene.gateway.log_in(scene.new_client(version=TLS_12))
    scene.gateway.log_in(scene.new_client(version=TLS_12, identity="mallory@corp.example"))
    password = scene.gateway.send(radius.build_request(scene.secret, [(radius.USER_NAME, b"alice"), (2, bytes(16))]))
    assert password is not None
    return scene.gateway.answers


def test_every_accept_reject_and_challenge_carries_a_message_authenticator_as_first_attribute(scene: Scene) -> None:
    answers = list_answers_of_every_kind(scene)
    assert {answer.code for answer in answers} == {radius.ACCEPT, radius.REJECT, radius.CHALLENGE}
    assert any(answer.code == radius.REJECT and not answer.eap for answer in answers)
    for answer in answers:
        assert answer.data[20:22] == bytes((radius.MESSAGE_AUTHENTICATOR, 18))


def test_the_same_packet_again_gets_the_same_bytes(scene: Scene) -> None:
    scene.gateway.road = lambda data: assert_repeated(scene, data)
    list_answers_of_every_kind(scene)
    assert len(scene.installation.list_attempts()) == 3, "a repeated packet is counted once"
    assert len(scene.installation.list_sessions()) == 1


def assert_repeated(scene: Scene, data: bytes) -> bytes | None:
    first = scene.carry(data)
    for pause in (0.0, 5.0, 14.9):
        scene.uptime += pause
        assert scene.carry(data) == first
    scene.uptime -= 19.9
    return first


def test_the_same_packet_after_its_time_is_a_new_one_that_belongs_to_nothing(scene: Scene) -> None:
    client = scene.new_client()
    first = scene.gateway.ask(client.answer_identity())
    request = scene.gateway.build(client.answer(first.eap), first.state)
    assert scene.carry(request) is not None
    scene.uptime += 20.1
    assert scene.carry(request) is None


def test_a_new_authenticator_is_a_new_request(scene: Scene) -> None:
    requests = [scene.gateway.build(EAP, identifier=9) for _ in range(3)]
    answers = [scene.carry(request) for request in requests]
    assert len({request[4:20] for request in requests}) == 3
    assert len(set(answers)) == 3


@pytest.mark.parametrize("source", [("127.0.0.1", 40_001), ("127.0.0.2", 40_000)])
def test_another_source_is_a_new_request(scene: Scene, source: tuple[str, int]) -> None:
    scene.installation.add_gateway("gw2", "127.0.0.2")
    scene.follow()
    request = scene.gateway.build(EAP)
    first = scene.carry(request, SOURCE)
    assert scene.carry(request, source) != first


def test_a_packet_that_is_being_worked_on_is_not_worked_on_twice(scene: Scene) -> None:
    request = scene.gateway.build_last_request(scene.new_client())
    assert isinstance(scene.receive(request), Verdict), "nobody recorded it yet"
    assert scene.receive(request) is None
    assert scene.server.take_dropped() == {"repeated_too_soon": 1}
