"""An agent that is slow, silent or hostile, and a server that is: neither keeps the other waiting, or makes it obey."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways import agent_link
from evertunnel.gateways.agent.deadlines import Deadlines
from evertunnel.gateways.agent.folder import AgentFolder
from evertunnel.gateways.agent.outbox import Outbox
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.agent_link import AgentLink
from evertunnel.gateways.agent_tls import build_agent_context, build_server_context
from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.gateways.tls_pipe import PipeClosedError, TLSPipe
from evertunnel.gateways.wire import decode_event, decode_tunnel, encode_event, encode_tunnel, split
from evertunnel.pki.keys import encode_private_key, generate_key
from evertunnel.pki.kinds import AGENT_SERVER_NAME
from evertunnel.protocols.agent.frames import FrameError, encode_frame
from evertunnel.protocols.agent.messages import (
    Configuration,
    Event,
    Events,
    FromAgent,
    FromServer,
    GateQuestion,
    List,
    Message,
    Reply,
    TunnelSection,
    decode_from_agent,
    decode_from_server,
    encode_message,
)
from tests.installation import ALICE, Clock
from tests.unit.gateways.tunnels import Tunnels, make_tunnel


def make_pipes() -> tuple[TLSPipe, TLSPipe]:
    """Server and agent, over a socket pair."""
    key, name = generate_key(), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    now = Clock()().replace(year=2020)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=2090))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(AGENT_SERVER_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM).decode()
    ours, theirs = socket.socketpair()
    server = TLSPipe(
        ours,
        build_server_context(chain_pem=[pem], key_pem=encode_private_key(key).decode(), trusted_pem=[pem]),
        server_side=True,
    )
    agent = TLSPipe(theirs, build_agent_context(root_pem=pem), server_side=False, server_name=AGENT_SERVER_NAME)
    thread = threading.Thread(target=server.shake_hands, args=(5,))
    thread.start()
    agent.shake_hands(5)
    thread.join()
    return server, agent


def build() -> tuple[GatewayModel, Configuration]:
    raise UnavailableError("nothing to load")


class Ends:
    """A link of the server, and the agent's end of it in the hands of a test."""

    def __init__(self) -> None:
        server, agent = make_pipes()
        self.channel: Channel[FromServer] = Channel(agent, decode_from_server)
        own: Channel[FromAgent] = Channel(server, decode_from_agent)
        self.channel.trust()
        own.trust()
        self.link = AgentLink("gw2", own, build=build, ask_gate=lambda _der: None, run=lambda _work: False)
        self.thread = threading.Thread(target=self.link.serve, daemon=True)
        self.thread.start()

    def answer_with(self, *replies: Reply) -> None:
        """Answer the next question; `id` is set."""

        def run() -> None:
            while not isinstance(asked := self.channel.receive(5), List):
                assert asked is not None
            with suppress(PipeClosedError):  # whoever does not like an answer hangs up at once
                for reply in replies:
                    self.channel.send(reply.model_copy(update={"id": asked.id}))

        threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.link.close("the test is over")
    made.thread.join(5)
    made.channel.dispose()


def make_sections(*numbers: int) -> list[TunnelSection]:
    return [encode_tunnel("evertunnel-user", make_tunnel(number, "a")) for number in numbers]


def test_a_listing_comes_in_parts(ends: Ends) -> None:
    ends.answer_with(
        Reply(id=0, tunnels=make_sections(1, 2), more=True), Reply(id=0, tunnels=make_sections(3), more=False)
    )
    assert [tunnel["uniqueid"] for tunnel in ends.link.list_tunnels()] == ["1", "2", "3"]


def test_an_agent_that_does_not_answer_is_given_up(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_link, "_ANSWER_WITHIN_SECONDS", 0.2)
    with pytest.raises(UnavailableError, match="did not answer within"):
        ends.link.list_tunnels()
    assert ends.link.is_closed
    with pytest.raises(UnavailableError, match="is not connected"):
        ends.link.flush_certificates()


def test_a_listing_without_end_is_given_up(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_link, "_TUNNELS_AT_MOST", 4)
    ends.answer_with(*(Reply(id=0, tunnels=make_sections(1, 2), more=True) for _ in range(4)))
    with pytest.raises(UnavailableError, match="without end"):
        ends.link.list_tunnels()


def test_a_listing_of_nothing_that_goes_on_is_given_up(ends: Ends) -> None:
    """Each of them comes in time, so time alone would never end it."""
    ends.answer_with(*(Reply(id=0, more=True) for _ in range(3)), Reply(id=0))
    with pytest.raises(UnavailableError, match="without end"):
        ends.link.list_tunnels()


