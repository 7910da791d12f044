"""Whole EAP conversations against a real TLS client, line by line."""

import gc
import weakref
from ssl import TLSVersion

import pytest

from evertunnel.protocols.eap.conversation import (
    MAXIMUM_IDENTITY_CHARACTERS,
    MAXIMUM_ROUNDS,
    Accepted,
    Challenge,
    Conversation,
    DecisionDue,
    MethodRefusedError,
    Refused,
    State,
    TooManyRoundsError,
)
from evertunnel.protocols.eap.methods.tls import EAPTLS
from evertunnel.protocols.eap.packet import EAPError
from tests.peers.eap_tls import IDENTITY, NAK, TLS, TLS_12, TLS_13, Client, build_response
from tests.unit.protocols.eap.conftest import Decide, House, hold_talk, say_no, say_yes


def begin(conversation: Conversation, identity: bytes = b"alice@corp.example", identifier: int = 0) -> int:
    """Say the identity and return the identifier of the request that starts EAP-TLS."""
    turn = conversation.receive(build_response(identifier, IDENTITY, identity))
    assert isinstance(turn, Challenge)
    assert turn.eap_message[4:] == b"\x0d\x20"
    return turn.eap_message[1]


def until_decision(conversation: Conversation, client: Client) -> int:
    """Talk until the key is proven and return the identifier of the last request."""
    turn, asked = conversation.receive(client.answer_identity()), 0
    while isinstance(turn, Challenge):
        asked = turn.eap_message[1]
        turn = conversation.receive(client.answer(turn.eap_message))
    assert isinstance(turn, DecisionDue)
    return asked


def test_tls_12_accepted(house: House) -> None:
    talk = hold_talk(house.new_conversation(), house.new_client(version=TLS_12))
    assert talk.lines == [
        "client: Identity",
        "server: TLS start",
        "client: TLS handshake",
        "server: TLS handshake",
        "client: TLS handshake",
        "server: TLS change cipher spec",
        "client: TLS empty",
        "server: Success",
    ]
    assert isinstance(talk.turn, Accepted)
    assert talk.turn.peer.certificate_der == house.alice.der
    assert talk.turn.peer.version == "TLSv1.2"
    assert talk.decisions == 1


def test_tls_13_accepted_after_the_commitment_octet(house: House) -> None:
    client = house.new_client(version=TLS_13)
    talk = hold_talk(house.new_conversation(), client)
    assert talk.lines == [
        "client: Identity",
        "server: TLS start",
        "client: TLS handshake",
        "server: TLS handshake",
        "client: TLS change cipher spec",
        "server: TLS encrypted",
        "client: TLS empty",
        "server: Success",
    ]
    assert isinstance(talk.turn, Accepted)
    assert talk.turn.peer.version == "TLSv1.3"
    assert client.committed


@pytest.mark.parametrize(
    ("version", "certificate", "alert"),
    [(TLS_12, "handshake", "alert access_denied"), (TLS_13, "change cipher spec", "encrypted")],
    ids=["tls12", "tls13"],
)
def test_refused_is_told_by_an_alert_before_the_failure(
    house: House, version: TLSVersion, certificate: str, alert: str
) -> None:
    client = house.new_client(version=version)
    talk = hold_talk(house.new_conversation(), client, say_no)
    assert talk.lines[-4:] == [
        f"client: TLS {certificate}",
        f"server: TLS {alert}",
        "client: TLS empty",
        "server: Failure",
    ]
    assert client.alert == "TLSV1_ALERT_ACCESS_DENIED"
    assert not client.committed
    assert isinstance(talk.turn, Refused)
    assert talk.turn.failed.detail == "not today"
    assert talk.turn.failed.certificate_der == house.alice.der


def test_eap_start_is_answered_with_identity(house: House) -> None:
    conversation = house.new_conversation()
    assert conversation.start().eap_message == bytes.fromhex("0100000501")
    assert begin(conversation, identifier=0) == 1


def test_our_own_identity_request_must_be_answered_by_its_identifier(house: House) -> None:
    conversation = house.new_conversation()
    conversation.start()
    with pytest.raises(EAPError, match="response 1 does not answer request 0"):
        conversation.receive(build_response(1, IDENTITY, b"alice"))


def test_the_identity_a_gateway_asked_for_may_have_any_identifier(house: House) -> None:
    assert begin(house.new_conversation(), identifier=200) == 201
    assert begin(house.new_conversation(), identifier=255) == 0


@pytest.mark.parametrize("eap_type", [NAK, 4, TLS, 25, 26, 254])
def test_anything_but_an_identity_is_refused_at_the_beginning(house: House, eap_type: int) -> None:
    conversation = house.new_conversation()
    with pytest.raises(EAPError, match=f"EAP type {eap_type} before an identity"):
        conversation.receive(build_response(9, eap_type, b"\0"))
    assert conversation.fail() == bytes.fromhex("04090004")


