"""A policy server with everything behind it real, and clients whose messages are bent, swapped, repeated and invented.

An input is steps of four octets: what is done, by whom, and two numbers. Whatever the steps are, an Accept comes only
where a client's own key or password was proven in that very conversation, or in one whose session it resumes and while
it would be granted anew, with the keys that this client computes; and no secret stands in what is logged or recorded.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from structlog.typing import EventDict

from evertunnel.protocols.eap.mschapv2_keys import hash_password_nt
from evertunnel.servers.logins import Verdict
from tests.fuzz.clients import WRONG_PASSWORD, add_people, list_kinds
from tests.fuzz.talks import Talk
from tests.fuzz.target import Target
from tests.peers import radius
from tests.peers.eap_tls import build_response
from tests.peers.installation import Installation
from tests.peers.peap import EXTENSIONS, PEAPClient, say_it
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import PASSWORD

_STEPS_AT_MOST = 60
_ADDRESSES = ("127.0.0.1", "127.0.0.2")
GO, BEND, REPEAT, CROSS, INVENT, FORGE, WAIT, ELSEWHERE, LIE = range(9)
# More than any client needs, but the one that sends small pieces.
ROUNDS, MANY_ROUNDS = 12, 20
NO_CERTIFICATE, STOLEN = 3, 4
# What a gateway may be made to carry: beginnings, types we do not speak, a message of nothing, alerts, ends.
_INVENTED = (
    b"", b"\2\1", b"\1\1\0\4", b"\3\1\0\4", b"\4\1\0\4", build_response(1, 1, b"alice@corp.example"),
    build_response(1, 3, b"\x19\x1a"), build_response(1, 13), build_response(1, 13, b"\0"),
    build_response(1, 13, b"\x20"), build_response(1, 13, b"\xc0\0\1\0\0abc"), build_response(1, 25, b"\0"),
    build_response(1, 26, b"\2\1\0\4"), build_response(1, 13, b"\0\x15\3\3\0\2\2\x28"),
    build_response(1, 254, bytes(8)), build_response(1, 13, b"\0\x14\3\3\0\1\1"),
    build_response(1, 25, b"\x20"), build_response(1, 25, b"\x40\x17"), build_response(1, 26, b"\3"),
    build_response(1, 26, b"\4"), build_response(1, 33, b"\x80\3\0\2\0\1"), build_response(1, 3, b"\x19"),
)  # fmt: skip
_SUCCESS = bytes((2, 1, 0, 11, EXTENSIONS)) + b"\x80\3\0\2\0\1"
# And what may be said inside a tunnel instead of the truth.
_LIES = (
    _SUCCESS, _SUCCESS[:3] + b"\x47" + _SUCCESS[4:] + b"\0\x0c\0\x38\0\0\0\1" + bytes(52), b"\x1a\3", b"\x1a\4",
    b"\x0d\0", b"\3\x0d", b"\3\x1a", b"\3\x19", b"\1alice@corp.example", b"\2\1\0\6\x0d\0", b"\3\1\0\4", b"\0",
)  # fmt: skip


def build() -> Target:
    """Whole logins of each client, and each thing that can be done to one, at each of its rounds."""
    world = World(Path(tempfile.mkdtemp()))
    whole = [
        bytes((GO, who, 0, 0)) * (MANY_ROUNDS if kind.fragment_bytes < ROUNDS * 50 else ROUNDS)
        for who, kind in enumerate(world.kinds)
    ]
    seeds = list(whole)
    for at, odd in enumerate((BEND, REPEAT, CROSS, INVENT, FORGE, WAIT, ELSEWHERE) * 2):
        cut = 4 * (at // 3 + 1)
        seeds.append(whole[0][:cut] + bytes((odd, 0, 1, at * 16)) + whole[0][cut:])
    # Two at once; and a conversation whose end another overheard.
    seeds.append(b"".join(bytes((GO, who, 0, 0)) for _ in range(7) for who in (0, STOLEN)))
    seeds.append(whole[0] + bytes((CROSS, NO_CERTIFICATE, 0, 0)) + whole[NO_CERTIFICATE])
    # A lie at each round inside the tunnels, of who could prove himself and who could not.
    seeds += [
        whole[who][: 4 * at] + bytes((LIE, who, at, at)) + whole[who][4 * at :]
        for at in range(4, ROUNDS)
        for who, kind in enumerate(world.kinds)
        if kind.name in ("password in PEAP", "wrong password in PEAP")
    ]
    return Target(world.check, seeds, largest_bytes=4 * _STEPS_AT_MOST)


@dataclass
class Sent:
    """A request that went out, and what came back."""

    data: bytes
    source: tuple[str, int]
    reply: bytes | None = None


@dataclass
class Round:
    """One input: its talks, what was sent, and what was heard in the conversation of each State."""

    caller: bytes
    talks: dict[int, Talk] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    heard: dict[bytes, list[bytes]] = field(default_factory=dict)
    # States of conversations in which somebody else spoke too.
    crossed: set[bytes | None] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    accepts: set[bytes] = field(default_factory=set)
    keys: list[bytes] = field(default_factory=list)


class World:
    """The server, two gateways, and a TLS context for each kind of client. It serves all inputs."""

    def __init__(self, folder: Path) -> None:
        installation = Installation(folder / "installation")
        self.secrets = [installation.add_gateway(f"gw{n + 1}", address) for n, address in enumerate(_ADDRESSES)]
        people = add_people(installation)
        self.lines: list[str] = []
        structlog.configure(processors=[structlog.processors.format_exc_info, self._keep_line])
        self.scene = Scene(installation, self.secrets[0], people.alice)
        self.kinds = list_kinds(self.scene, people, folder)
        self.secrets_told_by_nobody = [
            *self.secrets,
            *(secret for text in (PASSWORD, WRONG_PASSWORD) for secret in (text.encode(), hash_password_nt(text))),
        ]
        self.number = 0
        self.salt = os.urandom(8)

    def check(self, data: bytes) -> None:
        """Play the steps."""
        # Of another address, because after a few failures an address is not listened to; and all that was open is over.
        self.number += 1
        self.scene.uptime += 60
        self.scene.expire()
        self.lines.clear()
        for kind in self.kinds:
            if kind.keylog.exists():
                os.truncate(kind.keylog, 0)
        played = Round(f"2001:db8::{self.number >> 16:x}:{self.number & 0xFFFF:x}:1".encode())
        for at in range(0, min(len(data) - 3, 4 * _STEPS_AT_MOST), 4):
            self._play(played, *data[at : at + 4])
        self._verify_silence(played)

    def _play(self, played: Round, what: int, who: int, first: int, second: int) -> None:
        talk = self._find_talk(played, who)
        match what % 9:
            case 0:  # GO
                if not talk.ended:
                    self._say(played, talk, talk.next_message, talk.state)
            case 1:  # BEND
                bent = bytearray(talk.next_message)
                bent[(first << 3 | second >> 5) % len(bent)] ^= 1 << (second & 7)
                self._say(played, talk, bytes(bent), talk.state)
            case 2:  # REPEAT
                if played.sent:
                    self._repeat(played, played.sent[(first << 8 | second) % len(played.sent)])
            case 3:  # CROSS: in another's conversation
                self._say(played, talk, talk.next_message, self._find_talk(played, first).state)
            case 4:  # INVENT
                eap = _INVENTED[first % len(_INVENTED)]
                if len(eap) > 1 and second & 1:
                    eap = eap[:1] + talk.asked[1:2] + eap[2:]
                self._say(played, talk, eap, None if second & 2 else talk.state)
            case 5:  # FORGE: changed by who has no secret
                if played.sent:
                    sent = played.sent[first % len(played.sent)]
                    bent = bytearray(sent.data)
                    bent[second % len(bent)] ^= 1 << (first & 7)
                    assert self._carry(played, bytes(bent), sent.source) is None, "what nobody signed was answered"
            case 6:  # WAIT
                self.scene.uptime += first / 8
                self._commit(played, self.scene.server.expire(self.scene.uptime))
            case 7:  # ELSEWHERE: through another gateway, which has a secret of its own
                self._say(played, talk, talk.next_message, talk.state, gateway=1)
            case _:  # LIE: something else inside the tunnel
                if isinstance(talk.client, PEAPClient) and not talk.ended:
                    talk.client.twist = lambda _what, plain: _lie(plain, first, second)
                    message, talk.client.twist = talk.next_message, say_it
                    self._say(played, talk, message, talk.state)

    def _find_talk(self, played: Round, who: int) -> Talk:
        who %= len(self.kinds)
        if who not in played.talks:
            played.talks[who] = Talk(self.kinds[who].new(), self.kinds[who].keylog)
        return played.talks[who]

    def _say(self, played: Round, talk: Talk, eap: bytes, state: bytes | None, gateway: int = 0) -> None:
        attributes = [(radius.CALLING_STATION_ID, played.caller), *radius.split_eap(eap)]
        if state is not None:
            attributes.append((radius.STATE, state))
        # Other than any before: what is sent twice on purpose is REPEAT.
        authenticator = self.salt + self.number.to_bytes(6, "big") + len(played.sent).to_bytes(2, "big")
        data = radius.sign(self.secrets[gateway], radius.encode_attributes(attributes), authenticator=authenticator)
        sent = Sent(data, (_ADDRESSES[gateway], 40_000))
        played.sent.append(sent)
        sent.reply = self._carry(played, data, sent.source)
        if sent.reply is None:
            return
        answer = radius.read_reply(self.secrets[gateway], data, sent.reply)
        heard = [*played.heard.get(state or b"", []), eap]
        crossed = state in played.crossed or state != talk.state
        if answer.code == radius.CHALLENGE:
            (new_state,) = answer[radius.STATE]
            assert new_state not in played.heard, "a State was given twice"
            played.heard[new_state] = heard
            if crossed:
                played.crossed.add(new_state)
            talk.hear(radius.join_eap(answer), new_state)
            return
        assert answer.code in (radius.ACCEPT, radius.REJECT)
        if answer.code == radius.ACCEPT:
            played.accepts.add(sent.reply)
            self._verify_accept(played, radius.read_session_keys(answer), heard, crossed=crossed)
        talk.ended = True

    def _repeat(self, played: Round, sent: Sent) -> None:
        reply = self._carry(played, sent.data, sent.source)
        if reply is not None and reply[0] == radius.ACCEPT:
            assert reply in played.accepts, "a repeated packet was granted what it was not before"

    def _verify_accept(self, played: Round, keys: bytes, heard: list[bytes], *, crossed: bool) -> None:
        """The keys are those of an honest client, and the server heard from it all that it said to prove itself.

        Whoever is between may acknowledge for a client (RFC 5216 2.1.3: nothing is in that), which then hears less.
        """
        honest = [talk for who, talk in played.talks.items() if self.kinds[who].honest]
        proven = [talk for talk in honest if keys and talk.compute_msk() == keys]
        assert proven, "an Accept with keys that nobody has who proved one"
        (talk,) = proven
        assert crossed or talk.is_done(), "an Accept before the client was done"
        assert talk.was_heard_whole(heard), "an Accept over a proof that was not heard whole"
        played.keys.append(keys)

    def _carry(self, played: Round, data: bytes, source: tuple[str, int]) -> bytes | None:
        outcome = self.scene.receive(data, source)
        if isinstance(outcome, Verdict):
            replies = self._commit(played, [outcome])
            return replies[0] if replies else None
        return getattr(outcome, "data", None)

    def _commit(self, played: Round, verdicts: list[Verdict]) -> list[bytes]:
        for verdict in verdicts:
            facts = verdict.login.facts(verdict.uptime)
            played.told += [step.text for step in facts.steps]
            played.told += [facts.claimed_identity, verdict.refusal.detail if verdict.refusal else ""]
        return self.scene.commit(*verdicts)

    def _verify_silence(self, played: Round) -> None:
        told = "\n".join([*played.told, *self.lines])
        assert "error of ours" not in told and "Traceback" not in told, told[-4_000:]
        secrets = [*self.secrets_told_by_nobody, *played.keys]
        texts = [write(secret) for secret in secrets for write in (_as_text, bytes.hex, _as_repr)]
        texts += [secret.decode() for talk in played.talks.values() for secret in talk.read_secrets()]
        for text in texts:
            assert text not in told, "a secret was told"

    def _keep_line(self, _logger: object, _method: str, event: EventDict) -> str:
        self.lines.append(repr(event))
        raise structlog.DropEvent


def _lie(plain: bytes, first: int, second: int) -> bytes:
    """One of what was invented, or the truth with a bit turned or its end cut off."""
    if first < len(_LIES):
        return _LIES[first]
    if first & 1:
        return plain[: second % len(plain)]
    bent = bytearray(plain)
    bent[(first << 2 | second >> 6) % len(bent)] ^= 1 << (second & 7)
    return bytes(bent)


def _as_text(secret: bytes) -> str:
    return secret.decode("latin-1")


def _as_repr(secret: bytes) -> str:
    return repr(secret)[2:-1]