def test_who_takes_no_answers_of_the_gate_holds_nobody_for_long(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that answer are shared with other gateways."""
    waited: list[float] = []
    taken = threading.Event()

    def send(_message: Message, within_seconds: float = 5.0) -> None:
        waited.append(within_seconds)
        taken.set()
        raise PipeClosedError("the peer takes nothing")

    monkeypatch.setattr(ends.link._channel, "send", send)
    ends.channel.send(GateQuestion(id=1, request_der=b"x"))
    assert taken.wait(5)
    ends.thread.join(5)
    assert waited[0] <= 1
    assert ends.link.is_closed


def test_a_tunnel_with_very_many_children_does_not_keep_others_from_being_listed() -> None:
    """A client chooses how many it has: what it makes must still fit into frames, or nobody there can be cut."""
    child = {"spi-in": "c" * 8, "spi-out": "d" * 8, "bytes-in": "1" * 18, "bytes-out": "1" * 18, "state": "INSTALLED"}
    children = {f"evertunnel-user-{number}": child for number in range(64)}
    tunnels = [
        encode_tunnel("evertunnel-user", make_tunnel(number, ALICE) | {"child-sas": children}) for number in range(400)
    ]
    parts = split(tunnels)
    assert len(parts) > 1
    assert [tunnel for part in parts for tunnel in part] == tunnels
    for part in parts:
        encode_frame(encode_message(Reply(id=2**62, tunnels=part, more=True)))
    assert [len(part) for part in split(make_sections(*range(900)))] == [400, 400, 100]
    assert split([]) == [[]]


def test_the_largest_tunnel_there_can_be_fits_into_a_frame() -> None:
    worst = "\x01" * 1000
    child = {"spi-in": worst, "spi-out": worst, "bytes-in": "1" * 99, "bytes-out": "1" * 99, "state": worst}
    section = make_tunnel(7, worst) | {
        "state": worst, "remote-host": worst, "remote-id": worst, "remote-vips": [worst] * 99,
        "child-sas": {f"{number:03d}{worst}": child for number in range(99)},
    }  # fmt: skip
    event = encode_event("ike-rekey", {"evertunnel-user": {"old": section, "new": section}})
    outbox = Outbox()
    outbox.say_fresh()
    outbox.open()
    for _ in range(5):
        outbox.put(event[0])
    sent = 0
    while sent < 5:
        events = outbox.take(1)
        assert events is not None
        encode_frame(encode_message(events))
        sent += len(events.events)


def test_nobody_enrols_where_an_agent_runs(tmp_path: Path) -> None:
    """The one that runs would be dismissed, and forget what the enrolment wrote."""
    with (
        AgentFolder(tmp_path).hold(),
        pytest.raises(InvalidInputError, match="stop it first"),
        AgentFolder(tmp_path).hold(),
    ):
        pass
    with AgentFolder(tmp_path).hold():
        pass


def test_an_agent_that_says_its_strongswan_is_away_is_believed(ends: Ends) -> None:
    ends.answer_with(Reply(id=0, error="strongSwan does not answer", away=True))
    with pytest.raises(UnavailableError, match="strongSwan does not answer"):
        ends.link.list_tunnels()
    assert not ends.link.is_closed


def test_a_message_that_is_begun_and_not_finished_ends_the_connection(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evertunnel.gateways.agent_channel._FRAME_WITHIN_SECONDS", 0.2)
    ends.channel._pipe.send((1000).to_bytes(4, "big") + b"{")
    ends.thread.join(5)
    assert ends.link.ended_because == "a message was begun and not finished"


def test_who_takes_nothing_any_more_is_given_up_in_time() -> None:
    server, agent = make_pipes()
    with pytest.raises(PipeClosedError, match="takes nothing"):
        server.send(bytes(50_000_000), within_seconds=0.2)
    server.dispose()
    agent.dispose()


def test_a_flood_of_events_ends_the_connection_and_not_the_memory(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    event = encode_event("ike-updown", {"up": "no", "evertunnel-user": make_tunnel(1, "a")})
    monkeypatch.setattr(ends.link._events, "maxsize", 150)
    for _ in range(2):
        ends.channel.send(Events(events=event * 100))
    ends.thread.join(5)
    assert ends.link.ended_because == "it says more than can be handled"


COMMANDS = {
    "a connection": b'{"kind":"load","id":1,"connections":{"x":{"children":{"y":{"updown":"/bin/sh"}}}}}',
    "an updown in the settings": b'{"kind":"load","id":1,"configuration":{"settings":{"updown":"/bin/sh"}}}',
    "a path": b'{"kind":"list","id":1,"number":null,"file":"/etc/shadow"}',
    "an order nobody knows": b'{"kind":"run","id":1,"command":"reboot"}',
    "a number that is none": b'{"kind":"terminate","id":1,"numbers":["7; reboot"]}',
    "too many at once": b'{"kind":"terminate","id":1,"numbers":[' + b"1," * 500 + b"1]}",
}


@pytest.mark.parametrize("what", COMMANDS)
def test_an_agent_takes_no_command_and_no_configuration_of_strongswan(what: str) -> None:
    with pytest.raises(FrameError):
        decode_from_server(COMMANDS[what])


def make_configuration(**changes: object) -> dict[str, object]:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    return {
        "name": "gw2", "public_name": "vpn.example", "certificate_pem": pem, "chain_pem": [pem],
        "device_authority_pem": pem, "agent_certificate_pem": pem, "radius_address": "192.0.2.1", "radius_port": 1812,
        "accounting_port": 1813, "radius_secret": "abc",
        "settings": {
            "device_pool": "10.0.0.0/24", "user_pool": "10.1.0.0/24", "device_networks": [], "user_networks": [],
        },
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"radius_secret": 'x" }\n charon { plugins { updown { } } }'},
        {"radius_address": "a }\ninclude /tmp/x"},
        {"name": "gw2\n}"},
        {"name": "../../etc"} | {"public_name": "a b"},
        {"settings": {"device_pool": "10.0.0.0/24; x"}},
        {"certificate_pem": "file:/etc/shadow"},
    ],
    ids=range(6),
)
def test_nothing_that_could_end_a_line_of_a_configuration_is_taken(changes: dict[str, object]) -> None:
    assert Configuration.model_validate(make_configuration())
    with pytest.raises(ValueError, match="validation error"):
        Configuration.model_validate(make_configuration(**changes))


def test_what_vici_says_arrives_as_it_was_as_far_as_anybody_reads_it() -> None:
    section = make_tunnel(7, "a" * 700) | {
        "child-sas": {"net-1": {"spi-in": "c", "bytes-in": "12", "state": "INSTALLED"}}
    }
    found = decode_tunnel(encode_tunnel("evertunnel-user", section))
    assert found["remote-eap-id"] == "a" * 600
    assert found["child-sas"]["net-1"]["bytes-in"] == "12"
    rekey = encode_event("ike-rekey", {"evertunnel-user": {"old": make_tunnel(7, "a"), "new": make_tunnel(8, "a")}})
    name, message = decode_event(rekey[0])
    assert (name, message["evertunnel-user"]["new"]["uniqueid"]) == ("ike-rekey", "8")
    moved = {"remote-host": "203.0.113.9", "remote-port": "4500", "evertunnel-user": make_tunnel(7, "a")}
    name, message = decode_event(encode_event("ike-update", moved)[0])
    assert (name, message["evertunnel-user"]["remote-host"]) == ("ike-update", "203.0.113.9")
    assert encode_event("ike-updown", {"up": "yes", "somebody-elses": make_tunnel(9, "a")}) == []


def test_while_nobody_listens_rekeys_are_kept_and_the_state_is_told_after_them() -> None:
    outbox = Outbox()
    outbox.say_fresh()
    updown = encode_event("ike-updown", {"up": "yes", "evertunnel-user": make_tunnel(7, "a")})[0]
    rekey = encode_event("ike-rekey", {"evertunnel-user": {"old": make_tunnel(7, "a"), "new": make_tunnel(8, "a")}})[0]
    for event in (updown, rekey, Event(name="log", number="1", line="x")):
        outbox.put(event)
    outbox.open()
    assert outbox.take(0.1) == Events(events=[rekey], fresh=True)
    assert outbox.take(0.01) is None
    outbox.say_away("gone")
    assert outbox.take(0.1) == Events(away="gone")


def test_deadlines_survive_a_restart_follow_rekeys_and_end_no_other_tunnel(tmp_path: Path) -> None:
    clock, folder = Clock(), AgentFolder(tmp_path)
    spis = [f"{number:016x}:{number:016x}" for number in range(10)]
    first = Deadlines(folder, clock)
    first.keep(7, spis[7], 60)
    first.keep(7, spis[7], 600)  # a longer life is not given by saying so again
    first.follow_rekey(spis[7], 8, spis[8])
    first.keep(3, spis[3], 60)
    tunnels = Tunnels(make_tunnel(8, "a"), make_tunnel(3, "b"), make_tunnel(9, "c"))
    tunnels.tunnels[3]["initiator-spi"] = "another one has the number now"
    again = Deadlines(folder, clock)
    assert again.end_due(tunnels) == 0
    clock.forward(seconds=61)
    assert again.end_due(tunnels) == 2
    assert sorted(tunnels.tunnels) == [3, 9]
    assert Deadlines(folder, clock).end_due(tunnels) == 0
