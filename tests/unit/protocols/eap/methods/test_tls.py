"""EAP-TLS as a method: its order, its fragments, its keys."""

import contextlib
import gc
from pathlib import Path
from ssl import TLSVersion

import pytest
from OpenSSL import SSL

from evertunnel.protocols.eap import openssl
from evertunnel.protocols.eap.conversation import Accepted
from evertunnel.protocols.eap.fragments import MORE_FRAGMENTS, START
from evertunnel.protocols.eap.methods.progress import Resuming
from evertunnel.protocols.eap.methods.tls import EAPTLS, Ask, Failed, Finished, Progress, Proven, State
from evertunnel.protocols.eap.packet import EAPError
from evertunnel.protocols.eap.stage import Stage
from evertunnel.protocols.eap.tls_server import TLSContext, TLSFailure, TLSHandshake
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.peers.tls_keys import compute_msk
from tests.unit.protocols.eap.conftest import House, hold_talk

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
EMPTY = b"\0"


def answer(client: Client, data: bytes) -> bytes:
    """The client's EAP-TLS data for ours."""
    return client.answer(b"\x01\x01" + (5 + len(data)).to_bytes(2, "big") + b"\x0d" + data)[5:]


def talk_until(method: EAPTLS, client: Client, state: State) -> bytes:
    """Talk until the method is in a state; returns what the client would say next."""
    progress: Progress = method.start()
    while True:
        if isinstance(progress, Proven):
            progress = method.accept()
        assert isinstance(progress, Ask)
        data = answer(client, progress.data)
        if method.state is state:
            return data
        progress = method.receive(data)


class CountingContext(TLSContext):
    """The context of a house that counts the TLS connections it makes."""

    made = 0

    def new_handshake(self) -> TLSHandshake:
        self.made += 1
        return super().new_handshake()


@VERSIONS
@pytest.mark.parametrize("packet_bytes", [150, 400, 1_390])
@pytest.mark.parametrize("fragment_bytes", [100, 1_300])
def test_keys_are_those_of_the_rfcs_with_fragments_both_ways(
    house: House, keylog: Path, version: TLSVersion, packet_bytes: int, fragment_bytes: int
) -> None:
    client = house.new_client(version=version, fragment_bytes=fragment_bytes, keylog=keylog)
    talk = hold_talk(house.new_conversation(packet_bytes=packet_bytes), client)
    assert isinstance(talk.turn, Accepted)
    assert talk.turn.master_session_key == compute_msk(client, keylog)
    # The EAP header is five octets more than the data that packet_bytes bounds.
    assert max(talk.server_bytes) <= packet_bytes + 5
    assert ("server: TLS fragment" in talk.lines) == (packet_bytes < 1_000)
    assert ("client: TLS fragment" in talk.lines) == (fragment_bytes < 1_000)


@VERSIONS
def test_two_logins_never_have_the_same_keys(house: House, version: TLSVersion) -> None:
    turns = [hold_talk(house.new_conversation(), house.new_client(version=version)).turn for _ in range(2)]
    keys = {turn.master_session_key for turn in turns if isinstance(turn, Accepted)}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {64}


def test_it_begins_with_the_start_flag_alone(house: House) -> None:
    assert EAPTLS(house.context, packet_bytes=1_000).start() == Ask(bytes((START,)))


@pytest.mark.parametrize(
    "first",
    [b"\0", b"\0\x16", b"\0\x15\x03\x01\0\x02\x02\x28", b"\0\x16\x03\x01\0\x01\x02", b"\0GET / HTTP/1.1\r\n\r\n"],
    ids=["empty", "short", "alert", "other handshake message", "something else"],
)
def test_no_tls_state_is_made_before_a_client_hello(house: House, first: bytes) -> None:
    context = house.new_context(CountingContext)
    method = EAPTLS(context, packet_bytes=1_000)
    with pytest.raises(EAPError, match="not a ClientHello"):
        method.receive(first)
    assert context.made == 0
    method.receive(answer(house.new_client(), bytes((START,))))
    assert context.made == 1


def test_fragments_of_a_client_hello_make_no_tls_state_until_it_is_whole(house: House) -> None:
    context = house.new_context(CountingContext)
    method, client = EAPTLS(context, packet_bytes=1_000), house.new_client(fragment_bytes=50)
    progress: Progress = method.start()
    while method.state is State.WAITING_FOR_CLIENT_HELLO:
        assert context.made == 0
        assert isinstance(progress, Ask)
        progress = method.receive(answer(client, progress.data))
    assert context.made == 1


def test_only_what_was_asked_for_is_acknowledged(house: House) -> None:
    method, client = EAPTLS(house.context, packet_bytes=150), house.new_client()
    progress = method.receive(answer(client, bytes((START,))))
    assert isinstance(progress, Ask)
    assert progress.data[0] & 0x40
    with pytest.raises(EAPError, match="before all fragments of ours were acknowledged"):
        method.receive(b"\0\x16\x03\x03\0\0")


