"""Runs the RadSec process; its key and certificate are made when they are first needed, and renewed while it runs."""

import socket
import threading
from collections.abc import Callable
from datetime import datetime

import structlog
from cryptography import x509

from evertunnel import clock
from evertunnel.actions.issue_certificate import Signer, Wanted
from evertunnel.actions.issue_gateway_certificate import find_or_issue
from evertunnel.errors import DomainError
from evertunnel.installation import Installation
from evertunnel.keystore import Keystore
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import PrivateKey, encode_public_key, generate_key
from evertunnel.servers.radsec_directory import RadSecDirectory
from evertunnel.servers.radsec_link import RadSecLink
from evertunnel.servers.radsec_process import RadSecProcess
from evertunnel.servers.radsec_tls import RadSecContext
from evertunnel.signer_socket import SignerClient
from evertunnel.storage import authorities
from evertunnel.storage.store import Store

PROCESS = "radsec"
_KEY = "radsec-server"
_LOOK_EVERY_SECONDS = 3600.0

log = structlog.get_logger()


class RadSecCertificate:
    """`name` is the DNS name under which gateways reach the policy server."""

    def __init__(
        self, store: Store, signer: Signer, keystore: Keystore, *, name: str, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._signer = signer
        self._keystore = keystore
        self._name = name
        self._clock = clock
        self._in_use: x509.Certificate | None = None

    @property
    def key(self) -> PrivateKey:
        """Raises DomainError."""
        if not self._keystore.has_key(PROCESS, _KEY):
            self._keystore.store_key(PROCESS, _KEY, generate_key("p256"))
        return self._keystore.load_key(PROCESS, _KEY)

    def load(self) -> list[x509.Certificate]:
        """A certificate that is good for long, and its issuer. Raises DomainError."""
        self._in_use = self._find()
        with self._store.read() as connection:
            issuing = authorities.load_authorities(connection)[Authority.ISSUING]
        return [self._in_use, issuing]

    def build_context(self, directory: RadSecDirectory) -> RadSecContext:
        """TLS for whom the directory knows. Raises DomainError."""
        return RadSecContext(chain=self.load(), key=self.key, trusted=directory.trusted, judge=directory.judge)

    def keep(self, tell: Callable[[], None], stopped: threading.Event) -> None:
        """Look once an hour until stopped; `tell` is called when there is a new one. For a thread of its own."""
        while not stopped.wait(_LOOK_EVERY_SECONDS):
            try:
                if self._find() != self._in_use:
                    tell()
            except DomainError as error:
                log.warning("cannot renew the RadSec certificate", error=str(error))
            except Exception:  # nobody would start this thread again, and the certificate would end
                log.exception("cannot renew the RadSec certificate")

    def _find(self) -> x509.Certificate:
        wanted = Wanted(
            CertificateKind.RADSEC_SERVER, self._name, encode_public_key(self.key.public_key()), (self._name,)
        )
        return find_or_issue(self._store, self._signer, wanted, actor=PROCESS, clock=self._clock)


def run_radsec(
    installation: Installation, listener: socket.socket, link: RadSecLink | None, stopped: threading.Event
) -> None:
    """Serve until stopped."""
    assert link is not None  # made where there is something to listen on
    signer = SignerClient(installation.folder.signer_socket)
    public_name = installation.config.installation.public_name
    store = installation.open_store()
    certificate = RadSecCertificate(store, signer, installation.keystore, name=public_name, clock=clock.now)
    process = RadSecProcess(store, listener, link, certificate.build_context, clock.now)
    threading.Thread(target=certificate.keep, args=(process.use_new_certificate, stopped), daemon=True).start()
    process.run(stopped)
