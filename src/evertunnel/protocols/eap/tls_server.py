"""The server's half of a TLS handshake over memory BIOs, for EAP-TLS (RFC 5216, 9190)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

from evertunnel.protocols.eap import openssl
from evertunnel.protocols.eap.access_denied import encode_plain_alert, encode_sealed_alert

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# X25519 first: it is what Windows 11 and OpenSSL clients send a share for. P-256 and P-384 must be in it, or a
# TLS 1.2 handshake with an ECDSA certificate on that curve finds no cipher.
GROUPS = "X25519:P-256:P-384"
# With what a client and its authorities may sign, and we: what keys of ours can do, and nothing with SHA-1. OpenSSL's
# whole list takes as many octets as decide about a round trip.
SIGNATURES = (
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:"
    "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
)
TLS_12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_SERVER_SECRET = b"SERVER_TRAFFIC_SECRET_0 "
TLS_12 = "TLSv1.2"
# A ServerHello with this random asks for another ClientHello (RFC 8446 4.1.3).
_RETRY_RANDOM = sha256(b"HelloRetryRequest").digest()
_SERVER_HELLO_HEAD, _SERVER_RANDOM = (0x16, 0x02), slice(11, 43)
_SESSION_ID = b"T"  # EAP-TLS; it is in every ticket, where octets count
# How long after a full handshake a client may go on with its session.
RESUMABLE_SECONDS = 3600
_VERIFIED_AT_MOST = 10_000


class TLSFailure(StrEnum):
    """Why a handshake failed."""

    CERTIFICATE_MISSING = "no client certificate was sent"
    CERTIFICATE_EXPIRED = "the client certificate is not valid now"
    CERTIFICATE_FOREIGN = "the client certificate does not come from a trusted authority"
    CERTIFICATE_USAGE = "the client certificate may not be used to authenticate a client"
    CERTIFICATE_REVOKED = "the client certificate is revoked or on hold"
    CLIENT_ALERT = "the client sent an alert"
    KEY_NOT_PROVEN = "the client did not prove that it has the certificate's key"
    PROTOCOL = "the TLS handshake failed"


class TLSError(Exception):
    """The handshake is over. `alert` is what to send the peer; `certificate_der` what it presented, if anything."""

    def __init__(self, failure: TLSFailure, detail: str, alert: bytes, certificate_der: bytes | None) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.alert = alert
        self.certificate_der = certificate_der


# Version, cipher suite and key exchange group, as OpenSSL names them.
TLSParameters = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who finished a handshake: the leaf whose key was proven, or was when the session began that is `resumed`."""

    certificate_der: bytes
    version: str
    resumed: bool = False


class TLSContext:
    """What all handshakes of one EAP method share: our certificate, whom we trust, which versions we speak."""

    def __init__(
        self,
        *,
        chain: Sequence[x509.Certificate],
        key: PrivateKey,
        trusted: Sequence[x509.Certificate],
        is_revoked: Callable[[bytes], bool],
        maximum_version: int = SSL.TLS1_3_VERSION,
        tickets: SSL.Context | None = None,
    ) -> None:
        """`chain` is our leaf and then its issuers; `trusted` end chains; `is_revoked` is asked with a leaf's DER.

        With `tickets`, a Context whose keys seal them, sessions may be resumed.
        """
        context = tickets or SSL.Context(SSL.TLS_SERVER_METHOD)
        self.tickets = tickets
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(maximum_version)
        context.set_cipher_list(TLS_12_CIPHERS)
        # A resumed handshake skips the verify callback and with it the certificate: whoever resumes must ask.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_session_id(_SESSION_ID)
        context.set_timeout(RESUMABLE_SECONDS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 17 kB less for each peer that is waited for
        openssl.use_groups(context, GROUPS)
        openssl.use_signatures(context, SIGNATURES)
        self._is_revoked = is_revoked
        self._key_log_handle = openssl.use_key_log(context, self._keep_secret)
        self._verify_handle = openssl.use_verify_callback(context, self._verify)
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        self._context = context
        self._key = key
        self._verified: set[bytes] = set()
        self.handshaking: TLSHandshake | None = None
        self.change(leaf=chain[0], trusted=trusted)

    def change(self, *, leaf: x509.Certificate, trusted: Sequence[x509.Certificate]) -> None:
        """Show a leaf of the same issuers and trust these from now on, also to whom has begun; tickets stay good.

        For the thread whose handshakes these are.
        """
        self._context.use_certificate(leaf)
        self._context.use_privatekey(self._key)
        # The names of whom we trust are not sent, so that our first flight fits into one packet. Profiles say which
        # certificate to choose (docs/decisions/0017, also on what is only read about Windows).
        self._store = openssl.use_anchors(self._context, trusted)
        self._verified.clear()

    def new_handshake(self, *, resumes: bool = True) -> "TLSHandshake":
        """Begin with a new peer. Costs memory; wait for its ClientHello first. Raises MemoryError."""
        return TLSHandshake(self, openssl.ServerConnection(self._context, resumes=resumes and self.tickets is not None))

    def trusts(self, certificate_der: bytes) -> bool:
        """Whether a leaf leads to an authority that is trusted now; its end is looked at the first time only."""
        fingerprint = sha256(certificate_der).digest()
        if fingerprint in self._verified:
            return True
        try:
            leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, certificate_der)
            crypto.X509StoreContext(self._store, leaf).verify_certificate()
        except (crypto.X509StoreContextError, crypto.Error):
            return False
        if len(self._verified) >= _VERIFIED_AT_MOST:
            self._verified.clear()
        self._verified.add(fingerprint)
        return True

    def _keep_secret(self, line: bytes) -> None:
        """NSS key log lines; one of them is needed to tell a refused TLS 1.3 peer why. Nothing is written anywhere."""
        if line.startswith(_SERVER_SECRET) and self.handshaking is not None:
            self.handshaking.server_secret = bytes.fromhex(line.rpartition(b" ")[2].decode("ascii"))

    def _verify(self, error: int, depth: int, encode_leaf: Callable[[], bytes]) -> int:
        handshake = self.handshaking
        assert handshake is not None
        if handshake.presented_der is None:  # it is asked about each link, and the leaf is the same
            handshake.presented_der = encode_leaf()
        if depth == 0 and error == openssl.ERROR_OK and self._is_revoked(handshake.presented_der):
            error = openssl.ERROR_REVOKED
        if error != openssl.ERROR_OK:
            handshake.verify_error = error
        return error