def test_a_fragment_instead_of_an_acknowledgement_is_refused(house: House) -> None:
    method, client = EAPTLS(house.context, packet_bytes=150), house.new_client()
    method.receive(answer(client, bytes((START,))))
    with pytest.raises(EAPError, match="before all fragments of ours were acknowledged"):
        method.receive(b"\x40\x16")


@VERSIONS
def test_an_empty_answer_does_not_stand_for_a_tls_message(house: House, version: TLSVersion) -> None:
    method = EAPTLS(house.context, packet_bytes=2_000)
    talk_until(method, house.new_client(version=version), State.WAITING_FOR_HANDSHAKE)
    with pytest.raises(EAPError, match="empty answer while a TLS message is due"):
        method.receive(EMPTY)


@VERSIONS
@pytest.mark.parametrize("verb", ["accept", "refuse"])
def test_a_decision_counts_only_when_it_is_due(house: House, version: TLSVersion, verb: str) -> None:
    method, client = EAPTLS(house.context, packet_bytes=2_000), house.new_client(version=version)

    def decide() -> None:
        with pytest.raises(EAPError, match="no decision is due"):
            method.accept() if verb == "accept" else method.refuse("no")

    decide()
    talk_until(method, client, State.WAITING_FOR_HANDSHAKE)
    decide()
    method, client = EAPTLS(house.context, packet_bytes=2_000), house.new_client(version=version)
    data = talk_until(method, client, State.WAITING_FOR_LAST_ANSWER)
    decide()
    assert isinstance(method.receive(data), Finished)
    decide()


@VERSIONS
def test_nothing_is_taken_while_a_decision_is_due_or_after_the_end(house: House, version: TLSVersion) -> None:
    method, client = EAPTLS(house.context, packet_bytes=2_000), house.new_client(version=version)
    proven = method.receive(talk_until(method, client, State.WAITING_FOR_HANDSHAKE))
    assert isinstance(proven, Proven)
    with pytest.raises(EAPError, match="while waiting for decision"):
        method.receive(EMPTY)
    method.accept()
    assert isinstance(method.receive(EMPTY), Finished)
    with pytest.raises(EAPError, match="while finished"):
        method.receive(EMPTY)


@VERSIONS
def test_our_last_message_must_be_acknowledged_to_its_last_fragment(house: House, version: TLSVersion) -> None:
    # In pieces this small the end takes several rounds, and no empty answer but the last one finishes anything.
    method, client = EAPTLS(house.context, packet_bytes=40), house.new_client(version=version)
    progress = method.receive(talk_until(method, client, State.WAITING_FOR_HANDSHAKE))
    while not isinstance(progress, Proven):
        assert isinstance(progress, Ask)
        progress = method.receive(answer(client, progress.data))
    progress, rounds = method.accept(), 0
    while isinstance(progress, Ask):
        more = bool(progress.data[0] & 0x40)
        progress, rounds = method.receive(EMPTY), rounds + 1
        assert isinstance(progress, Finished) is not more
    assert rounds > 1


@VERSIONS
def test_an_answer_with_anything_in_it_refuses_our_last_message(house: House, version: TLSVersion) -> None:
    method = EAPTLS(house.context, packet_bytes=2_000)
    talk_until(method, house.new_client(version=version), State.WAITING_FOR_LAST_ANSWER)
    failed = method.receive(b"\0\x15\x03\x03\0\x02\x02\x30")
    assert isinstance(failed, Failed)
    assert failed.failure is TLSFailure.CLIENT_ALERT
    assert failed.certificate_der == house.alice.der


@VERSIONS
def test_the_reason_is_certain_before_the_alert_is_answered(house: House, version: TLSVersion) -> None:
    house.withdrawn.add(house.alice.der)
    method = EAPTLS(house.context, packet_bytes=2_000)
    data = talk_until(method, house.new_client(version=version), State.WAITING_FOR_HANDSHAKE)
    assert method.failed is None
    assert isinstance(method.receive(data), Ask)
    assert method.failed is not None
    assert method.failed.failure is TLSFailure.CERTIFICATE_REVOKED
    # Whatever the peer answers to an alert, it is over.
    assert method.receive(b"\0\x16whatever") == method.failed


@VERSIONS
def test_a_refusal_is_one_alert_and_nothing_of_what_was_ready_for_the_peer(house: House, version: TLSVersion) -> None:
    # In TLS 1.3 a second record under the same key and nonce would give away what both say.
    method, client = EAPTLS(house.context, packet_bytes=2_000), house.new_client(version=version)
    method.receive(talk_until(method, client, State.WAITING_FOR_HANDSHAKE))
    refusal = method.refuse("not today")
    assert isinstance(refusal, Ask)
    assert len(refusal.data) == 1 + 5 + (2 if version == TLS_12 else 3 + 16)
    assert method.receive(EMPTY) == method.failed
    with pytest.raises(EAPError, match="while finished"):
        method.receive(EMPTY)
    with pytest.raises(EAPError, match="no decision is due"):
        method.accept()


