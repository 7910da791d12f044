"""Keeps the certificate of a TLS server of ours good while its process runs."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from cryptography import x509

from evertunnel.actions.issue_certificate import Signer
from evertunnel.actions.renew_server_certificate import load_server_chain, renew_server_certificate
from evertunnel.errors import DomainError
from evertunnel.pki.keys import PrivateKey, encode_public_key
from evertunnel.storage.store import Store

_LOOK_EVERY_SECONDS = 3600.0

log = structlog.get_logger()

Chain = Sequence[x509.Certificate]


class ServerCertificate:
    """One server's, found by its key. `name` says in records who asked for a new one."""

    def __init__(
        self, store: Store, signer: Signer, key: PrivateKey, *, name: str, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._signer = signer
        self._public_key_der = encode_public_key(key.public_key())
        self._name = name
        self._clock = clock
        self._in_use: x509.Certificate | None = None

    def load(self) -> Chain:
        """The certificate to begin with, and its issuer. Raises UnavailableError when there is none that is good."""
        self.renew()
        chain = load_server_chain(self._store, self._public_key_der, now=self._clock())
        self._in_use = chain[0]
        return chain

    def renew(self) -> Chain | None:
        """A new one with its issuer, if it was time for it and the signer gave it."""
        try:
            renewed = renew_server_certificate(
                self._store, self._signer, self._public_key_der, actor=self._name, now=self._clock()
            )
            if not renewed:
                return None
            chain = load_server_chain(self._store, self._public_key_der, now=self._clock())
        except DomainError as error:
            log.warning("cannot renew the server's certificate", error=str(error))
            return None
        log.info("server's certificate renewed", ends=f"{chain[0].not_valid_after_utc:%F %T}")
        return chain

    def find_newer(self) -> Chain | None:
        """A certificate other than the one in use, renewed now or by another process with the same key."""
        self.renew()
        try:
            chain = load_server_chain(self._store, self._public_key_der, now=self._clock())
        except DomainError as error:
            log.warning("cannot load the server's certificate", error=str(error))
            return None
        return chain if chain[0] != self._in_use else None

    def keep(self, use: Callable[[Chain], None], stopped: threading.Event) -> None:
        """Look once an hour until stopped; `use` is called with each new one. For a thread of its own."""
        while not stopped.wait(_LOOK_EVERY_SECONDS):
            try:
                if (chain := self.find_newer()) is not None:
                    use(chain)
                    self._in_use = chain[0]
            except Exception:  # nobody would start this thread again, and the certificate would end
                log.exception("cannot renew the server's certificate")
