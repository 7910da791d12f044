"""The RadSec process with a worker's end in this process: what it waits for, for how long, and for whom."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel import clock
from evertunnel.actions.add_foreign_gateway import ForeignGateway, add_foreign_gateway
from evertunnel.actions.change_radsec import issue_radsec
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import encode_public_key, generate_key
from evertunnel.protocols.radius.attributes import Code
from evertunnel.protocols.radius.packet import encode_reply
from evertunnel.protocols.radius.status import decode_status_server
from evertunnel.servers import radsec_connection, radsec_process
from evertunnel.servers.crew import Crew
from evertunnel.servers.logins import Address, Reply
from evertunnel.servers.radsec_link import RadSecLink
from evertunnel.servers.radsec_process import RadSecProcess
from evertunnel.servers.radsec_tls import RadSecContext
from evertunnel.storage import authorities
from tests.installation import Installation
from tests.interop.server import wait_for
from tests.peers import radius
from tests.peers.certificates import encode_key, new_key
from tests.peers.radsec import SECRET, Closed, RadSec


class Listener(socket.socket):
    """Says of calls that they come from `addresses`, in this order, while there are any."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET, address: str = "127.0.0.1") -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self.addresses: list[str] = []
        self.bind((address, 0))
        self.listen()

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        made, (address, port, *_) = super().accept()
        return made, (self.addresses.pop(0) if self.addresses else address, port)


