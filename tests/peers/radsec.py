"""A client of RADIUS over TLS: the ssl module's TLS, packets as they are, and Debian's radsecproxy."""

import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECRET = b"radsec"
WITHIN_SECONDS = 20.0


class Closed(Exception):  # noqa: N818  what it is, not always a fault
    """The server ended the connection; the text is TLS's word for why, or empty."""


class RadSec:
    """A connection that may be used wrongly."""

    def __init__(
        self,
        port: int,
        pem: bytes | None,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        source: str = "127.0.0.1",
        receive_bytes: int | None = None,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        if pem is not None:
            with tempfile.NamedTemporaryFile() as file:
                file.write(pem)
                file.flush()
                context.load_cert_chain(file.name)
        raw = socket.socket()
        if receive_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        raw.settimeout(WITHIN_SECONDS)
        raw.bind((source, 0))
        raw.connect(("127.0.0.1", port))
        try:
            self.tls = context.wrap_socket(raw)
        except (ssl.SSLError, OSError) as error:
            raw.close()
            raise Closed(_explain(error)) from error
        self._octets = b""

    def send(self, data: bytes) -> None:
        """Octets, as they are, in one record."""
        try:
            self.tls.sendall(data)
        except OSError as error:
            raise Closed(_explain(error)) from error

    def receive(self) -> bytes:
        """The next packet. Raises Closed."""
        while len(self._octets) < 4 or len(self._octets) < int.from_bytes(self._octets[2:4], "big"):
            try:
                data = self.tls.recv(16_384)
            except (ssl.SSLError, OSError) as error:
                raise Closed(_explain(error)) from error
            if not data:
                raise Closed
            self._octets += data
        length = int.from_bytes(self._octets[2:4], "big")
        packet, self._octets = self._octets[:length], self._octets[length:]
        return packet

    def carry(self, data: bytes) -> bytes | None:
        """A packet and its answer."""
        self.send(data)
        return self.receive()

    def wait_for_end(self) -> str:
        """Read until the server ends it; returns TLS's word for why."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return str(closed)

    def close(self) -> None:
        self.tls.close()


def _explain(error: Exception) -> str:
    assert not isinstance(error, TimeoutError), "the server neither answered nor ended the connection"
    return (getattr(error, "reason", None) or "").lower().replace("_", " ")


@contextmanager
def run_proxy(
    folder: Path, *, listen: int, accounting: int, server: int, secret: str, credential: Path, root: Path, version: str
) -> Iterator[None]:
    """radsecproxy: UDP from gateways on one side, TLS to us on the other."""
    folder.mkdir(exist_ok=True)
    configuration = folder / "radsecproxy.conf"
    configuration.write_text(
        f"""\
ListenUDP 127.0.0.1:{listen}
ListenUDP 127.0.0.1:{accounting}
LogLevel 2
LogDestination file://{folder}/radsecproxy.log
tls ours {{
  CACertificateFile {root}
  CertificateFile {credential}/certificate.pem
  CertificateKeyFile {credential}/key.pem
  TlsVersion {version}
}}
client 127.0.0.1 {{
  type udp
  secret {secret}
}}
server us {{
  type tls
  tls ours
  host 127.0.0.1
  port {server}
  secret radsec
  CertificateNameCheck off
  StatusServer on
}}
realm * {{
  server us
  accountingServer us
}}
""",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        ["/usr/sbin/radsecproxy", "-f", "-c", configuration], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + WITHIN_SECONDS
        while not _listens(listen):
            assert process.poll() is None, (folder / "radsecproxy.log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "radsecproxy does not listen"
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
