"""Which certificate may ask for which gateway over TLS. In memory, and read anew whenever something changed."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import Connection, select

from evertunnel.model import Authority, CertificateKind, CertificateStatus
from evertunnel.storage import authorities, gateways, tables

_certificates = tables.certificates


@dataclass(frozen=True, slots=True)
class Client:
    """A gateway that a certificate speaks for, until when, and by which certificate."""

    gateway_id: str
    gateway: str
    fingerprint: bytes
    not_after: datetime


class RadSecDirectory:
    """Everybody who may connect. What is not in it may not, whoever signed it."""

    def __init__(self) -> None:
        self._clients: dict[bytes, Client] = {}
        self._refused: dict[bytes, str] = {}
        self.trusted: tuple[x509.Certificate, ...] = ()

    def load(self, connection: Connection) -> None:
        """Read all of it: there are few."""
        clients: dict[bytes, Client] = {}
        refused: dict[bytes, str] = {}
        known = authorities.load_authorities(connection)
        rows = {row.id: row for row in gateways.list_gateways(connection)}
        trusted = [known[Authority.ISSUING]]
        for certificate in connection.execute(
            select(_certificates).where(
                _certificates.c.kind == CertificateKind.RADSEC.value, _certificates.c.fingerprint.is_not(None)
            )
        ):
            gateway = rows.get(certificate.gateway_id)
            if certificate.status != CertificateStatus.VALID.value:
                refused[certificate.fingerprint] = "the certificate is revoked"
            elif gateway is None or not gateway.enabled or not gateway.radsec:
                refused[certificate.fingerprint] = "its gateway is gone, disabled or may not use RadSec"
            else:
                clients[certificate.fingerprint] = Client(
                    gateway.id, gateway.name, certificate.fingerprint, certificate.not_after
                )
        for gateway in rows.values():
            if gateway.radsec_certificate_der is None or not gateway.radsec or not gateway.enabled:
                continue
            pinned = x509.load_der_x509_certificate(gateway.radsec_certificate_der)
            fingerprint = hashlib.sha256(gateway.radsec_certificate_der).digest()
            clients[fingerprint] = Client(gateway.id, gateway.name, fingerprint, pinned.not_valid_after_utc)
            trusted.append(pinned)
        self._clients, self._refused, self.trusted = clients, refused, tuple(trusted)

    def find(self, certificate_der: bytes) -> Client | None:
        """Whom a certificate speaks for."""
        return self._clients.get(hashlib.sha256(certificate_der).digest())

    def judge(self, certificate_der: bytes) -> str:
        """Why a certificate that verified may not connect; empty when it may."""
        fingerprint = hashlib.sha256(certificate_der).digest()
        if fingerprint in self._clients:
            return ""
        return self._refused.get(fingerprint, "the certificate is not one that was given to a gateway for RadSec")

    def find_objection(self, client: Client, now: datetime) -> str:
        """Why somebody who is connected must go; empty when he may stay."""
        if now >= client.not_after:
            return "its certificate has ended"
        if self._clients.get(client.fingerprint) != client:
            return self._refused.get(client.fingerprint, "its gateway was removed, disabled or has no RadSec any more")
        return ""
