"""The TLS sides of all methods of one policy server. Each has a Context of its own: no session of one opens another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509

from evertunnel.protocols.eap.tls_server import PrivateKey, TLSContext
from evertunnel.protocols.eap.tls_tunnel import TunnelContext


@dataclass(frozen=True, slots=True)
class EAPContexts:
    """`tls` is of EAP-TLS, `tunnel` of PEAP, `inner` of EAP-TLS inside PEAP."""

    tls: TLSContext
    tunnel: TunnelContext
    inner: TLSContext


def build_contexts(
    *,
    chain: Sequence[x509.Certificate],
    key: PrivateKey,
    trusted: Sequence[x509.Certificate],
    is_revoked: Callable[[bytes], bool],
) -> EAPContexts:
    """The arguments are those of TLSContext."""

    def build_tls() -> TLSContext:
        return TLSContext(chain=chain, key=key, trusted=trusted, is_revoked=is_revoked)

    return EAPContexts(build_tls(), TunnelContext(chain=chain, key=key), build_tls())
