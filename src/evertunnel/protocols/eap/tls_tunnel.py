"""The outer half of PEAP: a TLS tunnel whose client shows no certificate. Who it is, is said inside.

It has a Context and a session-id context of its own and hands out no tickets: a session of this tunnel proves nobody,
so none may be resumed, and least of all where a certificate is demanded.
"""

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL

from evertunnel.protocols.eap import openssl
from evertunnel.protocols.eap.tls_server import (
    GROUPS,
    SIGNATURES,
    TLS_12,
    TLS_12_CIPHERS,
    PrivateKey,
    TLSError,
    TLSFailure,
)

_READ_BYTES = 16 * 1024


class TunnelContext:
    """What all tunnels share: our certificate and which versions we speak."""

    def __init__(
        self, *, chain: Sequence[x509.Certificate], key: PrivateKey, maximum_version: int = SSL.TLS1_3_VERSION
    ) -> None:
        """`chain` is our leaf and then its issuers."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(maximum_version)
        context.set_cipher_list(TLS_12_CIPHERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"evertunnel peap")
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        openssl.use_groups(context, GROUPS)
        openssl.use_signatures(context, SIGNATURES)
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)
        self._context = context

    def new_tunnel(self) -> "Tunnel":
        """Begin with a new peer; wait for its ClientHello first. Raises MemoryError."""
        try:
            return Tunnel(SSL.Connection(self._context, None))
        except SSL.Error as error:
            raise MemoryError from error


class Tunnel:
    """One peer's tunnel. `version` is set when the handshake is complete."""

    def __init__(self, connection: SSL.Connection) -> None:
        connection.set_accept_state()
        self._connection = connection
        self.version = ""

    def receive(self, data: bytes) -> bytes:
        """Feed what the peer sent of its handshake, get what to send. Raises TLSError, MemoryError."""
        self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return self._pending()
        except SSL.Error as error:
            raise self._failed(error) from error
        self.version = self._connection.get_protocol_version_name()
        return self._pending()

    def encrypt(self, data: bytes) -> bytes:
        """Octets for the peer, as TLS records."""
        self._connection.sendall(data)
        return self._pending()

    def decrypt(self, data: bytes) -> bytes:
        """What the peer said in these records; empty when it said nothing. Raises TLSError, MemoryError."""
        self._connection.bio_write(data)
        plain = b""
        try:
            while True:
                plain += self._connection.recv(_READ_BYTES)
        except SSL.WantReadError:
            return plain
        except SSL.Error as error:  # its alert, or one of ours over a record that was forged
            raise self._failed(error) from error

    def derive_key(self, eap_type: int) -> bytes:
        """64 octets of keying material of the tunnel (RFC 5216 2.3, RFC 9427 2.1)."""
        if self.version == TLS_12:
            return self._connection.export_keying_material(b"client EAP encryption", 64, None)
        material = self._connection.export_keying_material(b"EXPORTER_EAP_TLS_Key_Material", 128, bytes((eap_type,)))
        return material[:64]

    def _pending(self) -> bytes:
        pending = b""
        try:
            while True:
                pending += self._connection.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            return pending

    def _failed(self, error: SSL.Error) -> TLSError:
        reasons = [entry[-1] for entry in (error.args[0] if error.args else ()) if isinstance(entry, tuple)]
        detail = "; ".join(str(reason) for reason in reasons) or "the client closed the tunnel"
        if "malloc failure" in detail:
            raise MemoryError(detail)
        failure = TLSFailure.CLIENT_ALERT if " alert " in f" {detail} " else TLSFailure.PROTOCOL
        return TLSError(failure, detail, self._pending(), None)
