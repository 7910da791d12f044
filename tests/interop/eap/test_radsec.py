"""RADIUS over TLS to a real server: by the ssl module, and by eapol_test and radclient through radsecproxy."""

import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from evertunnel.model import Authority
from tests.interop.eap.conftest import BOB, Live
from tests.interop.eap.eapol import TLS_12, TLS_13, Supplicant
from tests.interop.server import wait_for
from tests.peers import accounting, radius
from tests.peers.certificates import build_authority, build_leaf
from tests.peers.eap_tls import IDENTITY, Client, build_response
from tests.peers.gateway import Gateway
from tests.peers.radsec import SECRET, Closed, RadSec, run_proxy
from tests.ports import find_port

PROXY = "proxy1"
EAP = build_response(0, IDENTITY, BOB.encode())
VERSIONS = {"TLS1_2": ssl.TLSVersion.TLSv1_2, "TLS1_3": ssl.TLSVersion.TLSv1_3}

NewConnection = Callable[..., RadSec]


@pytest.fixture(scope="module")
def credential(live: Live) -> Path:
    """A gateway that asks over RadSec alone, and the folder with its certificate."""
    live.run("gateway", "add", PROXY, "--address", "radsec")
    folder = live.files / PROXY
    live.run("gateway", "radsec", "issue", PROXY, "--out", str(folder))
    return folder


def read_pem(folder: Path) -> bytes:
    return b"".join((folder / name).read_bytes() for name in ("key.pem", "certificate.pem", "chain.pem"))


@pytest.fixture
def connect(live: Live, credential: Path) -> Iterator[NewConnection]:
    with ExitStack() as stack:

        def make(pem: bytes | None = None, *, anonymous: bool = False, **options: object) -> RadSec:
            shown = None if anonymous else pem or read_pem(credential)
            made = RadSec(live.ports["radsec"], shown, **options)  # type: ignore[arg-type]
            stack.enter_context(closing(made))
            return made

        yield make


def ask(identifier: int | None = None) -> bytes:
    return radius.build_request(SECRET, radius.split_eap(EAP), identifier=identifier)


def build_status(identifier: int = 1) -> bytes:
    return radius.sign(SECRET, b"", code=12, identifier=identifier, authenticator=bytes(range(16)))


def assert_serves(connection: RadSec) -> None:
    request = ask()
    answer = connection.carry(request)
    assert answer is not None
    assert radius.read_reply(SECRET, request, answer).code == radius.CHALLENGE


def new_client(live: Live) -> Client:
    return Client(
        root_pem=live.root_file.read_bytes(), pem=live.issue("--user", BOB).pem, identity=BOB, server_name="localhost"
    )


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_a_login_and_its_accounting_over_one_connection(
    live: Live, connect: NewConnection, version: ssl.TLSVersion
) -> None:
    connection = connect(version=version)
    accept = Gateway(SECRET, connection.carry).log_in(new_client(live))
    assert accept.code == radius.ACCEPT
    class_ = str(accept.packet[radius.CLASS][0].decode())
    (attempt,) = live.list_attempts(1)
    assert (attempt["outcome"], attempt["gateway"]) == ("granted", PROXY)
    for status in (accounting.START, accounting.STOP):
        request = accounting.build(SECRET, status, f"radsec {version}", class_=class_)
        answer = connection.carry(request)
        assert answer is not None
        accounting.read_answer(SECRET, request, answer)
    rows = json.loads(live.run("session", "list", "--past", "--json"))
    assert next(row["state"] for row in rows if row["id"] == class_) == "ended"


def test_several_packets_a_record_and_a_packet_over_several_records(connect: NewConnection) -> None:
    connection = connect()
    requests = {number: ask(number) for number in range(40)}
    connection.send(b"".join(requests.values()))
    answers = [connection.receive() for _ in requests]
    assert {answer[1] for answer in answers} == set(requests)
    for answer in answers:
        radius.read_reply(SECRET, requests[answer[1]], answer)
    request = ask(200)
    for at in range(len(request)):
        connection.send(request[at : at + 1])
    assert radius.read_reply(SECRET, request, connection.receive()).code == radius.CHALLENGE


def test_status_server_is_the_watchdog(connect: NewConnection) -> None:
    connection = connect()
    request = build_status()
    answer = connection.carry(request)
    assert answer is not None
    assert radius.read_reply(SECRET, request, answer).code == radius.ACCEPT


