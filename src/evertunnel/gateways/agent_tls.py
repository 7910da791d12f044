"""TLS between server and agent: 1.3, certificates of ours on both sides, no session that outlives its connection."""

import os
import ssl
from collections.abc import Sequence

from evertunnel.errors import UnavailableError
from evertunnel.gateways.tls_pipe import explain_tls
from evertunnel.protocols.agent.messages import REVISION


def build_server_context(*, chain_pem: Sequence[str], key_pem: str, trusted_pem: Sequence[str]) -> ssl.SSLContext:
    """An agent that enrols has no certificate yet, so one is asked for and not demanded here.

    `trusted_pem` sign agents' certificates. Raises UnavailableError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # a resumed session would skip the certificate
    return _finish(context, chain_pem, key_pem, trusted_pem)


def build_agent_context(*, root_pem: str, chain_pem: Sequence[str] = (), key_pem: str = "") -> ssl.SSLContext:
    """The server must show a chain to our root and the name that only its listener has. Raises UnavailableError."""
    return _finish(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), chain_pem, key_pem, [root_pem])


def build_blind_context() -> ssl.SSLContext:
    """Verifies nothing: to read the root, which is then held against the fingerprint of an enrolment code."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _finish(
    context: ssl.SSLContext, chain_pem: Sequence[str], key_pem: str, trusted_pem: Sequence[str]
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([REVISION])
    try:
        context.load_verify_locations(cadata="".join(trusted_pem))
        if key_pem:
            # The ssl module reads files only: the key passes one without a name.
            descriptor = os.memfd_create("agent")
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(key_pem + "".join(chain_pem))
                file.flush()
                context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise UnavailableError(f"key and certificate cannot be used: {explain_tls(error)}") from error
    return context
