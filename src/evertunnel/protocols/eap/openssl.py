"""The few calls that pyOpenSSL does not offer, through its private binding. Nothing else touches that binding.

Why each is needed (docs/decisions/0004): a Python verify callback can only send the alert `internal_error`; the
default group list offers a post-quantum share whose size costs EAP round trips; the default list of signatures has
SHA-1 in it; a directly trusted issuing authority saves one signature check per login; and pyOpenSSL's `Connection`
costs a tenth of a handshake in objects that nobody needs here.
"""

from collections.abc import Callable, Iterable
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

ERROR_OK = 0
ERROR_REVOKED: int = _lib.X509_V_ERR_CERT_REVOKED

# X509_V_ERR_* of <openssl/x509_vfy.h>, the ones a login can meet.
ERRORS_EXPIRED: frozenset[int] = frozenset({_lib.X509_V_ERR_CERT_NOT_YET_VALID, _lib.X509_V_ERR_CERT_HAS_EXPIRED})
# No way to an authority we trust, or one of that name that did not sign it.
ERRORS_FOREIGN: frozenset[int] = frozenset(
    {
        _lib.X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
        _lib.X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _lib.X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _lib.X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        _lib.X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
        _lib.X509_V_ERR_CERT_UNTRUSTED,
        _lib.X509_V_ERR_CERT_SIGNATURE_FAILURE,
    }
)
ERRORS_USAGE: frozenset[int] = frozenset(
    {_lib.X509_V_ERR_INVALID_CA, _lib.X509_V_ERR_INVALID_PURPOSE, _lib.X509_V_ERR_CERT_REJECTED}
)

_READ_BYTES = 4096  # holds most of what is sent at once
_NO_MEMORY = "malloc failure"  # ERR_R_MALLOC_FAILURE

VerifyCallback = Callable[[int, int, Callable[[], bytes]], int]


class OpenSSLError(Exception):
    """A handshake failed. The text is OpenSSL's reasons."""


class ServerConnection:
    """The server's side of one TLS connection over memory: bytes in, bytes out. Not safe between threads."""

    __slots__ = ("_incoming", "_outgoing", "_ssl")

    def __init__(self, context: SSL.Context, *, resumes: bool) -> None:
        """Whether it `resumes` a session whose ticket the peer shows. Raises MemoryError, which is not its doing."""
        ssl = _lib.SSL_new(context._context)
        if ssl == _ffi.NULL:
            raise _take_error(MemoryError)
        self._ssl = _ffi.gc(ssl, _lib.SSL_free)
        if not resumes:
            _lib.SSL_set_options(ssl, SSL.OP_NO_TICKET)
        self._incoming, self._outgoing = _new_memory(), _new_memory()
        _lib.SSL_set_bio(ssl, self._incoming, self._outgoing)  # which frees them with the rest
        _lib.SSL_set_accept_state(ssl)

    def handshake(self, data: bytes) -> bool:
        """Feed what the peer sent. Says whether the handshake is complete. Raises OpenSSLError, MemoryError."""
        self._feed(data)
        result = _lib.SSL_do_handshake(self._ssl)
        if result == 1:
            return True
        if _lib.SSL_get_error(self._ssl, result) == _lib.SSL_ERROR_WANT_READ:
            return False
        raise self._failed(result)

    def encrypt(self, data: bytes) -> None:
        """Application data for the peer; `take` has the records. Raises OpenSSLError, MemoryError."""
        _lib.ERR_clear_error()
        if _lib.SSL_write(self._ssl, data, len(data)) != len(data):
            raise _take_error(OpenSSLError)

    def decrypt(self, data: bytes) -> bytes:
        """Feed records of the peer and get what it said in them. Raises OpenSSLError, MemoryError."""
        self._feed(data)
        buffer = _ffi.new("char[]", _READ_BYTES)
        plain = b""
        while (count := _lib.SSL_read(self._ssl, buffer, _READ_BYTES)) > 0:
            plain += _ffi.buffer(buffer, count)[:]
        if _lib.SSL_get_error(self._ssl, count) == _lib.SSL_ERROR_WANT_READ:
            return plain
        raise self._failed(count)

    def take(self) -> bytes:
        """What is to be sent to the peer now."""
        buffer = _ffi.new("char[]", _READ_BYTES)
        taken = b""
        while (count := _lib.BIO_read(self._outgoing, buffer, _READ_BYTES)) > 0:
            taken += _ffi.buffer(buffer, count)[:]
            if count < _READ_BYTES:
                break
        return taken

    @property
    def is_resumed(self) -> bool:
        """Whether the peer's ticket was taken: known as soon as its ClientHello was."""
        return bool(_lib.SSL_session_reused(self._ssl))

    def encode_peer_certificate(self) -> bytes:
        """The leaf of the session as DER, empty when it has none. In a resumed one nobody has looked at it."""
        certificate = _ffi.gc(_lib.SSL_get_peer_certificate(self._ssl), _lib.X509_free)
        return _encode_certificate(certificate)

    def find_version(self) -> str:
        """Such as TLSv1.3."""
        return str(_ffi.string(_lib.SSL_get_version(self._ssl)).decode("ascii"))

    def find_cipher(self) -> str | None:
        """The name of the cipher suite, once there is one."""
        cipher = _lib.SSL_get_current_cipher(self._ssl)
        return None if cipher == _ffi.NULL else str(_ffi.string(_lib.SSL_CIPHER_get_name(cipher)).decode("ascii"))

    def find_group(self) -> str | None:
        """The name of the key exchange group, such as x25519. Ask only once there is a cipher."""
        name = _lib.SSL_get0_group_name(self._ssl)  # which looks into a session that is not there before
        return None if name == _ffi.NULL else str(_ffi.string(name).decode("ascii"))

    def export_key(self, label: bytes, length: int, context: bytes | None) -> bytes:
        """Keying material of a complete handshake (RFC 5705). Raises OpenSSLError."""
        key = _ffi.new("unsigned char[]", length)
        with_context = context is not None
        done = _lib.SSL_export_keying_material(
            self._ssl, key, length, label, len(label), context or _ffi.NULL, len(context or b""), with_context
        )
        if done != 1:
            raise _take_error(OpenSSLError)
        return bytes(_ffi.buffer(key, length))

    def _failed(self, result: int) -> Exception:
        # To OpenSSL no error, so it has no reasons.
        closed = _lib.SSL_get_error(self._ssl, result) == _lib.SSL_ERROR_ZERO_RETURN
        return OpenSSLError("the peer sent the alert close_notify") if closed else _take_error(OpenSSLError)

    def _feed(self, data: bytes) -> None:
        _lib.ERR_clear_error()  # what somebody else left there would be taken for ours
        if data and _lib.BIO_write(self._incoming, data, len(data)) != len(data):
            raise _take_error(MemoryError)