def test_the_certificate_decides_and_not_the_address(live: Live, connect: NewConnection) -> None:
    """127.0.0.1 is gw1's over UDP, and 127.0.0.9 nobody's."""
    for source in ("127.0.0.1", "127.0.0.9"):
        accept = Gateway(SECRET, connect(source=source).carry).log_in(new_client(live))
        assert accept.code == radius.ACCEPT
        assert live.list_attempts(1)[0]["gateway"] == PROXY


def test_a_conversation_continues_on_another_connection_of_its_gateway(live: Live, connect: NewConnection) -> None:
    connections = [connect() for _ in range(3)]
    turn = iter(range(100))
    gateway = Gateway(SECRET, lambda data: connections[next(turn) % 3].carry(data))
    assert gateway.log_in(new_client(live)).code == radius.ACCEPT


def test_dropped_and_the_connection_stays(connect: NewConnection) -> None:
    """An unknown code, and a request that nobody signed (RFC 6613 2.6.4; ours: CVE-2024-3596)."""
    connection = connect()
    unsigned = radius.encode_attributes([(radius.EAP_MESSAGE, EAP)])
    connection.send(b"\x63\x01\x00\x14" + bytes(16))
    connection.send(b"\x01\x07" + (20 + len(unsigned)).to_bytes(2, "big") + bytes(16) + unsigned)
    connection.send(radius.sign(SECRET, radius.encode_attributes([(radius.STATE, bytes(16))])))
    assert_serves(connection)