@pytest.mark.parametrize("difference", [-1, 1, 128])
def test_the_eap_identifier_must_match_the_outstanding_request(house: House, difference: int) -> None:
    conversation = house.new_conversation()
    asked = begin(conversation, identifier=100)
    with pytest.raises(EAPError, match="does not answer request"):
        conversation.receive(build_response((asked + difference) % 256, NAK, b"\x19"))


def test_a_nak_ends_it_and_says_what_was_wanted(house: House) -> None:
    conversation = house.new_conversation()
    asked = begin(conversation)
    with pytest.raises(MethodRefusedError, match="wants EAP type 25, 26 and not 13"):
        conversation.receive(build_response(asked, NAK, bytes((25, 26))))
    assert conversation.fail() == bytes((4, asked, 0, 4))
    assert conversation.state is State.FINISHED


@pytest.mark.parametrize(
    ("wanted", "words"), [(b"", "type none"), (bytes(range(250)), "0, 1, 2, 3, 4, 5, 6, 7 and others")]
)
def test_a_nak_of_any_length_is_told_in_one_line(house: House, wanted: bytes, words: str) -> None:
    conversation = house.new_conversation()
    asked = begin(conversation)
    with pytest.raises(MethodRefusedError, match=words) as refused:
        conversation.receive(build_response(asked, NAK, wanted))
    assert len(str(refused.value)) < 100


def test_a_method_in_progress_cannot_be_refused(house: House) -> None:
    conversation, client = house.new_conversation(packet_bytes=200), house.new_client()
    turn = conversation.receive(client.answer_identity())
    assert isinstance(turn, Challenge)
    turn = conversation.receive(client.answer(turn.eap_message))
    assert isinstance(turn, Challenge)
    with pytest.raises(EAPError, match="in progress cannot be refused"):
        conversation.receive(build_response(turn.eap_message[1], NAK, b"\x19"))


@pytest.mark.parametrize("eap_type", [IDENTITY, 2, 4, 25, 26, 254])
def test_the_method_cannot_be_switched_in_mid_conversation(house: House, eap_type: int) -> None:
    conversation = house.new_conversation()
    asked = begin(conversation)
    with pytest.raises(EAPError, match=f"EAP type {eap_type} in a conversation of type 13"):
        conversation.receive(build_response(asked, eap_type, b"\x03"))


def test_nothing_may_be_said_while_a_decision_is_due(house: House) -> None:
    conversation = house.new_conversation()
    asked = until_decision(conversation, house.new_client())
    with pytest.raises(EAPError, match="nothing more may be said"):
        conversation.receive(build_response(asked, TLS, b"\0"))


def test_nothing_may_be_said_after_the_end(house: House) -> None:
    conversation, client = house.new_conversation(), house.new_client()
    talk = hold_talk(conversation, client)
    assert conversation.state is State.FINISHED
    with pytest.raises(EAPError, match="nothing more may be said"):
        conversation.receive(build_response(talk.turn.eap_message[1], TLS, b"\0"))


@pytest.mark.parametrize("decide", [say_yes, say_no])
@pytest.mark.parametrize("version", [TLS_12, TLS_13])
def test_what_ended_holds_no_tls_connection_any_more(house: House, version: TLSVersion, decide: Decide) -> None:
    made: list[weakref.ref[EAPTLS]] = []

    def new_method(*_: int) -> EAPTLS:
        method = EAPTLS(house.context, packet_bytes=1_000)
        made.append(weakref.ref(method))
        return method

    conversation = Conversation(new_method)
    hold_talk(conversation, house.new_client(version=version), decide)
    gc.collect()
    assert [each() for each in made] == [None]


def test_too_many_rounds_end_it_although_every_one_is_right(house: House) -> None:
    # One octet a fragment: the server acknowledges each, until it has heard enough.
    conversation = house.new_conversation()
    client = house.new_client(fragment_bytes=1)
    turn = conversation.receive(client.answer_identity())
    for _ in range(MAXIMUM_ROUNDS - 1):
        assert isinstance(turn, Challenge)
        turn = conversation.receive(client.answer(turn.eap_message))
    assert isinstance(turn, Challenge)
    with pytest.raises(TooManyRoundsError):
        conversation.receive(client.answer(turn.eap_message))


def test_an_identity_is_kept_only_as_far_as_any_name_goes(house: House) -> None:
    conversation = house.new_conversation()
    begin(conversation, b"a" * 4_000)
    assert conversation.identity == "a" * MAXIMUM_IDENTITY_CHARACTERS


def test_an_identity_that_is_no_text_is_kept_as_far_as_it_is(house: House) -> None:
    conversation = house.new_conversation()
    begin(conversation, b"\xff\x00alice")
    assert conversation.identity == "\N{REPLACEMENT CHARACTER}\0alice"


@pytest.mark.parametrize("cut", range(8))
def test_a_response_cut_at_any_length_is_refused_and_failed_by_its_identifier(house: House, cut: int) -> None:
    conversation = house.new_conversation()
    asked = begin(conversation, identifier=40)
    with pytest.raises(EAPError):
        conversation.receive(build_response(asked, TLS, b"\0\x16\x03\x01")[:cut])
    assert conversation.fail() == bytes((4, asked if cut > 1 else 40, 0, 4))
