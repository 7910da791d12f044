"""Whatever is sent, in whatever order: nobody gets an Accept who did not finish the method with a key of ours."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evertunnel.model import Authority
from tests.peers import radius
from tests.peers.certificates import build_authority, build_leaf, build_stolen_pem
from tests.peers.eap_tls import NAK, TLS, TLS_12, TLS_13, Client, NotAcknowledgedError, build_response
from tests.peers.gateway import Answer
from tests.peers.tls_keys import compute_msk
from tests.unit.servers.conftest import Scene

_START = bytes((1, 0, 0, 5, 1))


class Speaker:
    """A client in one conversation that says what it should, or anything else."""

    def __init__(self, scene: Scene, client: Client, overheard: list[bytes]) -> None:
        self.scene, self.client, self.overheard = scene, client, overheard
        self.asked, self.state = _START, None
        self.ended = False
        self.answer: Answer | None = None
        self._honest: bytes | None = None

    @property
    def honest(self) -> bytes:
        """What an honest client says to the open request; asked for twice it is the same."""
        if self._honest is None:
            try:
                self._honest = self.client.answer(self.asked)
            except NotAcknowledgedError:
                # An earlier lie took the flag "more fragments" off: the server rightly has no patience left.
                self._honest = build_response(self.asked[1], TLS, b"\0")
            self.overheard.append(self._honest)
        return self._honest

    def say(self, eap: bytes) -> None:
        self.answer = self.scene.gateway.send(self.scene.gateway.build(eap, self.state))
        if self.answer is None:
            return
        if self.answer.code == radius.CHALLENGE:
            self.asked, self.state, self._honest = self.answer.eap, self.answer.state, None
        else:
            self.ended = True

    def begin_again(self) -> None:
        self.asked, self.state, self._honest, self.ended = _START, None, None, False


Move = Callable[[Speaker, int], bytes]


def with_identifier(speaker: Speaker, eap: bytes) -> bytes:
    return eap[:1] + speaker.asked[1:2] + eap[2:]


def cut(speaker: Speaker, number: int) -> bytes:
    """The honest answer cut short, its lengths put right."""
    body = speaker.honest[5:]
    return build_response(speaker.asked[1], speaker.honest[4], body[: number % (len(body) + 1)])


def change(speaker: Speaker, number: int) -> bytes:
    """The honest answer with one bit turned."""
    eap = bytearray(speaker.honest)
    eap[4 + number % (len(eap) - 4)] ^= 1 << (number % 8)
    return bytes(eap)


MOVES: dict[str, Move] = {
    "honest": lambda speaker, _: speaker.honest,
    "empty": lambda speaker, _: build_response(speaker.asked[1], TLS, b"\0"),
    "nothing": lambda _speaker, _: b"",
    "cut": cut,
    "changed": change,
    "overheard": lambda speaker, number: with_identifier(speaker, speaker.overheard[number % len(speaker.overheard)]),
    "stale": lambda speaker, number: speaker.overheard[number % len(speaker.overheard)],
    "success": lambda speaker, _: bytes((3, speaker.asked[1], 0, 4)),
    "octet of the server": lambda speaker, _: build_response(speaker.asked[1], TLS, b"\0\0"),
    "other method": lambda speaker, number: build_response(speaker.asked[1], number % 256, b"\x03\0"),
    "nak": lambda speaker, _: build_response(speaker.asked[1], NAK, b"\x0d"),
    "flags": lambda speaker, number: build_response(speaker.asked[1], TLS, bytes((number % 256,)) + speaker.honest[6:]),
}
# Mostly what an honest client says, or the end would never be near.
SCRIPT = st.lists(
    st.tuples(st.sampled_from(["honest"] * 12 + list(MOVES)), st.integers(0, 4_000)), min_size=4, max_size=24
)
PLAY = settings(
    max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])


def overhear_a_good_login(scene: Scene) -> list[bytes]:
    """Every message of alice's own login."""
    overheard: list[bytes] = []
    alice = Speaker(scene, scene.new_client(), overheard)
    while not alice.ended:
        alice.say(alice.honest)
    assert alice.answer is not None
    assert alice.answer.code == radius.ACCEPT
    return overheard


def list_strangers(scene: Scene) -> dict[str, bytes | None]:
    """The certificates that somebody without a key of ours may bring."""
    return {
        "no": None,
        "foreign": build_leaf(build_authority("Elsewhere"), "alice@corp.example").pem,
        "stolen": build_stolen_pem(scene.alice),
        "unknown": build_leaf(scene.installation.as_issuer(Authority.ISSUING), "alice@corp.example").pem,
    }


@VERSIONS
@pytest.mark.parametrize("certificate", ["no", "foreign", "stolen", "unknown"])
def test_nobody_without_a_key_of_ours_gets_an_accept(scene: Scene, version: int, certificate: str) -> None:
    pem = list_strangers(scene)[certificate]
    overheard = overhear_a_good_login(scene)

    @PLAY
    @given(SCRIPT)
    def play(script: list[tuple[str, int]]) -> None:
        speaker = Speaker(scene, scene.new_client(pem=pem, version=version), list(overheard))
        for move, number in script:
            if speaker.ended:
                speaker.begin_again()
                speaker.client = scene.new_client(pem=pem, version=version)
            speaker.say(MOVES[move](speaker, number))
            assert speaker.answer is None or speaker.answer.code != radius.ACCEPT

    play()
    assert len(scene.installation.list_sessions()) == 1, "alice's own"


def is_empty(eap: bytes) -> bool:
    """Whether a response has no TLS octets and no flag that counts (RFC 5216 3.1: reserved bits are ignored)."""
    flags, body = eap[5], eap[6:]
    return eap[4] == TLS and not flags & 0x60 and body == (bytes(4) if flags & 0x80 else b"")


@VERSIONS
def test_an_accept_is_for_who_finished_and_with_the_keys_of_that_very_handshake(
    scene: Scene, version: int, tmp_path: Path
) -> None:
    outcomes: set[str] = set()
    overheard = overhear_a_good_login(scene)

    @PLAY
    @given(SCRIPT)
    @example([("honest", 0)] * 24)
    @example([("nothing", 0)] * 24)
    def play(script: list[tuple[str, int]]) -> None:
        keylog = tmp_path / "keys.log"
        keylog.unlink(missing_ok=True)
        client = scene.new_client(version=version, fragment_bytes=4_000, keylog=keylog)
        speaker = Speaker(scene, client, list(overheard))
        for move, number in script:
            if speaker.ended:
                break
            said = MOVES[move](speaker, number)
            speaker.say(said)
        if speaker.answer is not None and speaker.answer.code == radius.ACCEPT:
            if not client.done:
                client.answer(speaker.asked)
            assert client.done, "the client itself came to the end with our last message"
            assert is_empty(said)
            assert speaker.answer.session_keys == compute_msk(client, keylog)
            outcomes.add("accept")
        elif speaker.ended:
            outcomes.add("reject")

    play()
    assert outcomes == {"accept", "reject"}, "both ends were reached"
