"""Certificates: issue from a request, list, revoke; and the authorities' own."""

import base64
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from evertunnel.actions.issue_certificate import Wanted, issue_certificate
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.model import CertificateKind, SubjectKind
from evertunnel.pki.requests import decode_request
from evertunnel.storage import authorities, certificates, people
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1", tags=["certificates"])


class NewCertificate(BaseModel):
    """A certificate for a user or device. `csr` is PEM; only its proven public key is taken from it."""

    model_config = ConfigDict(extra="forbid")
    kind: CertificateKind
    owner: str
    csr: str
    lifetime_seconds: int | None = None


class Revocation(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")
    reason: str = "unspecified"


@router.get("/certificates")
def list_certificates(
    context: Context,
    *,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    kind: CertificateKind | None = None,
    user: str | None = None,
    device: str | None = None,
    valid: bool = False,
) -> list[dict[str, Any]]:
    """The newest first, of everybody or a user or device, of a kind; valid=true: what is neither over nor revoked."""
    with context.store.read() as connection:
        rows = certificates.list_certificates(
            connection,
            limit=limit,
            kind=kind,
            user_id=None if user is None else people.get_subject(connection, SubjectKind.USER, user).id,
            device_id=None if device is None else people.get_subject(connection, SubjectKind.DEVICE, device).id,
            valid_at=context.clock() if valid else None,
        )
    return [_describe(row) for row in rows]


@router.get("/certificates/{certificate}")
def show(certificate: str, context: Context) -> dict[str, Any]:
    """One, with its PEM."""
    with context.store.read() as connection:
        row = certificates.get_certificate(connection, certificate)
    return _describe(row) | {"pem": encode_pem(row.certificate_der) if row.certificate_der else None}


@router.post("/certificates", status_code=201)
def issue(body: NewCertificate, context: Context, actor: Actor) -> dict[str, Any]:
    """Issue one."""
    public_key_der = decode_request(body.csr.encode())
    with context.store.read() as connection:
        match body.kind:
            case CertificateKind.USER:
                row = people.get_subject(connection, SubjectKind.USER, body.owner)
                owner: dict[str, Any] = {"user_id": row.id}
            case CertificateKind.DEVICE:
                row = people.get_subject(connection, SubjectKind.DEVICE, body.owner)
                owner = {"device_id": row.id, "dns_names": (row.name,)}
            case CertificateKind.SHORT_LIVED:
                raise InvalidInputError("short-lived certificates are issued by conditional access only")
            case _:
                raise InvalidInputError(f"{body.kind.value} certificates are issued to our own processes only")
    wanted = Wanted(
        kind=body.kind,
        name=row.name,
        public_key_der=public_key_der,
        lifetime_seconds=body.lifetime_seconds,
        **owner,
    )
    issued = issue_certificate(context.store, context.signer, wanted, actor=actor, now=context.clock())
    return {
        "id": issued.id,
        "pem": encode_pem(issued.certificate_der),
        "chain": [encode_pem(der) for der in issued.chain_der],
    }


@router.post("/certificates/{certificate}/revocation", status_code=204)
def revoke(certificate: str, body: Revocation, context: Context, actor: Actor) -> None:
    """Revoke one for good."""
    revoke_certificate(context.store, certificate, reason=body.reason, actor=actor, now=context.clock())


@router.get("/authorities")
def list_authorities(context: Context) -> list[dict[str, Any]]:
    """The authorities' certificates, whether their keys are here, and until when their revocation lists are good."""
    with context.store.read() as connection:
        known = {
            row.name: x509.load_der_x509_certificate(row.certificate_der)
            for row in authorities.list_authorities(connection)
        }
        lists = {name: authorities.find_revocation_list(connection, name) for name in known}
    try:
        here = context.list_keys()
    except UnavailableError:
        here = None
    return [
        {
            "name": name,
            "subject": certificate.subject.rfc4514_string(),
            "not_after": certificate.not_valid_after_utc,
            "key": "unknown" if here is None else "online" if name in here else "offline",
            "list_until": revocation_list.next_update if (revocation_list := lists[name]) else None,
            "pem": certificate.public_bytes(Encoding.PEM).decode(),
            "der": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        }
        for name, certificate in known.items()
    ]


def _describe(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "status": row.status,
        "name": row.subject_name,
        "authority": row.authority,
        "serial": row.serial,
        "not_before": row.not_before,
        "not_after": row.not_after,
        "granted_by": row.granted_by,
        "authentication_methods": row.methods.split(),
        "signed_in_at": row.signed_in_at,
        "revoked_at": row.revoked_at,
        "revocation_reason": row.revocation_reason,
    }


def encode_pem(certificate_der: bytes) -> str:
    """As files have it."""
    return x509.load_der_x509_certificate(certificate_der).public_bytes(Encoding.PEM).decode()