class TLSHandshake:
    """One peer's handshake. Not safe between threads: the verify callback belongs to one handshake at a time."""

    __slots__ = ("_connection", "_context", "parameters", "peer", "presented_der", "server_secret", "verify_error")

    def __init__(self, context: TLSContext, connection: openssl.ServerConnection) -> None:
        self._context = context
        self._connection = connection
        self.presented_der: bytes | None = None
        self.verify_error = openssl.ERROR_OK
        self.peer: Peer | None = None
        self.server_secret: bytes | None = None
        self.parameters: TLSParameters | None = None  # once complete; of one that failed what OpenSSL still knows

    def receive(self, data: bytes) -> bytes:
        """Feed what the peer sent, get what to send. When the handshake is complete, `peer` is set.

        Raises TLSError when it failed, MemoryError when that was not the peer's doing.
        """
        self._context.handshaking = self
        try:
            complete = self._connection.handshake(data)
        except openssl.OpenSSLError as error:
            self.parameters = self._find_parameters()
            raise self._failed(str(error)) from error
        finally:
            self._context.handshaking = None
        if self.presented_der is None and self.is_resumed:
            self.presented_der = self._connection.encode_peer_certificate() or None
        if complete:
            # OpenSSL has checked the signature made with the leaf's key by now, or that the peer has the session's.
            self.presented_der = self._connection.encode_peer_certificate() or None
            if self.presented_der is None:
                raise TLSError(TLSFailure.CERTIFICATE_MISSING, TLSFailure.CERTIFICATE_MISSING.value, b"", None)
            self.parameters = self._find_parameters()
            version = self.parameters[0] if self.parameters else ""
            self.peer = Peer(self.presented_der, version, self.is_resumed)
        return self._connection.take()

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on with a session of before, whose certificate is `presented_der`."""
        return self._context.tickets is not None and self._connection.is_resumed

    def encrypt(self, data: bytes) -> bytes:
        """Application data for the peer, as TLS records."""
        self._connection.encrypt(data)
        return self._connection.take()

    def encode_access_denied(self) -> bytes:
        """A fatal alert for a peer that was proven and refused. What `receive` returned must not be sent then.

        Empty where there is none to send: in TLS 1.2 a resumed session is under our keys before the peer's last word.
        """
        assert self.peer is not None
        if self.peer.version == TLS_12:
            return b"" if self.peer.resumed else encode_plain_alert()
        cipher = self._connection.find_cipher()
        if self.server_secret is None or cipher is None:
            return b""
        return encode_sealed_alert(cipher, self.server_secret)

    def export_key(self, label: bytes, length: int, context: bytes | None) -> bytes:
        """Keying material of the finished handshake (RFC 5705, RFC 8446 7.5)."""
        return self._connection.export_key(label, length, context)

    def _find_parameters(self) -> TLSParameters | None:
        cipher = self._connection.find_cipher()
        if cipher is None:
            return None
        return self._connection.find_version(), cipher, self._connection.find_group() or ""

    def _failed(self, detail: str) -> TLSError:
        code = self.verify_error
        if code in openssl.ERRORS_EXPIRED:
            failure = TLSFailure.CERTIFICATE_EXPIRED
        elif code in openssl.ERRORS_FOREIGN:
            failure = TLSFailure.CERTIFICATE_FOREIGN
        elif code == openssl.ERROR_REVOKED:
            failure = TLSFailure.CERTIFICATE_REVOKED
        elif code in openssl.ERRORS_USAGE:
            failure = TLSFailure.CERTIFICATE_USAGE
        elif "peer did not return a certificate" in detail:
            failure = TLSFailure.CERTIFICATE_MISSING
        elif " alert " in f" {detail} ":
            failure = TLSFailure.CLIENT_ALERT
        elif "bad signature" in detail:
            failure = TLSFailure.KEY_NOT_PROVEN
        else:
            failure = TLSFailure.PROTOCOL
        return TLSError(failure, detail, self._connection.take(), self.presented_der)


def is_hello_retry(flight: bytes) -> bool:
    """Whether we ask the peer to begin again, with a key share of another group."""
    return flight[0:6:5] == bytes(_SERVER_HELLO_HEAD) and flight[_SERVER_RANDOM] == _RETRY_RANDOM
