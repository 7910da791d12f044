"""Requests as they leave, and which answers count."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from evertunnel.gateways import dynamic_client
from evertunnel.gateways.dynamic_client import DynamicClient, Wish
from evertunnel.protocols.radius.attributes import USER_NAME, Code
from evertunnel.protocols.radius.dynamic_authorization import DynamicAnswer
from tests.peers.dynamic import EVENT_TIMESTAMP, DynamicGateway

SECRET = b"between us two and nobody else"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NewGateway = Callable[..., DynamicGateway]


@pytest.fixture
def new_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[NewGateway]:
    monkeypatch.setattr(dynamic_client, "_WAITS_SECONDS", (0.2, 0.2, 0.2))
    made: list[DynamicGateway] = []

    def make(**options: object) -> DynamicGateway:
        made.append(DynamicGateway(SECRET, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


def connect(gateway: DynamicGateway, *secrets: bytes) -> DynamicClient:
    return DynamicClient("127.0.0.1", gateway.port, secrets or [SECRET], lambda: NOW)


def disconnect(name: str) -> Wish:
    return Code.DISCONNECT_REQUEST, [(USER_NAME, name.encode())]


def test_it_is_signed_both_ways_and_says_when(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    assert connect(gateway).ask([disconnect("alice")]) == [DynamicAnswer(True)]
    (request,) = gateway.requests
    assert (request[USER_NAME], gateway.forged) == ([b"alice"], 0)
    assert int.from_bytes(request[EVENT_TIMESTAMP][0], "big") == int(NOW.timestamp())


def test_hundreds_are_answered_each_its_own_way(new_gateway: NewGateway) -> None:
    def answer(request: object, _data: bytes) -> list[bytes]:
        odd = int(request[USER_NAME][0]) % 2  # type: ignore[index]
        return [gateway.say(request, yes=not odd, cause=503 if odd else None, signed=bool(odd))]  # type: ignore[arg-type]

    gateway = new_gateway()
    gateway.answer = answer
    answers = connect(gateway).ask([disconnect(str(number)) for number in range(300)])
    assert [each.acknowledged for each in answers if each] == [number % 2 == 0 for number in range(300)]
    refused = answers[1]
    assert refused is not None
    assert refused.error == "the gateway refused: it knows no such session (Error-Cause 503)"


def test_one_that_was_lost_is_asked_again_while_hundreds_go_on(new_gateway: NewGateway) -> None:
    def answer(request: object, _data: bytes) -> list[bytes]:
        came = sum(each[USER_NAME] == [b"5"] for each in gateway.requests)
        lost = request[USER_NAME] == [b"5"] and came == 1  # type: ignore[index]
        return [] if lost else [gateway.say(request, yes=True)]  # type: ignore[arg-type]

    gateway = new_gateway()
    gateway.answer = answer
    answers = connect(gateway).ask([disconnect(str(number)) for number in range(600)])
    assert [number for number, each in enumerate(answers) if each is None] == []


def test_it_leaves_again_unchanged_until_it_is_answered(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    gateway.answer = lambda request, _data: [gateway.say(request, yes=True)] if len(gateway.requests) == 3 else []
    assert connect(gateway).ask([disconnect("alice")]) == [DynamicAnswer(True)]
    assert len(gateway.octets) == 3
    assert len(set(gateway.octets)) == 1


def test_new_content_has_a_new_identifier(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    client = connect(gateway)
    for name in ("alice", "bob"):
        client.ask([disconnect(name)])
    assert gateway.octets[0][1] != gateway.octets[1][1]


LIES: dict[str, Callable[[DynamicGateway, object, bytes], bytes]] = {
    "another secret": lambda _gateway, _request, _data: b"\x29" + _data[1:2] + b"\x00\x14" + bytes(16),
    "a bit changed": lambda gateway, request, _data: gateway.say(request, yes=True, signed=True)[:-1] + b"\x00",  # type: ignore[arg-type]
    "cut off": lambda gateway, request, _data: gateway.say(request, yes=True, signed=True)[:-1],  # type: ignore[arg-type]
    "the request itself": lambda _gateway, _request, data: data,
    "another code": lambda gateway, request, _data: b"\x2c" + gateway.say(request, yes=True)[1:],  # type: ignore[arg-type]
    "nothing": lambda _gateway, _request, _data: b"",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_forged_answer_is_none(
    new_gateway: NewGateway, lie: Callable[[DynamicGateway, object, bytes], bytes]
) -> None:
    gateway = new_gateway()
    gateway.answer = lambda request, data: [lie(gateway, request, data)]
    assert connect(gateway).ask([disconnect("alice")]) == [None]


def test_an_answer_of_before_answers_nothing_now(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    kept: list[bytes] = []

    def answer(request: object, _data: bytes) -> list[bytes]:
        kept.append(gateway.say(request, yes=True))  # type: ignore[arg-type]
        return kept[:1]

    gateway.answer = answer
    client = connect(gateway)
    assert client.ask([disconnect("alice")]) == [DynamicAnswer(True)]
    client._next -= 1  # the same name again
    assert client.ask([disconnect("bob")]) == [None]


def test_only_the_gateways_own_address_and_port_are_heard(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
        another.bind(("127.0.0.1", 0))

        def answer(request: object, _data: bytes) -> list[bytes]:
            another.sendto(gateway.say(request, yes=True), gateway.sources[-1])  # type: ignore[arg-type]
            return []

        gateway.answer = answer
        assert connect(gateway).ask([disconnect("alice")]) == [None]
    assert gateway.sources


def test_where_nobody_listens_the_rest_is_not_asked(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    gateway.answer = lambda _request, _data: []
    assert connect(gateway).ask([disconnect(str(number)) for number in range(200)]) == [None] * 200
    assert len({request[USER_NAME][0] for request in gateway.requests}) == 64


def test_with_another_secret_nobody_understands_us(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    assert connect(gateway, b"another").ask([disconnect("alice")]) == [None]
    assert gateway.forged


@pytest.mark.parametrize("secrets", [(b"another", SECRET), (SECRET, b"another")], ids=["the old", "the new"])
def test_of_two_secrets_the_one_that_the_gateway_has_is_heard(
    new_gateway: NewGateway, secrets: tuple[bytes, bytes]
) -> None:
    gateway = new_gateway()
    wishes = [disconnect(str(number)) for number in range(300)]
    assert connect(gateway, *secrets).ask(wishes) == [DynamicAnswer(True)] * 300
    # Once each or, when it was slow to answer, once more.
    assert {int(request[USER_NAME][0]) for request in gateway.requests} == set(range(300))
