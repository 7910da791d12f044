"""The outer half of PEAP: a TLS tunnel whose client shows no certificate. Who it is, is said inside.

It has a Context and a session-id context of its own and keeps no session: one of this tunnel proves nobody, so none may
be resumed, and least of all where a certificate is demanded. What OpenSSL sends as tickets in TLS 1.3 names nothing.
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
    TLSParameters,
)


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
        return Tunnel(openssl.ServerConnection(self._context, resumes=False))


class Tunnel:
    """One peer's tunnel. `version` is set when the handshake is complete."""

    __slots__ = ("_connection", "version")

    def __init__(self, connection: openssl.ServerConnection) -> None:
        self._connection = connection
        self.version = ""

    def receive(self, data: bytes) -> bytes:
        """Feed what the peer sent of its handshake, get what to send. Raises TLSError, MemoryError."""
        try:
            if self._connection.handshake(data):
                self.version = self._connection.find_version()
        except openssl.OpenSSLError as error:
            raise self._failed(error) from error
        return self._connection.take()

    def find_parameters(self) -> TLSParameters:
        """What the handshake agreed on, once it is complete."""
        return self.version, self._connection.find_cipher() or "", self._connection.find_group() or ""

    def encrypt(self, data: bytes) -> bytes:
        """Octets for the peer, as TLS records."""
        self._connection.encrypt(data)
        return self._connection.take()

    def decrypt(self, data: bytes) -> bytes:
        """What the peer said in these records; empty when it said nothing. Raises TLSError, MemoryError."""
        try:
            return self._connection.decrypt(data)
        except openssl.OpenSSLError as error:  # its alert, or one of ours over a record that was forged
            raise self._failed(error) from error

    def derive_key(self, eap_type: int) -> bytes:
        """64 octets of keying material of the tunnel (RFC 5216 2.3, RFC 9427 2.1)."""
        if self.version == TLS_12:
            return self._connection.export_key(b"client EAP encryption", 64, None)
        return self._connection.export_key(b"EXPORTER_EAP_TLS_Key_Material", 128, bytes((eap_type,)))[:64]

    def _failed(self, error: openssl.OpenSSLError) -> TLSError:
        detail = str(error)
        failure = TLSFailure.CLIENT_ALERT if " alert " in f" {detail} " else TLSFailure.PROTOCOL
        return TLSError(failure, detail, self._connection.take(), None)
