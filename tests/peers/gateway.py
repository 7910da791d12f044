"""A VPN gateway: carries EAP of its clients to a policy server over RADIUS, whatever the road to that server is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyrad.packet import AuthPacket

from tests.peers import radius
from tests.peers.eap_tls import Client
from tests.peers.peap import MSCHAPv2Client, PEAPClient
from tests.peers.transcript import describe_eap

# Takes a datagram to the server and brings the reply; None is silence.
Road = Callable[[bytes], bytes | None]

_CODES = {radius.ACCEPT: "Access-Accept", radius.REJECT: "Access-Reject", radius.CHALLENGE: "Access-Challenge"}


@dataclass(frozen=True)
class Answer:
    """A reply that verified, with the request it answers."""

    request: bytes
    data: bytes
    packet: AuthPacket

    @property
    def code(self) -> int:
        return int(self.packet.code)

    @property
    def eap(self) -> bytes:
        return radius.join_eap(self.packet)

    @property
    def state(self) -> bytes | None:
        return self.packet[radius.STATE][0] if radius.STATE in self.packet else None

    @property
    def session_keys(self) -> bytes:
        return radius.read_session_keys(self.packet)

    @property
    def words(self) -> str:
        return f"{_CODES[self.code]}, {describe_eap(self.eap) if self.eap else 'no EAP'}"


class Gateway:
    """One gateway. `attributes` go into every request; `lines` is the transcript."""

    def __init__(self, secret: bytes, road: Road, *, attributes: Iterable[tuple[int, bytes]] = ()) -> None:
        self.secret = secret
        self.road = road
        self.attributes = list(attributes)
        self.lines: list[str] = []
        self.answers: list[Answer] = []

    def build(self, eap: bytes, state: bytes | None = None, *, identifier: int | None = None) -> bytes:
        """An Access-Request that carries an EAP message."""
        attributes = [*self.attributes, *radius.split_eap(eap)]
        if state is not None:
            attributes.append((radius.STATE, state))
        return radius.build_request(self.secret, attributes, identifier=identifier)

    def send(self, request: bytes) -> Answer | None:
        """Send a request as it is."""
        data = self.road(request)
        if data is None:
            return None
        answer = Answer(request, data, radius.read_reply(self.secret, request, data))
        self.answers.append(answer)
        return answer

    def ask(self, eap: bytes, state: bytes | None = None) -> Answer:
        """Carry an EAP message; there must be an answer."""
        self.lines.append(f"gateway: Access-Request, {describe_eap(eap) if len(eap) > 4 else 'EAP-Start'}")
        answer = self.send(self.build(eap, state))
        assert answer is not None, "the server kept silent"
        self.lines.append(f"server: {answer.words}")
        return answer

    def log_in(self, client: Client | PEAPClient | MSCHAPv2Client, *, rounds: int | None = None) -> Answer:
        """Let a client log in; returns the last answer, after at most so many rounds."""
        answer = self.ask(client.answer_identity())
        while answer.code == radius.CHALLENGE and (rounds is None or rounds > 0):
            answer = self.ask(client.answer(answer.eap), answer.state)
            rounds = None if rounds is None else rounds - 1
        return answer

    def build_last_request(self, client: Client) -> bytes:
        """Go up to the packet that gets the Accept, which is not sent."""
        answer = self.ask(client.answer_identity())
        while True:
            eap = client.answer(answer.eap)
            if client.done:
                return self.build(eap, answer.state)
            answer = self.ask(eap, answer.state)