def forge(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


BAD = {
    "a length below twenty": b"\x01\x01\x00\x13" + bytes(16),
    "a length above 4096": b"\x01\x01\x10\x01" + bytes(16),
    "the longest length": b"\x01\x01\xff\xff" + bytes(16),
    "garbage": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "an attribute of no length": radius.sign(SECRET, b"\x01\x00"),
    "an attribute over the end": radius.sign(SECRET, b"\x01\xff"),
    "a forged request": forge(ask()),
    "a forged status": forge(build_status()),
    "forged accounting": forge(accounting.build(SECRET, accounting.START, "x")),
    "another secret": radius.build_request(b"guessed", radius.split_eap(EAP)),
    "two signatures": radius.sign(SECRET, radius.encode_attributes([(radius.MESSAGE_AUTHENTICATOR, bytes(16))])),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_makes_the_stream_doubtful_ends_the_connection_and_no_other(connect: NewConnection, data: bytes) -> None:
    bad, good = connect(), connect()
    bad.send(data)
    assert bad.wait_for_end() == ""
    assert_serves(good)


def refuse(connect: NewConnection, pem: bytes | None, version: ssl.TLSVersion) -> str:
    """TLS's word for why: in 1.3 the client hears it only when it reads."""
    try:
        return connect(pem, anonymous=pem is None, version=version).wait_for_end()
    except Closed as closed:
        return str(closed)


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_who_may_not_connect_is_told_by_an_alert(live: Live, connect: NewConnection, version: ssl.TLSVersion) -> None:
    issuing, foreign = live.load_authority(Authority.ISSUING), build_authority("Foreign")
    live.run("gateway", "radsec", "issue", PROXY, "--out", str(live.files / f"revoked {version}"))
    (revoked_row,) = [row for row in json.loads(live.run("certificate", "list", "--json")) if row["kind"] == "radsec"
                      and row["status"] == "valid"][:1]  # fmt: skip
    live.run("certificate", "revoke", revoked_row["id"])
    refused = {
        "nobody": (None, "alert"),
        "foreign": (build_leaf(foreign, PROXY).pem, "unknown ca"),
        "of the same name": (build_leaf(issuing, PROXY).pem, "revoked"),
        "expired": (build_leaf(issuing, PROXY, ends=-timedelta(minutes=1)).pem, "expired"),
        "a user's": (live.issue("--user", BOB).pem, "revoked"),
        "revoked": (read_pem(live.files / f"revoked {version}"), "revoked"),
    }
    for who, (pem, word) in refused.items():
        assert word in refuse(connect, pem, version), who
    assert_serves(connect(version=version))


def test_taking_away_ends_connections_that_are_up(live: Live, connect: NewConnection) -> None:
    """Revoked, disabled, RadSec ended, removed: each within moments, and it is not let in again."""
    live.run("gateway", "add", "proxy2", "--address", "198.51.100.0/24")
    folder = live.files / "proxy2"
    issued = live.run("gateway", "radsec", "issue", "proxy2", "--out", str(folder))
    certificate_id = issued.split("RadSec certificate ")[1].split()[0]
    pinned = build_leaf(build_authority("Somebody else's"), "proxy.example.org")
    (live.files / "pinned.pem").write_bytes(pinned.pem.partition(b"-----END PRIVATE KEY-----\n")[2])
    live.run("gateway", "radsec", "trust", "proxy2", str(live.files / "pinned.pem"))

    def take(pem: bytes, *command: str) -> None:
        connection = connect(pem)
        assert_serves(connection)
        live.run(*command)
        connection.wait_for_end()
        assert refuse(connect, pem, ssl.TLSVersion.TLSv1_3)

    take(read_pem(folder), "certificate", "revoke", certificate_id)
    take(pinned.pem, "gateway", "change", "proxy2", "--disable")
    live.run("gateway", "change", "proxy2", "--enable")
    wait_for(lambda: not refuse_or_none(connect, pinned.pem))
    take(pinned.pem, "gateway", "radsec", "end", "proxy2")
    live.run("gateway", "radsec", "trust", "proxy2", str(live.files / "pinned.pem"))
    wait_for(lambda: not refuse_or_none(connect, pinned.pem))
    take(pinned.pem, "gateway", "remove", "proxy2")


def refuse_or_none(connect: NewConnection, pem: bytes) -> str:
    connection = connect(pem)
    try:
        assert_serves(connection)
    except Closed as closed:
        return str(closed) or "ended"
    return ""


def test_callers_who_say_nothing_and_one_who_reads_nothing_stop_nobody(live: Live, connect: NewConnection) -> None:
    """Half-open, half a ClientHello, a whole one; and a gateway that asks for thousands of answers and takes none."""
    with ExitStack() as stack:
        for number in range(60):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", live.ports["radsec"])))
            half.sendall((b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01")[number % 3])
        stuck = connect(source="127.0.0.7", receive_bytes=4_096)
        stuck.tls.setblocking(False)
        flood = build_status()
        deadline = time.monotonic() + 2
        try:
            while time.monotonic() < deadline:
                stuck.tls.send(flood * 100)
        except (ssl.SSLWantWriteError, OSError):
            pass
        # Calls of one address are bounded while they prove nothing; the gateway itself comes from another.
        assert_serves(connect(source="127.0.0.7"))


@pytest.mark.parametrize("version", VERSIONS)
def test_eapol_test_through_radsecproxy(live: Live, credential: Path, tmp_path: Path, version: str) -> None:
    listen, counting = find_port(), find_port()
    with run_proxy(
        tmp_path / "proxy", listen=listen, accounting=counting, server=live.ports["radsec"], secret="between-them",
        credential=credential, root=credential / "root.pem", version=version,
    ):  # fmt: skip
        supplicant = Supplicant(port=listen, secret=b"between-them", root_file=live.root_file, folder=tmp_path)
        for inner in (TLS_12, TLS_13):
            outcome = supplicant.log_in(live.issue("--user", BOB).pem, BOB, version=inner)
            assert outcome.succeeded, outcome.output[-3_000:]
            assert (outcome.keys_that_match, outcome.keys_that_differ) == (1, 0)
            assert live.list_attempts(1)[0]["gateway"] == PROXY
        refused = supplicant.log_in(live.issue("--user", "carol@corp.example").pem, "carol@corp.example")
        assert not refused.succeeded
        file, secret = tmp_path / "request", tmp_path / "secret"
        file.write_text('Acct-Status-Type = Start\nAcct-Session-Id = "through a proxy"\nUser-Name = "x"\n')
        secret.write_text("between-them")
        done = subprocess.run(
            ["radclient", "-x", "-f", file, "-S", secret, f"127.0.0.1:{counting}", "acct"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert "Accounting-Response" in done.stdout, done.stdout + done.stderr


def test_radsecproxy_understands_what_the_documentation_gives_it(credential: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs/radsec.md").read_text(encoding="utf-8")
    given = re.search(r"```\n(ListenUDP [*]:1812\nListenUDP [*]:1813\n.*?)```", text, re.DOTALL)
    assert given is not None
    configuration = tmp_path / "radsecproxy.conf"
    configuration.write_text(
        given[1].replace("/etc/radsecproxy", str(credential)).replace("vpn.example.com", "127.0.0.1")
    )
    command = ["/usr/sbin/radsecproxy", "-p", "-f", "-c", configuration]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
