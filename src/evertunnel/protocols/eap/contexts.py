"""The TLS sides of all methods of one policy server. Each has a Context of its own: no session of one opens another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

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
    tickets: SSL.Context | None = None,
    before: EAPContexts | None = None,
) -> EAPContexts:
    """The arguments are those of TLSContext. Only EAP-TLS by itself is resumed: what PEAP proved, no ticket knows.

    What served `before` with the same tickets is changed and serves on, or they would be lost with it.
    """

    def build_tls(tickets: SSL.Context | None) -> TLSContext:
        return TLSContext(chain=chain, key=key, trusted=trusted, is_revoked=is_revoked, tickets=tickets)

    if before is not None and tickets is not None and before.tls.tickets is tickets:
        tls = before.tls
        tls.change(leaf=chain[0], trusted=trusted)
    else:
        tls = build_tls(tickets)
    return EAPContexts(tls, TunnelContext(chain=chain, key=key), build_tls(None))
