"""Whatever is sent within PEAP or as MS-CHAPv2, in whatever order: no Accept without a completed method."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.peers import radius
from tests.peers.certificates import build_authority, build_leaf
from tests.peers.eap_tls import NAK, build_response
from tests.peers.gateway import Answer
from tests.peers.peap import EXTENSIONS, MSCHAPV2, PEAP, InnerMSCHAPv2, MSCHAPv2Client, PEAPClient, Twist
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import (
    ALICE,
    DAVE,
    TLS_12,
    TLS_13,
    allow_passwords,
    new_certificate_client,
    new_password_client,
)

Client = PEAPClient | MSCHAPv2Client
_RESULT = struct.pack("!HHH", 0x8003, 2, 1)
_SUCCESS = struct.pack("!BBHB", 2, 7, 11, EXTENSIONS) + _RESULT
PLAY = settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# What is said inside the tunnel instead of the truth.
INSIDE: dict[str, Callable[[bytes, list[bytes], int], bytes | None]] = {
    "honest": lambda plain, _said, _number: plain,
    "result": lambda _plain, _said, _number: _SUCCESS,
    "bound result": lambda _plain, _said, number: (
        struct.pack("!BBHB", 2, 7, 71, EXTENSIONS)
        + _RESULT
        + struct.pack("!HHL", 12, 56, 1)
        + bytes([number & 255]) * 52
    ),
    "success": lambda _plain, _said, _number: bytes((MSCHAPV2, 3)),
    "empty": lambda plain, _said, _number: plain[:1] + b"\0",
    "nothing": lambda _plain, _said, _number: None,
    "again": lambda _plain, said, number: said[number % len(said)],
    "identity": lambda _plain, _said, _number: b"\x01" + ALICE.encode(),
    "nak": lambda _plain, _said, number: bytes((NAK, 13 + number % 14)),
    "turned": lambda plain, _said, number: bytes(
        octet ^ (1 << (number % 8) if at == number % len(plain) else 0) for at, octet in enumerate(plain)
    ),
    "cut": lambda plain, _said, number: plain[: number % (len(plain) + 1)],
}
# And outside it.
OUTSIDE: dict[str, Callable[[bytes, bytes, int], bytes]] = {
    "honest": lambda said, _asked, _number: said,
    "ack": lambda _said, asked, _number: build_response(asked[1], PEAP, b"\0"),
    "flags": lambda said, asked, number: build_response(asked[1], said[4], bytes((number % 256,)) + said[6:]),
    "success": lambda _said, asked, _number: build_response(asked[1], MSCHAPV2, b"\x03"),
    "end": lambda _said, asked, _number: bytes((3, asked[1], 0, 4)),
    "nak": lambda _said, asked, number: build_response(asked[1], NAK, bytes((13 + number % 14,))),
    "result": lambda _said, asked, _number: build_response(asked[1], EXTENSIONS, _RESULT),
}
MOVE = st.tuples(
    st.sampled_from(["honest"] * 8 + list(OUTSIDE)),
    st.sampled_from(["honest"] * 8 + list(INSIDE)),
    st.integers(0, 4_000),
)
SCRIPT = st.lists(MOVE, min_size=6, max_size=20)


def new_stranger(scene: Scene, kind: str, twist: Twist) -> Client:
    """Somebody who has no key of ours and no password."""
    if kind == "mschapv2":
        return MSCHAPv2Client(InnerMSCHAPv2(DAVE, "wrong"), identity=DAVE)
    version = TLS_12 if kind.endswith("12") else TLS_13
    if kind.startswith("password"):
        return new_password_client(scene, "wrong", version=version, twist=twist)
    foreign = build_leaf(build_authority("Elsewhere"), ALICE)
    return new_certificate_client(scene, foreign, version=version, twist=twist)


@pytest.mark.parametrize("kind", ["password12", "password13", "certificate12", "certificate13", "mschapv2"])
def test_nobody_without_key_or_password_gets_an_accept(scene: Scene, kind: str) -> None:
    allow_passwords(scene, without_crypto_binding=True)

    @PLAY
    @given(SCRIPT)
    def play(script: list[tuple[str, str, int]]) -> None:
        said: list[bytes] = [b"\0"]
        lie: list[tuple[str, int]] = [("honest", 0)]

        def twist(_what: str, plain: bytes) -> bytes | None:
            said.append(plain)
            inside, number = lie[-1]
            return INSIDE[inside](plain, said, number)

        client = new_stranger(scene, kind, twist)
        answer: Answer | None = scene.gateway.ask(client.answer_identity())
        for outside, inside, number in script:
            if answer is None or answer.code != radius.CHALLENGE:
                break
            lie.append((inside, number))
            try:
                honest = client.answer(answer.eap)
            except (AssertionError, IndexError, KeyError, ValueError):
                break  # it lied itself out of what it understands
            answer = scene.gateway.send(scene.gateway.build(OUTSIDE[outside](honest, answer.eap, number), answer.state))
            assert answer is None or answer.code != radius.ACCEPT

    play()
    assert scene.installation.list_sessions() == []