class Process:
    """One that runs, with one worker that answers Status-Server, or keeps what came while it is `busy`."""

    def __init__(self, installation: Installation, listener: Listener) -> None:
        self.installation = installation
        self.listener = listener
        installation.clock.moment = clock.now()  # OpenSSL has the machine's
        self.port: int = listener.getsockname()[1]
        key = generate_key()
        name = installation.choose_name(CertificateKind.RADSEC_SERVER)["name"]
        leaf = installation.issue(CertificateKind.RADSEC_SERVER, name, key=key).certificate_der
        with installation.store.read() as connection:
            issuing = authorities.load_authorities(connection)[Authority.ISSUING]
        chain = [x509.load_der_x509_certificate(leaf), issuing]
        self.link = RadSecLink(Crew(1))
        self.process = RadSecProcess(
            installation.store,
            listener,
            self.link,
            lambda directory: RadSecContext(chain=chain, key=key, trusted=directory.trusted, judge=directory.judge),
            installation.clock,
        )
        self.stopped = threading.Event()
        self.sources: list[Address] = []
        self.busy = threading.Event()
        self.logins, _ = self.link.open_ports(0)
        self.threads = [
            threading.Thread(target=self.process.run, args=(self.stopped,), daemon=True),
            threading.Thread(target=self._work, daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def add_gateway(self, name: str) -> bytes:
        """Returns key and certificate."""
        seal = self.installation.keystore.seal
        self.installation.do(
            add_foreign_gateway, ForeignGateway(name, "radsec"), seal=lambda text, context: seal(text, context=context)
        )
        key = new_key()
        public_key_der = encode_public_key(key.public_key())
        issued = self.installation.do(
            issue_radsec, self.installation.signer, name, public_key_der, lifetime_seconds=3600
        )
        pem = x509.load_der_x509_certificate(issued.certificate_der).public_bytes(Encoding.PEM)
        return encode_key(key) + pem

    def close(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.link.close()

    def _work(self) -> None:
        (end,) = self.logins.sockets
        while not self.stopped.is_set():
            if self.busy.is_set() or not select.select([end], [], [], 0.02)[0]:
                self.stopped.wait(0.01)
                continue
            for data, source, _ in self.logins.receive([end.fileno()]):
                self.sources.append(source)
                request = decode_status_server(data, SECRET)
                self.logins.send(Reply(encode_reply(Code.ACCESS_ACCEPT, request, SECRET), source))


NewConnection = Callable[..., RadSec]


@pytest.fixture
def process(installation: Installation) -> Iterator[Process]:
    with closing(Listener()) as listener:
        made = Process(installation, listener)
        yield made
        made.close()


@pytest.fixture
def pem(process: Process) -> bytes:
    return process.add_gateway("proxy1")


@pytest.fixture
def connect(process: Process) -> Iterator[NewConnection]:
    with ExitStack() as stack:

        def make(pem: bytes, **options: object) -> RadSec:
            made = RadSec(process.port, pem, **options)  # type: ignore[arg-type]
            stack.enter_context(closing(made))
            return made

        yield make


def ask(connection: RadSec, identifier: int = 1) -> None:
    request = radius.sign(SECRET, b"", code=12, identifier=identifier)
    answer = connection.carry(request)
    assert answer is not None
    assert radius.read_reply(SECRET, request, answer).code == radius.ACCEPT


def call(port: int, *, source: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    made.settimeout(20)
    return made


def is_closed(connection: socket.socket) -> bool:
    with suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01"], ids=["none", "some", "half"])
def test_a_handshake_has_its_time(process: Process, monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    monkeypatch.setattr(radsec_connection, "HANDSHAKE_SECONDS", 0.1)
    with call(process.port) as caller:
        caller.sendall(octets)
        assert is_closed(caller)


def test_a_packet_has_its_time_and_one_octet_at_a_time_wins_none(
    process: Process, pem: bytes, connect: NewConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(pem)
    ask(connection)
    monkeypatch.setattr(radsec_connection, "PARTIAL_SECONDS", 0.5)
    packet = radius.sign(SECRET, radius.encode_attributes([(radius.PROXY_STATE, bytes(253))] * 15), code=12)

    def drip() -> None:
        with suppress(Closed):
            for at in range(len(packet)):
                connection.send(packet[at : at + 1])
                if process.stopped.wait(0.02):
                    return

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    connection.wait_for_end()
    dripping.join()
    assert len(process.sources) == 1


def test_an_idle_connection_ends_and_a_watchdog_keeps_it(
    process: Process, pem: bytes, connect: NewConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = connect(pem)
    ask(idle)
    monkeypatch.setattr(radsec_connection, "IDLE_SECONDS", 1.0)
    assert idle.wait_for_end() == ""
    monkeypatch.setattr(radsec_connection, "IDLE_SECONDS", 600.0)
    ask(connect(pem))


def test_who_takes_no_answers_is_let_go_and_holds_up_nobody(
    process: Process, pem: bytes, connect: NewConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radsec_connection, "STUCK_SECONDS", 0.3)
    other = connect(process.add_gateway("proxy2"))
    stuck = connect(pem, receive_bytes=4_096)
    stuck.tls.settimeout(0.2)
    flood = radius.sign(SECRET, b"", code=12) * 200

    def is_let_go() -> bool:
        with suppress(OSError):  # it takes no more from us just now, or has closed already
            for _ in range(20):
                stuck.tls.send(flood)
        ask(other)
        return len(process.process._connections) == 1

    wait_for(is_let_go, seconds=60)
    ask(other)


def test_a_worker_that_is_busy_loses_nothing(process: Process, pem: bytes, connect: NewConnection) -> None:
    """More than it may have in hand: what does not fit waits in the network, and then comes."""
    connection = connect(pem)
    ask(connection)
    process.busy.set()
    packet = radius.sign(SECRET, radius.encode_attributes([(radius.PROXY_STATE, bytes(253))] * 15), code=12)
    count = 1_000

    sender = threading.Thread(target=lambda: connection.send(packet * count), daemon=True)
    sender.start()
    wait_for(lambda: any(each.waiting for each in list(process.process._connections.values())))
    process.busy.clear()
    for _ in range(count):
        connection.receive()
    sender.join()


def test_strangers_are_bounded_for_one_address_and_together(
    process: Process, pem: bytes, connect: NewConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radsec_process, "UNPROVEN_OF_ONE_AT_MOST", 3)
    with ExitStack() as stack:
        callers = [stack.enter_context(call(process.port)) for _ in range(4)]
        assert is_closed(callers[-1])
        ask(connect(pem, source="127.0.0.2"))  # from elsewhere there is room
    monkeypatch.setattr(radsec_process, "UNPROVEN_OF_ONE_AT_MOST", 100)
    monkeypatch.setattr(radsec_process, "UNPROVEN_AT_MOST", 5)
    with ExitStack() as stack:
        callers = [stack.enter_context(call(process.port)) for _ in range(9)]
        assert all(is_closed(caller) for caller in callers[:4]), "who waits the longest makes room"
        ask(connect(pem))


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        (["2001:db8::1", "2001:db8::2:3", "2001:db8::ffff:0:0:1"], True),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], False),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth0"], True),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], False),
        (["::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"], False),
        (["::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], True),
    ],
)
def test_strangers_of_one_ipv6_network_are_one(
    process: Process, monkeypatch: pytest.MonkeyPatch, addresses: list[str], refused: bool
) -> None:
    """Half an IPv6 address is its owner's to choose, and an IPv4 caller of an IPv6 socket is still one of IPv4."""
    monkeypatch.setattr(radsec_process, "UNPROVEN_OF_ONE_AT_MOST", 2)
    process.listener.addresses = addresses.copy()
    with ExitStack() as stack:
        callers = [stack.enter_context(call(process.port)) for _ in addresses]
        wait_for(lambda: not process.listener.addresses)
        if refused:
            assert is_closed(callers[-1])
        wait_for(lambda: len(process.process._unproven) == (2 if refused else 3))


def test_callers_of_ipv4_at_an_ipv6_socket_are_told_apart(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radsec_process, "UNPROVEN_OF_ONE_AT_MOST", 2)
    with closing(Listener(socket.AF_INET6, "::")) as listener, ExitStack() as stack:
        process = Process(installation, listener)
        stack.callback(process.close)
        callers = [stack.enter_context(call(process.port)) for _ in range(3)]
        assert is_closed(callers[-1])
        stack.enter_context(call(process.port, source="127.0.0.2"))
        wait_for(lambda: len(process.process._unproven) == 3)


def test_a_gateway_that_lost_its_connections_finds_room(
    process: Process, pem: bytes, connect: NewConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radsec_process, "PROVEN_OF_ONE_AT_MOST", 3)
    another = connect(process.add_gateway("proxy2"))
    ask(another)
    connections = [connect(pem) for _ in range(3)]
    for each in connections:
        ask(each)
    ask(connections[0])
    newest = connect(pem)
    ask(newest)
    assert connections[1].wait_for_end() == ""
    for each in (connections[0], connections[2], newest, another):
        ask(each)


def test_a_certificate_that_ends_ends_its_connection(process: Process, pem: bytes, connect: NewConnection) -> None:
    connection = connect(pem)
    ask(connection)
    process.installation.clock.forward(hours=2)
    assert connection.wait_for_end() == ""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(process: Process, pem: bytes, connect: NewConnection, version: ssl.TLSVersion) -> None:
    """It would show no certificate, and so come in after that was revoked."""
    first = connect(pem, version=version)
    ask(first)
    context, session = first.tls.context, first.tls.session
    first.close()
    with context.wrap_socket(call(process.port), session=session) as again:
        again.send(radius.sign(SECRET, b"", code=12))
        assert again.recv(4096)
        assert not again.session_reused


def test_an_answer_for_another_connection_goes_nowhere(process: Process, pem: bytes, connect: NewConnection) -> None:
    first, second = connect(pem), connect(process.add_gateway("proxy2"))
    ask(first)
    ask(second)
    (address, _), (_, number) = process.sources
    process.logins.send(Reply(bytes(20), (address, number)))  # one gateway's answer, another one's connection
    process.logins.send(Reply(bytes(20), (address, 1)))
    ask(second)
    ask(first)
