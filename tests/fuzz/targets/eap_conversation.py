"""A whole EAP conversation with somebody who has no key: no bytes in any order prove one.

An input is EAP messages, each after two octets of length. Where the first of the two has its top bit set, the message
is sent as it is; else it gets the identifier and the length it should have, so that mutations come further.
"""

import struct
from functools import partial

from evertunnel.protocols.eap.conversation import (
    Accepted,
    Challenge,
    Conversation,
    DecisionDue,
    MethodRefusedError,
    Refused,
    State,
    TooManyRoundsError,
)
from evertunnel.protocols.eap.packet import EAPError
from tests.fuzz.target import Target
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.unit.protocols.eap.conftest import House

_AS_IT_IS = 0x80


def build() -> Target:
    """What real clients said: with alice's certificate, with none, in both versions, in small pieces."""
    house = House()
    seeds = []
    for version in (TLS_12, TLS_13):
        for pem in (b"", None):
            for fragment_bytes in (100, 1_000):
                client = house.new_client(pem, version=version, fragment_bytes=fragment_bytes)
                seeds.append(_record(house.new_conversation(), client))
    seeds.append(_pack([b"\x02\0\0\x0a\x01alice", b"\x02\0\0\x06\x03\x19"]))
    return Target(partial(check, house), seeds, largest_bytes=8192, words=[b"\x0d\x80", b"\x16\x03\x03", b"\x03\x1a"])


def check(house: House, data: bytes) -> None:
    """Say it all; the peer must not come to a decision, and the conversation must stay over when it is over."""
    conversation = house.new_conversation(packet_bytes=300 if len(data) % 2 else 2000)
    identifier = 0
    while len(data) >= 2:
        flags, length = data[0], struct.unpack("!H", data[:2])[0] & 0x7FFF
        message, data = data[2 : 2 + length], data[2 + length :]
        if not flags & _AS_IT_IS and len(message) >= 4:
            message = struct.pack("!BBH", 2, identifier, len(message)) + message[4:]
        try:
            turn = conversation.receive(message)
        except (EAPError, MethodRefusedError, TooManyRoundsError) as error:
            assert len(str(error)) < 300
            turn = Refused(conversation.fail(), None)  # type: ignore[arg-type]
        # The signature of a recorded conversation was made over another server's random; nobody here has a key.
        assert not isinstance(turn, DecisionDue | Accepted), "a key counts as proven that was not"
        if isinstance(turn, Refused):
            assert turn.eap_message[0] == 4 and len(turn.eap_message) == 4
            assert conversation.state is State.FINISHED
            _verify_over(conversation)
            return
        assert isinstance(turn, Challenge) and turn.eap_message[0] == 1
        identifier = turn.eap_message[1]


def _verify_over(conversation: Conversation) -> None:
    for message in (b"\x02\x01\0\x06\x0d\0", b"\x02\x01\0\x05\x01"):
        try:
            conversation.receive(message)
        except (EAPError, TooManyRoundsError):
            continue
        raise AssertionError("a conversation went on that was over")


def _record(conversation: Conversation, client: Client) -> bytes:
    said = [client.answer_identity()]
    turn = conversation.receive(said[0])
    while isinstance(turn, Challenge):
        said.append(client.answer(turn.eap_message))
        turn = conversation.receive(said[-1])
        if isinstance(turn, DecisionDue):
            turn = conversation.accept()
    return _pack(said)


def _pack(messages: list[bytes]) -> bytes:
    return b"".join(struct.pack("!H", len(message)) + message for message in messages)
