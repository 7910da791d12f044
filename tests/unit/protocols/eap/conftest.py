"""A small house of certificates, and a run of one EAP conversation against a real client."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.protocols.eap.conversation import Accepted, Challenge, Conversation, DecisionDue, Refused
from evertunnel.protocols.eap.methods.tls import EAPTLS
from evertunnel.protocols.eap.tls_server import TLSContext
from tests.peers.certificates import SERVER, Credential, build_authority, build_leaf
from tests.peers.eap_tls import Client
from tests.peers.transcript import describe_eap

Context = TypeVar("Context", bound=TLSContext)


@dataclass
class House:
    """Root, issuing authority, server, alice; `withdrawn` holds the DER of what is revoked."""

    root: Credential = field(default_factory=lambda: build_authority("Root"))
    withdrawn: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.issuing = build_authority("Issuing", issuer=self.root)
        self.server = build_leaf(self.issuing, "vpn.example.test", usages=SERVER)
        self.alice = build_leaf(self.issuing, "alice@corp.example")
        self.context = self.new_context()

    def new_context(self, kind: type[Context] = TLSContext, **changes: Any) -> Context:  # type: ignore[assignment]
        arguments: dict[str, Any] = {
            "chain": [self.server.certificate, self.issuing.certificate],
            "key": self.server.key,
            "trusted": [self.issuing.certificate],
            "is_revoked": self.withdrawn.__contains__,
        }
        return kind(**(arguments | changes))

    def new_client(self, pem: bytes | None = b"", **options: Any) -> Client:
        """A client with alice's certificate unless told otherwise; None: with no certificate."""
        root_pem = self.root.certificate.public_bytes(Encoding.PEM)
        return Client(root_pem=root_pem, pem=self.alice.pem if pem == b"" else pem, **options)

    def new_conversation(self, *, packet_bytes: int = 2_000) -> Conversation:
        return Conversation(lambda *_: EAPTLS(self.context, packet_bytes=packet_bytes))


@dataclass
class Talk:
    """A conversation that went to its end."""

    turn: Accepted | Refused
    lines: list[str]
    server_bytes: list[int]
    decisions: int


Decide = Callable[[Conversation, DecisionDue], Challenge | Refused]


def say_yes(conversation: Conversation, _due: DecisionDue) -> Challenge | Refused:
    return conversation.accept()


def say_no(conversation: Conversation, _due: DecisionDue) -> Challenge | Refused:
    return conversation.refuse("not today")


def hold_talk(conversation: Conversation, client: Client, decide: Decide = say_yes) -> Talk:
    """Let both talk to the end."""
    message = client.answer_identity()
    lines, server_bytes, decisions = [f"client: {describe_eap(message)}"], [], 0
    while True:
        turn = conversation.receive(message)
        if isinstance(turn, DecisionDue):
            decisions += 1
            turn = decide(conversation, turn)
        assert not isinstance(turn, DecisionDue)
        server_bytes.append(len(turn.eap_message))
        lines.append(f"server: {describe_eap(turn.eap_message)}")
        if not isinstance(turn, Challenge):
            return Talk(turn, lines, server_bytes, decisions)
        message = client.answer(turn.eap_message)
        lines.append(f"client: {describe_eap(message)}")


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def keylog(tmp_path: Path) -> Path:
    return tmp_path / "keys.log"
