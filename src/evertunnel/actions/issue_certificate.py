"""Issue a certificate: store what is granted, commit, and have the signer sign that row."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.model import Authority, CertificateKind, SubjectKind
from evertunnel.pki.issuance import BACKDATE
from evertunnel.pki.keys import load_public_key
from evertunnel.pki.kinds import DAY, KINDS, SHORT_LIVED_FLOOR_SECONDS, USER_KINDS
from evertunnel.storage import access_authorities, authorities, certificates, denials, people
from evertunnel.storage.store import Store, Transaction, new_id


class Signer(Protocol):
    """Signs granted rows: the signer process over its socket, or keys at hand."""

    def sign(self, certificate_id: str) -> bytes:
        """The DER certificate of a granted row. Raises DomainError."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate somebody may have. `name` is a user principal name or DNS name; owners by id.

    `methods` are those of the sign-in it is granted after.
    """

    kind: CertificateKind
    name: str
    public_key_der: bytes
    dns_names: tuple[str, ...] = ()
    authority: Authority | None = None
    user_id: str | None = None
    device_id: str | None = None
    gateway_id: str | None = None
    attempt_id: str | None = None
    methods: tuple[str, ...] = ()
    signed_in_at: datetime | None = None
    lifetime_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that may leave, and the authorities above it, the root left out."""

    id: str
    certificate_der: bytes
    chain_der: tuple[bytes, ...]


def issue_certificate(store: Store, signer: Signer, wanted: Wanted, *, actor: str, now: datetime) -> Issued:
    """Grant and sign. Raises DomainError; then no certificate left, though the grant stays on record."""
    with store.write(now) as tx:
        certificate_id = grant_certificate(tx, wanted, actor=actor)
    return fetch_certificate(store, signer, certificate_id)


def grant_certificate(tx: Transaction, wanted: Wanted, *, actor: str) -> str:
    """Store what may be signed, and return its id. Raises InvalidInputError."""
    rules = KINDS[wanted.kind]
    authority = _choose_authority(wanted)
    lifetime = rules.default_lifetime_seconds if wanted.lifetime_seconds is None else wanted.lifetime_seconds
    if not 0 < lifetime <= rules.ceiling_lifetime_seconds:
        raise InvalidInputError(
            f"a {wanted.kind.value} certificate lasts more than nothing and at most "
            f"{rules.ceiling_lifetime_seconds} seconds ({rules.ceiling_lifetime_seconds / DAY:g} days)"
        )
    load_public_key(wanted.public_key_der)
    for owner in (wanted.user_id, wanted.device_id):
        standing = denials.find_standing(tx.connection, owner, tx.now) if owner else None
        if standing is not None:
            # Where somebody does not ask us, a certificate that is good would be a way in.
            raise InvalidInputError(f"{wanted.name} gets no certificate while a denial stands: {standing.reason}")
    certificate_id = new_id()
    serial = x509.random_serial_number()
    not_after = (tx.now + timedelta(seconds=lifetime)).replace(microsecond=0)
    issuer_name, issuer = _find_issuer(tx, authority)
    user = people.find_subject(tx.connection, SubjectKind.USER, wanted.user_id) if wanted.user_id else None
    certificates.insert_grant(
        tx,
        id=certificate_id,
        authority=issuer_name,
        serial=serial,
        kind=wanted.kind.value,
        subject_name=wanted.name,
        dns_names=list(wanted.dns_names),
        public_key_der=wanted.public_key_der,
        not_before=(tx.now - BACKDATE).replace(microsecond=0),
        not_after=min(not_after, issuer.not_valid_after_utc),
        user_id=wanted.user_id,
        device_id=wanted.device_id,
        gateway_id=wanted.gateway_id,
        attempt_id=wanted.attempt_id,
        granted_by=actor,
        methods=" ".join(wanted.methods),
        signed_in_at=wanted.signed_in_at,
        sid=user.sid if user is not None and wanted.kind in USER_KINDS else None,
    )
    tx.record(
        AuditEntry(
            Audit.CERTIFICATE_GRANT,
            actor,
            wanted.name,
            certificate_id,
            {
                "kind": wanted.kind.value,
                "authority": issuer_name,
                "serial": f"{serial:x}",
                "not_after": not_after.isoformat(),
            },
        )
    )
    return certificate_id


def _choose_authority(wanted: Wanted) -> Authority:
    authorities_of_kind = KINDS[wanted.kind].authorities
    if wanted.authority is None and len(authorities_of_kind) == 1:
        return next(iter(authorities_of_kind))
    if wanted.authority not in authorities_of_kind:
        named = wanted.authority.value if wanted.authority else "unnamed"
        raise InvalidInputError(f"the {named} authority signs no {wanted.kind.value} certificates")
    return wanted.authority


def _find_issuer(tx: Transaction, authority: Authority) -> tuple[str, x509.Certificate]:
    """The name and certificate of the authority that signs for a kind now."""
    if authority is Authority.ACCESS:
        active = access_authorities.get_active(tx.connection)
        if active.certificate.not_valid_after_utc < tx.now + timedelta(seconds=SHORT_LIVED_FLOOR_SECONDS):
            raise UnavailableError(
                f"the access authority {active.name} ends at {active.certificate.not_valid_after_utc:%F %T} UTC: "
                "create and activate another one with `evertunnel certificate access-authority`"
            )
        return active.name, active.certificate
    return authority.value, authorities.load_issuer(tx.connection, authority.value)


def fetch_certificate(store: Store, signer: Signer, certificate_id: str) -> Issued:
    """The signed certificate of a grant and its chain."""
    der = signer.sign(certificate_id)
    with store.read() as connection:
        row = certificates.get_certificate(connection, certificate_id)
        issuer = authorities.load_issuer(connection, row.authority)
    # The chain stops below the root: a client that trusts it has it, one that does not must not learn it here.
    chain = () if issuer.issuer == issuer.subject else (issuer.public_bytes(Encoding.DER),)
    return Issued(certificate_id, der, chain)
