"""TLS of RadSec over memory BIOs: 1.3 and 1.2, a client certificate demanded and looked up while it is verified.

A refused client is told why by an alert: its certificate is judged inside the handshake, not after it.
"""

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from evertunnel.protocols.eap import openssl

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_GROUPS = "X25519:P-256:P-384"
_SIGNATURES = (
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:"
    "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
)
_TLS_12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_PIECE_BYTES = 16 * 1024


class TLSClosedError(Exception):
    """The connection is over: the peer ended it, or TLS failed. The text says which."""


class RadSecContext:
    """What all connections share. `judge` is asked with a leaf that verified: empty when it may connect, or why not."""

    def __init__(
        self,
        *,
        chain: Sequence[x509.Certificate],
        key: PrivateKey,
        trusted: Sequence[x509.Certificate],
        judge: Callable[[bytes], str],
    ) -> None:
        """`trusted` are authorities, and single certificates that are trusted by themselves."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(_TLS_12_CIPHERS)
        # A resumed session would skip the certificate.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        openssl.use_groups(context, _GROUPS)
        openssl.use_signatures(context, _SIGNATURES)
        openssl.use_anchors(context, trusted)
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)
        self._judge = judge
        self._verify_handle = openssl.use_verify_callback(context, self._verify)
        self._context = context
        self._verifying: RadSecTLS | None = None

    def new_connection(self) -> "RadSecTLS":
        """Begin with a peer; wait for its first octets before. Raises MemoryError."""
        try:
            return RadSecTLS(self, SSL.Connection(self._context, None))
        except SSL.Error as error:
            raise MemoryError from error

    def use(self, connection: "RadSecTLS | None") -> None:
        """Whose handshake goes on now: one thread serves all."""
        self._verifying = connection

    def _verify(self, error: int, depth: int, encode_leaf: Callable[[], bytes]) -> int:
        connection = self._verifying
        assert connection is not None
        if error == openssl.ERROR_OK and depth == 0:
            connection.certificate_der = encode_leaf()
            connection.refusal = self._judge(connection.certificate_der)
            if connection.refusal:
                error = openssl.ERROR_REVOKED
        return error


class RadSecTLS:
    """One connection: octets of the network in, octets of RADIUS out, and the reverse."""

    def __init__(self, context: RadSecContext, connection: SSL.Connection) -> None:
        connection.set_accept_state()
        self._context = context
        self._connection = connection
        self.certificate_der: bytes | None = None
        self.refusal = ""
        self.is_open = False

    @property
    def version(self) -> str:
        """TLSv1.3 or TLSv1.2."""
        return self._connection.get_protocol_version_name()

    def receive(self, data: bytes) -> bytes:
        """Take octets of the network; returns those of the application, if any. Raises TLSClosedError.

        Whatever happens, `take_outgoing` has what to send.
        """
        self._connection.bio_write(data)
        self._context.use(self)
        received = bytearray()
        try:
            if not self.is_open:
                self._connection.do_handshake()
                # Nobody is let in whose certificate was not judged, whatever OpenSSL thinks of it.
                if self.certificate_der is None or self.refusal:
                    raise TLSClosedError(self.refusal or "no client certificate was sent")
                self.is_open = True
            while True:
                received += self._connection.recv(_PIECE_BYTES)
        except SSL.WantReadError:
            return bytes(received)
        except SSL.ZeroReturnError:
            raise TLSClosedError("the peer ended the connection") from None
        except SSL.Error as error:
            raise TLSClosedError(self.refusal or _explain(error)) from error
        finally:
            self._context.use(None)

    def send(self, data: bytes) -> None:
        """Encrypt octets of the application. Raises TLSClosedError."""
        try:
            self._connection.sendall(data)
        except SSL.Error as error:
            raise TLSClosedError(_explain(error)) from error

    def end(self) -> None:
        """Say that nothing more comes."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return

    def take_outgoing(self) -> bytes:
        """What is to be sent over the network."""
        pending = bytearray()
        try:
            while True:
                pending += self._connection.bio_read(_PIECE_BYTES)
        except SSL.WantReadError:
            return bytes(pending)
        except SSL.Error:  # nothing was ever written
            return bytes(pending)


def _explain(error: SSL.Error) -> str:
    reasons = [entry[-1] for entry in (error.args[0] if error.args else ()) if isinstance(entry, tuple)]
    return "TLS: " + ("; ".join(str(reason) for reason in reasons) or type(error).__name__)
