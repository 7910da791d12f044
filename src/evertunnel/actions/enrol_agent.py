"""Enrol a gateway's agent with a code: two certificates, for keys that stay where they were made."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from evertunnel.actions.change_gateway import revoke_gateway_certificates
from evertunnel.actions.issue_certificate import Issued, Signer, Wanted, fetch_certificate, grant_certificate
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import CertificateKind
from evertunnel.pki.requests import decode_request
from evertunnel.protocols.agent.code import hash_secret
from evertunnel.storage import gateways
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow, enrolment_codes


@dataclass(frozen=True, slots=True)
class EnrolledAgent:
    """What leaves."""

    gateway_name: str
    agent: Issued
    gateway: Issued


def enrol_agent(
    store: Store, signer: Signer, secret: bytes, requests: tuple[bytes, bytes], *, source: str, now: datetime
) -> EnrolledAgent:
    """`requests` are PKCS#10 of the agent's key and of the gateway's. `source` is where they came from.

    Certificates of an agent before are revoked: there is one. Raises InvalidInputError, which is recorded, and
    UnavailableError; the code is used up once it was good.
    """
    try:
        agent_key, gateway_key = (decode_request(request) for request in requests)
        if agent_key == gateway_key:
            raise InvalidInputError("agent and gateway must have different keys")
        with store.write(now) as tx:
            row = _use_code(tx, secret)
            # Not "superseded": those are renewed for the same key, and this one may have been stolen.
            revoke_gateway_certificates(
                tx, row.id, [CertificateKind.AGENT, CertificateKind.GATEWAY], reason="cessation of operation"
            )
            actor = f"agent of {row.name}"
            agent_id = grant_certificate(
                tx, Wanted(CertificateKind.AGENT, row.name, agent_key, gateway_id=row.id), actor=actor
            )
            gateway_id = grant_certificate(
                tx,
                Wanted(CertificateKind.GATEWAY, row.public_name, gateway_key, (row.public_name,), gateway_id=row.id),
                actor=actor,
            )
            tx.record(AuditEntry(Audit.GATEWAY_ENROL, actor, row.name, row.id, {"source": source}))
    except InvalidInputError as error:
        with store.write(now) as tx:
            tx.record(AuditEntry(Audit.GATEWAY_ENROL_REFUSED, source, "", "", {"why": str(error)}))
        raise
    return EnrolledAgent(
        row.name, fetch_certificate(store, signer, agent_id), fetch_certificate(store, signer, gateway_id)
    )


def _use_code(tx: Transaction, secret: bytes) -> AnyRow:
    """The gateway that a code is for. Who knows 128 secret bits may be told what became of them."""
    code = tx.connection.execute(
        select(enrolment_codes).where(enrolment_codes.c.secret_hash == hash_secret(secret))
    ).one_or_none()
    if code is None:
        raise InvalidInputError("this enrolment code is not known: a newer one was made, or it is of another server")
    again = f"make another with `evertunnel gateway code {code.gateway_name}`"
    if code.used_at is not None:
        raise InvalidInputError(f"this enrolment code was used already: {again}")
    if code.expires_at <= tx.now:
        raise InvalidInputError(f"this enrolment code has expired: {again}")
    row = gateways.find_gateway(tx.connection, code.gateway_id)
    if row is None or row.id != code.gateway_id:
        raise InvalidInputError(f"gateway {code.gateway_name} was removed")
    tx.connection.execute(update(enrolment_codes).where(enrolment_codes.c.id == code.id).values(used_at=tx.now))
    return row