def _new_memory() -> Any:
    bio = _lib.BIO_new(_lib.BIO_s_mem())
    if bio == _ffi.NULL:
        raise _take_error(MemoryError)
    return bio


def _take_error(kind: type[Exception]) -> Exception:
    """What OpenSSL says went wrong; it is forgotten there."""
    reasons = []
    while code := _lib.ERR_get_error():
        reason = _lib.ERR_reason_error_string(code)
        if reason != _ffi.NULL:
            reasons.append(_ffi.string(reason).decode("utf-8", "replace"))
    detail = "; ".join(reasons) or "handshake failed"
    return MemoryError(detail) if _NO_MEMORY in detail else kind(detail)


def use_key_log(context: SSL.Context, callback: Callable[[bytes], None]) -> Any:
    """Have each secret told as a line of NSS's key log. Returns the handle that must be kept as long as the context."""

    @_ffi.callback("void (*)(const SSL *, const char *)")  # type: ignore[untyped-decorator]
    def tell(_ssl: Any, line: Any) -> None:
        callback(_ffi.string(line))

    _lib.SSL_CTX_set_keylog_callback(context._context, tell)
    return tell


def use_verify_callback(context: SSL.Context, callback: VerifyCallback) -> Any:
    """Demand a client certificate and let `callback(error, depth, encode_leaf)` judge each link of its chain.

    It is given OpenSSL's own verdict (0: fine) on the link at that depth, and what encodes the leaf as DER, and returns
    the error to use, 0 for none. Should it raise, the verdict is no. Returns the handle that must be kept alive as long
    as the context.
    """

    @_ffi.callback("int(int, X509_STORE_CTX *)", error=0)  # type: ignore[untyped-decorator]
    def verify(_accepted: int, store_context: Any) -> int:
        error = callback(
            _lib.X509_STORE_CTX_get_error(store_context),
            _lib.X509_STORE_CTX_get_error_depth(store_context),
            lambda: _encode_certificate(_lib.X509_STORE_CTX_get0_cert(store_context)),
        )
        _lib.X509_STORE_CTX_set_error(store_context, error)
        return 1 if error == ERROR_OK else 0

    mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    _lib.SSL_CTX_set_verify(context._context, mode, verify)
    return verify


def use_groups(context: SSL.Context, groups: str) -> None:
    """The key exchange groups to offer, best first."""
    if _lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) != 1:
        raise ValueError(f"OpenSSL does not know the groups {groups}")


def use_signatures(context: SSL.Context, algorithms: str) -> None:
    """The signature algorithms to accept from a client and its authorities, best first."""
    if _lib.SSL_CTX_set1_sigalgs_list(context._context, algorithms.encode()) != 1:
        raise ValueError(f"OpenSSL does not know the signature algorithms {algorithms}")


def use_anchors(context: SSL.Context, anchors: Iterable[x509.Certificate]) -> crypto.X509Store:
    """Trust these from now on and no others: each may end a chain, whether self-signed or not. Returns where they are.

    Also of a Context that is in use already, which no thread may be speaking through at that moment.
    """
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    _lib.X509_STORE_up_ref(store._store)
    _lib.SSL_CTX_set_cert_store(context._context, store._store)  # which frees the one before
    return store


def _encode_certificate(certificate: Any) -> bytes:
    if certificate == _ffi.NULL:
        return b""
    bio = _ffi.gc(_lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_free)
    if _lib.i2d_X509_bio(bio, certificate) != 1:
        return b""
    data = _ffi.new("char **")
    length = _lib.BIO_get_mem_data(bio, data)
    return bytes(_ffi.buffer(data[0], length))
