"""Who may enrol and who may come in as an agent; what an agent, or a server, that lies gets for it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from evertunnel.actions.remove_gateway import remove_gateway
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.audit import Audit
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.agent.enrolling import dial, enrol, read_code
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.agent_tls import build_agent_context, build_server_context
from evertunnel.gateways.tls_pipe import PipeClosedError, TLSPipe
from evertunnel.lab.lab import wait_for
from evertunnel.model import CertificateKind
from evertunnel.pki.keys import encode_private_key, encode_public_key, generate_key
from evertunnel.protocols.agent.code import decode_code, encode_code
from evertunnel.protocols.agent.frames import FRAME_BYTES, encode_frame
from evertunnel.protocols.agent.messages import (
    VERSION,
    Beat,
    Hello,
    List,
    Load,
    Message,
    Refused,
    Reply,
    Welcome,
    decode_from_agent,
)
from evertunnel.storage import effect_queue, gateways, tables
from tests.installation import ALICE, Installation
from tests.unit.gateways.agents import NAME, Agents


@pytest.fixture
def agents(installation: Installation, tmp_path: Path) -> Iterator[Agents]:
    made = Agents(installation, tmp_path)
    made.start()
    yield made
    made.stop()


def list_audit(installation: Installation, name: Audit) -> list[str]:
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.audit).where(tables.audit.c.name == name.value))
        return [str(row.details) for row in rows]


# Enrolment.


def test_a_code_makes_an_agent_once(agents: Agents, installation: Installation) -> None:
    code = agents.make_code()
    assert enrol(agents.folder, read_code(code)) == NAME
    identity = agents.folder.load_identity()
    with agents.connect(identity) as (_, said):
        assert said == Welcome(gateway=NAME)
    with pytest.raises(InvalidInputError, match="was used already"):
        enrol(agents.folder, read_code(code))
    assert len(list_audit(installation, Audit.GATEWAY_ENROL)) == 1
    assert "used already" in list_audit(installation, Audit.GATEWAY_ENROL_REFUSED)[0]


def test_no_secret_of_a_code_is_stored(agents: Agents, installation: Installation) -> None:
    code = agents.make_code()
    secret = decode_code(code).secret
    with installation.store.read() as connection:
        stored = connection.execute(select(tables.enrolment_codes)).one()
    assert secret not in (stored.secret_hash, *stored) and secret.hex() not in str(stored)
    assert code not in "".join(list_audit(installation, Audit.GATEWAY_CODE))


def expire(agents: Agents) -> str:
    code = agents.make_code()
    agents.installation.clock.forward(hours=24)
    return code


def remove(agents: Agents) -> str:
    code = agents.make_code()
    agents.installation.do(remove_gateway, NAME)
    return code


def make_two(agents: Agents) -> str:
    code = agents.make_code()
    agents.make_code()
    return code


def guess(agents: Agents) -> str:
    return encode_code(replace(decode_code(agents.make_code()), secret=bytes(16)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (expire, "has expired"),
        (remove, "gateway gw2 was removed"),
        (make_two, "is not known"),
        (guess, "is not known"),
        (lambda agents: agents.make_code()[:-3], "not complete, or was typed wrong"),
        (lambda agents: agents.make_code().replace("evt1-", "evt9-"), "begins with evt1-"),
        (lambda _agents: "", "begins with evt1-"),
        (lambda _agents: "evt1-" + "A" * 5000, "longer than an enrolment code"),
    ],
    ids=["expired", "removed", "an older one", "guessed", "cut off", "another version", "nothing", "endless"],
)
def test_a_code_that_is_not_good_is_one_clear_line_and_leaves_nothing(
    agents: Agents, make: Callable[[Agents], str], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        enrol(agents.folder, read_code(make(agents)))
    assert "\n" not in str(caught.value)
    assert not (agents.folder.path / "agent.json").exists()
    with agents.installation.store.read() as connection:
        assert not connection.execute(
            select(tables.certificates).where(tables.certificates.c.kind == CertificateKind.AGENT.value)
        ).all()


def test_guessing_is_slowed_down_and_only_what_was_looked_at_is_recorded(agents: Agents) -> None:
    code = guess(agents)
    said = []
    for _ in range(12):
        with pytest.raises(InvalidInputError) as caught:
            enrol(agents.folder, read_code(code))
        said.append(str(caught.value))
    recorded = len(list_audit(agents.installation, Audit.GATEWAY_ENROL_REFUSED))
    assert any("too many" in text for text in said)
    assert recorded == sum("not known" in text for text in said) < 12


class Between:
    """Somebody between gateway and server, who speaks TLS with a certificate of his choice and says our root."""

    def __init__(self, context: ssl.SSLContext, root_pem: str, agents: Agents) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.heard: list[object] = []
        self.finished: list[str] = []
        threading.Thread(target=self._serve, args=(context, root_pem, agents), daemon=True).start()

    def _serve(self, context: ssl.SSLContext, root_pem: str, agents: Agents) -> None:
        for _ in range(2):
            try:
                connection, _address = self.listener.accept()
            except OSError:  # nobody called a second time
                return
            pipe = TLSPipe(connection, context, server_side=True)
            try:
                pipe.shake_hands(5)
                channel = Channel(pipe, decode_from_agent)
                channel.send(Hello(version=VERSION, root_pem=root_pem, time=agents.installation.now))
                self.heard.append(channel.receive(3))
            except PipeClosedError as error:
                self.finished.append(str(error))
            finally:
                pipe.dispose()


@pytest.mark.parametrize("who", ["with a root of his own", "with our root and a gateway's certificate"])
def test_who_is_in_between_gets_no_secret(agents: Agents, installation: Installation, who: str) -> None:
    """A gateway's certificate is one of ours for servers, and may bear the server's own public name."""
    key = generate_key()
    own_root = who == "with a root of his own"
    if own_root:
        certificate = x509.load_pem_x509_certificate(agents.directory.root_pem.encode())
        subject = certificate.subject
        builder = x509.CertificateBuilder(
            subject, subject, key.public_key(), 1, certificate.not_valid_before_utc, certificate.not_valid_after_utc
        )
        from cryptography.hazmat.primitives import hashes

        chain = [builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()]
        root_pem = chain[0]
    else:
        issued = installation.issue(
            CertificateKind.GATEWAY, "vpn.example.test", key=key, gateway_id=installation.find_or_add_gateway()
        )
        ders = (issued.certificate_der, *issued.chain_der)
        chain = [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in ders]
        root_pem = agents.directory.root_pem
    context = build_server_context(
        chain_pem=chain, key_pem=encode_private_key(key).decode(), trusted_pem=[agents.directory.root_pem]
    )
    between = Between(context, root_pem, agents)
    code = encode_code(replace(decode_code(agents.make_code()), port=between.port))
    with pytest.raises((InvalidInputError, UnavailableError), match="fingerprint" if own_root else "does not verify"):
        enrol(agents.folder, read_code(code))
    assert not any(between.heard), "nothing was sent to him"
    between.listener.shutdown(socket.SHUT_RDWR)
    between.listener.close()


# Coming in.


def test_only_an_agents_own_certificate_lets_it_in(agents: Agents, installation: Installation) -> None:
    identity = agents.enrol()
    for kind, owner in ((CertificateKind.USER, {"user_id": installation.add_user()}), (CertificateKind.AGENT, {})):
        key = generate_key()
        issued = installation.issue(kind, ALICE if owner else NAME, key=key, **owner)
        own = x509.load_der_x509_certificate(issued.certificate_der).public_bytes(Encoding.PEM).decode()
        other = replace(
            identity,
            agent_key_pem=encode_private_key(key).decode(),
            agent_chain_pem=(own, identity.agent_chain_pem[1]),
        )
        with agents.connect(other) as (_, said):
            assert isinstance(said, Refused)
            assert said.gone is (kind is CertificateKind.AGENT)
    with dial("127.0.0.1", agents.port, build_agent_context(root_pem=identity.root_pem)) as (channel, hello):
        from evertunnel.protocols.agent.messages import Begin

        channel.send(Begin(version=VERSION, time=hello.time))
        assert channel.receive(5) == Refused(text="an agent shows its certificate")


def test_another_authoritys_certificate_does_not_pass_tls(agents: Agents, installation: Installation) -> None:
    identity = agents.enrol()
    key = generate_key()
    issued = installation.issue(CertificateKind.DEVICE, "gw2.example", key=key, device_id=installation.add_device())
    own = x509.load_der_x509_certificate(issued.certificate_der).public_bytes(Encoding.PEM).decode()
    stranger = replace(
        identity, agent_key_pem=encode_private_key(key).decode(), agent_chain_pem=(own, identity.agent_chain_pem[1])
    )
    with pytest.raises((UnavailableError, AssertionError)), agents.connect(stranger):
        pass


@pytest.mark.parametrize("how", ["revoked", "removed", "enrolled anew"])
def test_an_agent_that_is_connected_is_dismissed_at_once(
    agents: Agents, installation: Installation, how: str, tmp_path: Path
) -> None:
    identity = agents.enrol()
    with agents.connect(identity) as (channel, said):
        assert isinstance(said, Welcome)
        if how == "revoked":
            with installation.store.read() as connection:
                row = connection.execute(select(tables.certificates).where(tables.certificates.c.kind == "agent")).one()
            installation.do(revoke_certificate, row.id, reason="key compromise")
        elif how == "removed":
            installation.do(remove_gateway, NAME)
        else:
            from evertunnel.gateways.agent.folder import AgentFolder

            other = AgentFolder(tmp_path / "other")
            other.create()
            enrol(other, read_code(agents.make_code()))
        message = channel.receive(5)
        while not isinstance(message, Refused):
            assert message is not None
            message = channel.receive(5)
        assert message.gone
    with agents.connect(identity) as (_, again):
        assert isinstance(again, Refused) and again.gone


def test_a_gateway_whose_agent_is_not_there_is_said_to_be_away_and_effects_say_why(
    agents: Agents, installation: Installation
) -> None:
    from evertunnel.actions.deny import deny
    from evertunnel.model import SubjectKind

    installation.add_user()
    denial_id = installation.do(deny, SubjectKind.USER, ALICE, reason="left")

    def read() -> tuple[str, int, str]:
        with installation.store.read() as connection:
            row = gateways.get_gateway(connection, NAME)
            (effect,) = effect_queue.list_of_denial(connection, denial_id)
        return row.state, effect.tries, effect.last_error

    wait_for("the word of it", lambda: read()[1] > 0)
    assert read()[0] == "away"
    assert read()[2] == "its agent has not connected yet"


# Speaking.


def test_the_gateway_is_described_and_looked_after(agents: Agents, installation: Installation) -> None:
    identity = agents.enrol()
    with agents.connect(identity) as (channel, _):
        asked = channel.receive(5)
        assert isinstance(asked, Load)
        found = asked.configuration
        assert (found.name, found.public_name, found.radius_address) == (NAME, "vpn2.example.test", "192.0.2.1")
        public_key = x509.load_pem_x509_certificate(found.certificate_pem.encode()).public_key()
        from evertunnel.pki.keys import decode_private_key

        own = decode_private_key(identity.gateway_key_pem.encode()).public_key()
        assert encode_public_key(public_key) == encode_public_key(own)  # type: ignore[arg-type]
        assert "PRIVATE" not in found.model_dump_json()


HOSTILE = {
    "no JSON": encode_frame(b"{"),
    "another shape": encode_frame(b'{"kind":"reply","id":"seven"}'),
    "something more": encode_frame(b'{"kind":"beat","run":"rm -rf /"}'),
    "the server's own words": encode_frame(b'{"kind":"flush","id":1}'),
    "nested": encode_frame(b"[" * 100_000),
    "empty": b"\0\0\0\0",
    "endless": b"\xff\xff\xff\xff",
    "too large": (FRAME_BYTES + 1).to_bytes(4, "big"),
    "an event without its tunnel": encode_frame(b'{"kind":"events","events":[{"name":"ike-updown"}]}'),
    "a NUL": encode_frame(b'{"kind":"events","away":"a\\u0000b"}'),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_agent_that_breaks_the_protocol_is_cut_off_and_the_next_one_is_served(agents: Agents, what: str) -> None:
    identity = agents.enrol()

    def break_it() -> None:
        with agents.connect(identity) as (channel, said):
            assert isinstance(said, Welcome)
            channel._pipe.send(HOSTILE[what])
            while channel.receive(5) is not None:
                pass

    with pytest.raises(UnavailableError):
        break_it()
    with agents.connect(identity) as (_, said):
        assert isinstance(said, Welcome)


def test_who_has_proven_nothing_may_not_say_much(agents: Agents) -> None:
    context = build_agent_context(root_pem=agents.directory.root_pem)

    def say_much() -> None:
        with dial("127.0.0.1", agents.port, context) as (channel, _):
            channel._pipe.send((64 * 1024).to_bytes(4, "big"))
            channel.receive(5)

    with pytest.raises(UnavailableError, match=r"hung up|reset"):
        say_much()


def test_callers_who_say_nothing_do_not_keep_an_agent_out(agents: Agents) -> None:
    identity = agents.enrol()
    address = "127.0.0.1", agents.port
    silent = [socket.create_connection(address, source_address=("127.0.0.2", 0)) for _ in range(100)]
    with agents.connect(identity) as (_, said):
        assert isinstance(said, Welcome)
    for caller in silent:
        caller.close()


def test_callers_from_everywhere_who_say_nothing_do_not_keep_an_agent_out(agents: Agents) -> None:
    """Who waits the longest gives way: an agent has proven itself before it is that one."""
    identity = agents.enrol()
    address = "127.0.0.1", agents.port
    silent = [
        socket.create_connection(address, source_address=(f"127.0.0.{number // 8 + 2}", 0)) for number in range(80)
    ]
    for caller in silent[:16]:  # of 80 there is room for 64
        caller.settimeout(5)
        assert caller.recv(1) == b""
    with agents.connect(identity) as (_, said):
        assert isinstance(said, Welcome)
    for caller in silent:
        caller.close()


def test_replies_nobody_asked_for_change_nothing(agents: Agents) -> None:
    identity = agents.enrol()
    with agents.connect(identity) as (channel, _):
        for number in (0, 1, 2**62):
            channel.send(Reply(id=number))
        channel.send(Beat())
        seen = [channel.receive(5) for _ in range(2)]
        assert all(isinstance(message, Load | List | Beat) for message in seen)


def test_an_agent_that_hangs_up_before_it_is_welcomed_is_not_thought_to_be_there(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = agents.enrol()
    send = Channel.send

    def hang_up(channel: Channel[object], message: Message, within_seconds: float = 5.0) -> None:
        if isinstance(message, Welcome):
            raise PipeClosedError("the peer hung up")
        send(channel, message, within_seconds)

    monkeypatch.setattr(Channel, "send", hang_up)
    with pytest.raises((UnavailableError, AssertionError)), agents.connect(identity):
        pass
    wait_for("its end", lambda: not agents.process._list())
    monkeypatch.undo()
    with agents.connect(identity) as (_, said):
        assert isinstance(said, Welcome)


def test_a_gateway_that_cannot_be_described_is_looked_after_all_the_same(
    agents: Agents, installation: Installation
) -> None:
    """What is stored may be of another version, or bent: its tunnels must still be cut."""
    identity = agents.enrol()
    with installation.store.write(installation.now) as tx:
        row = gateways.get_gateway(tx.connection, NAME)
        settings = dict(row.settings) | {"device_pool": "10.0.0.0/24; x"}
        tx.connection.execute(tables.gateways.update().where(tables.gateways.c.id == row.id).values(settings=settings))
    with agents.connect(identity) as (_, said):
        assert isinstance(said, Welcome)
        wait_for("its keeper", lambda: any(found.keeper.is_alive for found in agents.process._list()))
        (certificate_id,) = [found.certificate_id for found in agents.process._list()]
        with pytest.raises(InvalidInputError, match=r"see its device_pool"):
            agents.directory.describe(row.id, certificate_id)
