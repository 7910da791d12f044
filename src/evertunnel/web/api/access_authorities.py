"""Access authorities: who signs short-lived certificates, who will, and who did."""

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from evertunnel.actions.activate_access_authority import activate_access_authority
from evertunnel.actions.create_access_authority import create_access_authority
from evertunnel.actions.retire_access_authority import retire_access_authority
from evertunnel.errors import UnavailableError
from evertunnel.model import Authority
from evertunnel.storage import access_authorities, authorities
from evertunnel.storage.access_authorities import AccessAuthority
from evertunnel.web.api.context import Actor, APIContext, Context

router = APIRouter(prefix="/v1/access-authorities", tags=["certificates"])


class NewAccessAuthority(BaseModel):
    """One to stage. Without a common name it is called as the one that signs, with the next number."""

    model_config = ConfigDict(extra="forbid")
    lifetime_days: int
    common_name: str = ""


class Retirement(BaseModel):
    """Whether what it signed is refused at once."""

    model_config = ConfigDict(extra="forbid")
    distrust: bool = False


@router.get("")
def list_access_authorities(context: Context) -> list[dict[str, Any]]:
    """All that were made, in that order."""
    with context.store.read() as connection:
        found = access_authorities.list_access_authorities(connection)
    here = _list_keys(context)
    return [_describe(authority, here) for authority in found]


@router.post("", status_code=201)
def create(body: NewAccessAuthority, context: Context, actor: Actor) -> dict[str, Any]:
    """Stage one."""
    name = create_access_authority(
        context.store,
        context.maker,
        lifetime_days=body.lifetime_days,
        common_name=body.common_name,
        actor=actor,
        now=context.clock(),
    )
    return show(name, context)


@router.get("/{authority}")
def show(authority: str, context: Context) -> dict[str, Any]:
    """One by name, key identifier or thumbprint, with its certificate; PKCS#7 has the root besides."""
    with context.store.read() as connection:
        found = access_authorities.get_access_authority(connection, authority)
        root = authorities.load_authorities(connection)[Authority.ROOT]
    together = pkcs7.serialize_certificates([found.certificate, root], Encoding.DER)
    return _describe(found, _list_keys(context)) | {
        "pem": found.certificate.public_bytes(Encoding.PEM).decode(),
        "der": base64.b64encode(found.certificate.public_bytes(Encoding.DER)).decode(),
        "pkcs7": base64.b64encode(together).decode(),
    }


@router.post("/{authority}/activation")
def activate(authority: str, context: Context, actor: Actor) -> dict[str, Any]:
    """Let it sign from now on."""
    keys_here = context.list_keys()
    done = activate_access_authority(context.store, authority, keys_here=keys_here, actor=actor, now=context.clock())
    return {"name": done.name, "before": done.before, "before_trusted_until": done.before_trusted_until}


@router.post("/{authority}/retirement")
def retire(authority: str, body: Retirement, context: Context, actor: Actor) -> dict[str, Any]:
    """Let it sign no more."""
    done = retire_access_authority(context.store, authority, distrust=body.distrust, actor=actor, now=context.clock())
    return {"name": done.name, "trusted_until": done.trusted_until, "revoked": done.revoked}


def _list_keys(context: APIContext) -> set[str] | None:
    try:
        return set(context.list_keys())
    except UnavailableError:
        return None


def _describe(authority: AccessAuthority, here: set[str] | None) -> dict[str, Any]:
    certificate = authority.certificate
    return {
        "name": authority.name,
        "state": "distrusted" if authority.distrusted else authority.state.value,
        "trusted": authority.trusted,
        "subject": certificate.subject.rfc4514_string(),
        "key_identifier": authority.key_identifier,
        "sha1": _fingerprint(certificate, hashes.SHA1()),  # noqa: S303  Windows selects by it, it protects nothing
        "sha256": _fingerprint(certificate, hashes.SHA256()),
        "serial": f"{certificate.serial_number:x}",
        "key": "unknown" if here is None else "online" if authority.name in here else "missing",
        "not_before": certificate.not_valid_before_utc,
        "not_after": certificate.not_valid_after_utc,
        "created_at": authority.created_at,
        "created_by": authority.created_by,
        "activated_at": authority.activated_at,
        "retired_at": authority.retired_at,
        "trusted_until": authority.trusted_until,
        "trust_ended_at": authority.trust_ended_at,
    }


def _fingerprint(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> str:
    return certificate.fingerprint(algorithm).hex()
