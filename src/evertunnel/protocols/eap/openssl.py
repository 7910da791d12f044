"""The few calls that pyOpenSSL does not offer, through its private binding. Nothing else touches that binding.

Why each is needed (docs/decisions/0004): a Python verify callback can only send the alert `internal_error`; the
default group list offers a post-quantum share whose size costs EAP round trips; the default list of signatures has
SHA-1 in it; a directly trusted issuing authority saves one signature check per login.
"""

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
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

VerifyCallback = Callable[[int, int, Callable[[], bytes]], int]


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


def trust_as_anchors(context: SSL.Context) -> None:
    """Let every certificate in the store end a chain, whether self-signed or not."""
    parameters = _lib.SSL_CTX_get0_param(context._context)
    if _lib.X509_VERIFY_PARAM_set_flags(parameters, _lib.X509_V_FLAG_PARTIAL_CHAIN) != 1:
        raise ValueError("OpenSSL refused the partial-chain flag")


def _encode_certificate(certificate: Any) -> bytes:
    if certificate == _ffi.NULL:
        return b""
    bio = _ffi.gc(_lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_free)
    if _lib.i2d_X509_bio(bio, certificate) != 1:
        return b""
    data = _ffi.new("char **")
    length = _lib.BIO_get_mem_data(bio, data)
    return bytes(_ffi.buffer(data[0], length))
