"""Builds one RADIUS worker of what it needs, and serves with it until told to stop."""

import gc
import hashlib
import signal
import threading
from dataclasses import dataclass

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from OpenSSL import SSL

from evertunnel import clock
from evertunnel.actions.decide import Decider
from evertunnel.installation import Installation
from evertunnel.model import Authority, CertificateStatus, Gateway
from evertunnel.protocols.eap.contexts import EAPContexts, build_contexts
from evertunnel.server_certificate import Chain, ServerCertificate
from evertunnel.servers.accounting_server import AccountingServer
from evertunnel.servers.accounting_udp import AccountingPort
from evertunnel.servers.crew import Crew, Shift
from evertunnel.servers.eap_methods import EAPMethods
from evertunnel.servers.policy_server import PolicyServer
from evertunnel.servers.radius_udp import RadiusProcess
from evertunnel.servers.radsec_link import RadSecLink
from evertunnel.servers.recorder import Recorder
from evertunnel.servers.shared_port import SharedPort
from evertunnel.servers.sources import Sources
from evertunnel.servers.ticket_keys import TicketKeys
from evertunnel.servers.tls_side import TLSSide
from evertunnel.servers.workers import Place
from evertunnel.signer_socket import SignerClient
from evertunnel.storage import authorities
from evertunnel.storage.gateways import radius_secret_context

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Shared:
    """What all workers have from before the fork: without a `link` no RadSec, without `tickets` no resumption."""

    radius: SharedPort
    accounting: SharedPort
    link: RadSecLink | None
    crew: Crew
    tickets: TicketKeys | None


def run_radius(installation: Installation, shared: Shared, place: Place) -> None:
    """Until SIGTERM."""
    store = installation.open_store()
    decider = Decider(**installation.find_geography())
    with store.read() as connection:
        decider.refresh(connection)
        known = authorities.load_authorities(connection)
    keystore = installation.keystore.for_process("radius")
    key = keystore.load_key("radius", "policy-server")
    signer = SignerClient(installation.folder.signer_socket)
    certificate = ServerCertificate(store, signer, key, name="radius", clock=clock.now)

    def build_tls(chain: Chain, tickets: SSL.Context | None, before: EAPContexts | None) -> EAPContexts:
        return build_contexts(
            chain=chain,
            key=key,
            trusted=[known[Authority.ISSUING], *_list_access_authorities(decider, known[Authority.ROOT])],
            is_revoked=lambda certificate_der: _is_withdrawn(decider, certificate_der),
            tickets=tickets,
            before=before,
        )

    def unseal(gateway: Gateway, sealed: bytes) -> bytes:
        return keystore.unseal(sealed, context=radius_secret_context(gateway.id))

    sources = Sources(failures_per_minute=installation.config.radius_failures_per_minute)
    tls = TLSSide(certificate.load(), build_tls, shared.tickets)
    methods = EAPMethods(decider, tls.contexts, keystore.unseal, keystore.seal)
    server = PolicyServer(decider, methods, unseal, place, sources)
    server.load_gateways()
    tls.serve(server.use_tls)
    threading.Thread(target=certificate.keep, args=(tls.use_chain, threading.Event()), daemon=True).start()
    recorder = Recorder(
        store, decider, on_gateways_changed=server.load_gateways, on_authorities_changed=tls.use_authorities
    )
    radsec, radsec_accounting = (None, None) if shared.link is None else shared.link.open_ports(place.number)
    accounting_port = AccountingPort(
        shared.accounting.open(place),
        AccountingServer(store, server.askers.find_any, place),
        store,
        radsec_accounting,
        looks_for_silence=place.number == 0,
    )
    port = shared.radius.open(place)
    shift = Shift(shared.crew, place.number, port.steer)
    process = RadiusProcess(port, server, recorder, accounting_port, radsec, shift=shift, do_round=tls.take_turn)
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.stop())
    gc.freeze()  # what is loaded now stays; to walk all of it again and again would hold up logins for 0.1 s each time
    process.run()


def _list_access_authorities(decider: Decider, root: x509.Certificate) -> list[x509.Certificate]:
    """Those that the root signed. A row alone makes none: whoever writes to the database has not the root's key."""
    found = []
    for authority in decider.list_access_authorities():
        try:
            authority.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError) as error:
            log.error("access authority left out: the root did not sign it", error=repr(error))
        else:
            found.append(authority)
    return found


def _is_withdrawn(decider: Decider, certificate_der: bytes) -> bool:
    """Whether a certificate of ours is on hold or revoked. An unknown one is refused later, with its own reason."""
    known = decider.find_certificate_by_fingerprint(hashlib.sha256(certificate_der).digest())
    return known is not None and known.status is not CertificateStatus.VALID