@VERSIONS
def test_the_stage_says_what_it_weighs_and_is_worth(house: House, version: TLSVersion) -> None:
    method, client = EAPTLS(house.context, packet_bytes=2_000), house.new_client(version=version, fragment_bytes=100)
    progress: Progress = method.start()
    stages = [method.stage]
    while not isinstance(progress, Finished):
        progress = method.accept() if isinstance(progress, Proven) else progress
        assert isinstance(progress, Ask)
        if method.stage is not stages[-1]:
            stages.append(method.stage)
        progress = method.receive(answer(client, progress.data))
    assert stages == list(Stage)
    assert [stage.is_heavy for stage in stages] == [False, True, True, False]


@VERSIONS
def test_what_only_waits_for_a_last_answer_holds_no_tls_connection(house: House, version: TLSVersion) -> None:
    accepted, refused = EAPTLS(house.context, packet_bytes=2_000), EAPTLS(house.context, packet_bytes=2_000)
    talk_until(accepted, house.new_client(version=version), State.WAITING_FOR_LAST_ANSWER)
    client = house.new_client(version=version, pem=None)
    data = talk_until(refused, client, State.WAITING_FOR_HANDSHAKE)
    assert isinstance(refused.receive(data), Ask)
    assert refused.state is State.WAITING_FOR_ALERT_ANSWER
    assert refused.stage is Stage.NOTHING
    gc.collect()
    alive = [each for each in gc.get_objects() if isinstance(each, TLSHandshake) and each._context is house.context]
    assert alive == []


def test_a_second_hello_resumes_nothing(house: House) -> None:
    """What it shows may be another session than the one that was decided about."""
    house.context = house.new_context(tickets=SSL.Context(SSL.TLS_SERVER_METHOD))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(house.alice.certificate)
    context.use_privatekey(house.alice.key)
    openssl.use_groups(context, "X25519")
    first, proven, _ = log_in_with_openssl(house, context, None)
    assert not proven.peer.resumed
    session = first.get_session()
    assert session is not None
    _, proven, rounds = log_in_with_openssl(house, context, session)
    assert (proven.peer.resumed, rounds) == (True, 2)
    openssl.use_groups(context, "P-521:X25519")  # it sends a share of the first, which we do not take
    _, proven, rounds = log_in_with_openssl(house, context, session)
    assert (proven.peer.resumed, rounds) == (False, 3)
    assert proven.peer.certificate_der == house.alice.der


def log_in_with_openssl(
    house: House, context: SSL.Context, session: SSL.Session | None
) -> tuple[SSL.Connection, Proven, int]:
    """TLS 1.3 until the key is proven, and with a yes to whoever resumes; how many flights that took."""
    method, client, rounds = EAPTLS(house.context, packet_bytes=10_000), SSL.Connection(context, None), 0
    if session is not None:
        client.set_session(session)
    client.set_connect_state()
    progress: Progress = method.start()
    while not isinstance(progress, Proven):
        assert isinstance(progress, Ask)
        if len(progress.data) > 1:
            client.bio_write(progress.data[5:] if progress.data[0] & 0x80 else progress.data[1:])
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        flight = client.bio_read(20_000)
        rounds += 1
        progress = method.receive(b"\0" + flight)
        if isinstance(progress, Resuming):
            progress = method.resume(granted=True)
    ask = method.accept()
    assert isinstance(ask, Ask)
    client.bio_write(ask.data[5:] if ask.data[0] & 0x80 else ask.data[1:])
    assert client.recv(1) == b"\0"
    return client, progress, rounds


def test_half_a_hello_is_none(house: House) -> None:
    hello = answer(house.new_client(fragment_bytes=4_000), bytes((START,)))
    method = EAPTLS(house.context, packet_bytes=1_000)
    with pytest.raises(EAPError, match="not whole"):
        method.receive(hello[:101])


@pytest.mark.parametrize("known", [True, False])
def test_the_last_answer_comes_in_one_piece(house: House, known: bool) -> None:
    """It is not counted among what weighs much, so it may not: ten thousand wait there at once."""
    if not known:
        house.withdrawn.add(house.alice.der)
    method = EAPTLS(house.context, packet_bytes=1_000)
    talk_until(method, house.new_client(), State.WAITING_FOR_LAST_ANSWER if known else State.WAITING_FOR_ALERT_ANSWER)
    assert not method.stage.is_heavy
    with pytest.raises(EAPError, match="one piece"):
        method.receive(bytes((MORE_FRAGMENTS,)) + bytes(900))
