"""A responder whose key lives in this process's memory only, with a certificate of a week that renews itself."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from cryptography import x509

from evertunnel.actions.issue_certificate import Signer, Wanted, issue_certificate
from evertunnel.errors import UnavailableError
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import encode_public_key, generate_key
from evertunnel.pki.revocation import Responder
from evertunnel.storage import authorities
from evertunnel.storage.store import Store

_RENEW_AFTER = timedelta(days=3)
_TRY_AGAIN_AFTER = timedelta(minutes=1)
# An answer is good for an hour and must not outlive the certificate of whoever signed it.
_LAST_USE = timedelta(hours=2)

log = structlog.get_logger()


class OCSPSigner:
    """Gives a responder for one authority. Raises UnavailableError while the signer cannot be reached."""

    def __init__(
        self, store: Store, signer: Signer, authority: Authority, name: str, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._signer = signer
        self._authority = authority
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._responder: Responder | None = None
        self._renew_at = self._ends_at = clock()

    def responder(self) -> Responder:
        """The responder, made at the first call and renewed in time."""
        with self._lock:
            now = self._clock()
            if self._responder is None or now >= self._renew_at:
                try:
                    self._responder, self._ends_at = self._make(now)
                    self._renew_at = now + _RENEW_AFTER
                except UnavailableError as error:
                    if self._responder is None or now >= self._ends_at - _LAST_USE:
                        raise
                    log.warning("cannot renew the OCSP signer, the old one is still good", error=str(error))
                    self._renew_at = now + _TRY_AGAIN_AFTER
            return self._responder

    def _make(self, now: datetime) -> tuple[Responder, datetime]:
        key = generate_key("p256")
        issued = issue_certificate(
            self._store,
            self._signer,
            Wanted(
                kind=CertificateKind.OCSP_SIGNER,
                name=self._name,
                public_key_der=encode_public_key(key.public_key()),
                authority=self._authority,
            ),
            actor=self._name,
            now=now,
        )
        with self._store.read() as connection:
            issuer = authorities.load_authorities(connection)[self._authority]
        certificate = x509.load_der_x509_certificate(issued.certificate_der)
        return Responder(issuer, certificate, key), certificate.not_valid_after_utc
