"""Make the code by which a gateway on another host enrols its agent: one use, a day, kept as a hash."""

import hashlib
import secrets
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, insert

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import Authority
from evertunnel.protocols.agent.code import SECRET_BYTES, EnrolmentCode, encode_code, hash_secret
from evertunnel.storage import authorities, gateways
from evertunnel.storage.store import Store, new_id
from evertunnel.storage.tables import enrolment_codes

CODE_LIFETIME = timedelta(hours=24)


def make_enrolment_code(store: Store, name: str, *, port: int | None, actor: str, now: datetime) -> str:
    """The code, which is shown once. One that was made before for the gateway counts no longer.

    `port` is where agents are waited for; None: nowhere. Raises NotFoundError, InvalidInputError.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        if not row.remote:
            raise InvalidInputError(f"gateway {row.name} is on this machine and needs no agent")
        port = verify_agents_port(port)
        root = authorities.load_authorities(tx.connection)[Authority.ROOT]
        code = EnrolmentCode(
            secret=secret,
            root_fingerprint=hashlib.sha256(root.public_bytes(Encoding.DER)).digest(),
            gateway=row.name,
            address=row.server_address,
            port=port,
        )
        unused = enrolment_codes.c.gateway_id == row.id, enrolment_codes.c.used_at.is_(None)
        tx.connection.execute(delete(enrolment_codes).where(*unused))
        tx.connection.execute(
            insert(enrolment_codes).values(
                id=new_id(),
                gateway_id=row.id,
                gateway_name=row.name,
                secret_hash=hash_secret(secret),
                created_at=now,
                expires_at=now + CODE_LIFETIME,
            )
        )
        tx.record(AuditEntry(Audit.GATEWAY_CODE, actor, row.name, row.id, {"expires_at": str(now + CODE_LIFETIME)}))
    return encode_code(code)


def verify_agents_port(port: int | None) -> int:
    """Where agents are waited for. Raises InvalidInputError when that is nowhere."""
    if port is None:
        raise InvalidInputError(
            "this server waits for no agents: set `agents` in [listen] of evertunnel.toml, such as "
            '"0.0.0.0:4433", and restart `evertunnel serve`'
        )
    return port
