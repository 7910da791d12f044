"""A client's side of EAP-TLS on the standard library's ssl, which knows nothing of the server's code."""

import ssl
import struct
import tempfile
from pathlib import Path

from cryptography import x509

RESPONSE, IDENTITY, NAK, TLS = 2, 1, 3, 13
LENGTH, MORE, START = 0x80, 0x40, 0x20
TLS_12, TLS_13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def build_response(identifier: int, eap_type: int, data: bytes = b"") -> bytes:
    """An EAP-Response."""
    return struct.pack("!BBHB", RESPONSE, identifier, 5 + len(data), eap_type) + data


def build_context(
    root_pem: bytes, pem: bytes | None, *, version: ssl.TLSVersion, keylog: Path | None
) -> ssl.SSLContext:
    """A context as a careful client has it. `pem` is key, certificate and chain."""
    context = ssl.create_default_context(cadata=root_pem.decode())
    context.minimum_version = context.maximum_version = version
    if keylog is not None:
        context.keylog_filename = str(keylog)
    if pem is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context


class NotAcknowledgedError(AssertionError):
    """The server said something where only the acknowledgement of a fragment may stand."""


class Client:
    """One login. Feed it EAP-Requests; `alert` is what the server's TLS said, empty if nothing."""

    def __init__(
        self,
        *,
        root_pem: bytes,
        pem: bytes | None,
        identity: str = "alice@corp.example",
        version: ssl.TLSVersion = TLS_13,
        fragment_bytes: int = 1_000,
        server_name: str = "vpn.example.test",
        keylog: Path | None = None,
        resume: ssl.SSLSession | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.identity = identity
        self.context = context or build_context(root_pem, pem, version=version, keylog=keylog)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self._in, self._out, server_hostname=server_name, session=resume)
        self._fragment_bytes = fragment_bytes
        self._incoming = b""
        self._outgoing: list[bytes] = []
        self.handshake_done = False
        self.committed = False  # the server's 0x00 came (RFC 9190 2.1.1)
        self.alert = ""
        self.first_flight = b""
        self.hello = b""  # what we began with: a record with our ClientHello

    @property
    def done(self) -> bool:
        """Whether the next answer is the empty one that asks for the success."""
        return self.committed or (self.handshake_done and self.tls.version() == "TLSv1.2")

    def server_certificate(self) -> x509.Certificate:
        """What the server showed and proved."""
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der)

    def answer_identity(self, identifier: int = 0) -> bytes:
        """The EAP-Response/Identity."""
        return build_response(identifier, IDENTITY, self.identity.encode())

    def answer(self, request: bytes) -> bytes:
        """The EAP-Response to an EAP-Request."""
        code, identifier, length = struct.unpack_from("!BBH", request)
        assert (code, length) == (1, len(request)), f"not an EAP-Request: {request.hex()}"
        if request[4] == IDENTITY:
            return self.answer_identity(identifier)
        assert request[4] == TLS, f"EAP type {request[4]}"
        return build_response(identifier, TLS, self._answer_tls(request[5], request[6:]))

    def _answer_tls(self, flags: int, body: bytes) -> bytes:
        if self._outgoing:
            if (flags, body) != (0, b""):
                raise NotAcknowledgedError("our fragment was not acknowledged")
            return self._outgoing.pop(0)
        if flags & LENGTH:
            body = body[4:]
        self._incoming += body
        if flags & MORE:
            return b"\0"
        message, self._incoming = self._incoming, b""
        self.first_flight = self.first_flight or message
        self._in.write(message)
        self._advance()
        said = self._out.read()
        self.hello = self.hello or said
        self._outgoing = cut(said, self._fragment_bytes)
        return self._outgoing.pop(0)

    def _advance(self) -> None:
        try:
            if not self.handshake_done:
                self.tls.do_handshake()
                self.handshake_done = True
            if self.tls.read(16) == b"\0":
                self.committed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.alert = error.reason or str(error)


def cut(message: bytes, size: int) -> list[bytes]:
    """A message as EAP-TLS data, the first fragment with its length; an empty one is an empty answer."""
    if len(message) <= size:
        return [b"\0" + message]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    first = struct.pack("!BI", LENGTH | MORE, len(message)) + pieces[0]
    return [first, *(bytes((MORE,)) + piece for piece in pieces[1:-1]), b"\0" + pieces[-1]]
