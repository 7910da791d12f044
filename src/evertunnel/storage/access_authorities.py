"""Access authorities: who may sign short-lived certificates, who does, and whose are still trusted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from evertunnel.errors import NotFoundError
from evertunnel.model import AccessAuthorityState
from evertunnel.storage import tables
from evertunnel.storage.authorities import name_access_authority
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

_access = tables.access_authorities


@dataclass(frozen=True, slots=True)
class AccessAuthority:
    """One that was made. `trusted_until` is known once it is retired; `trust_ended_at` when nobody trusts it more."""

    name: str
    generation: int
    state: AccessAuthorityState
    certificate: x509.Certificate
    created_at: datetime
    created_by: str
    activated_at: datetime | None
    retired_at: datetime | None
    trusted_until: datetime | None
    trust_ended_at: datetime | None
    distrusted: bool

    @property
    def key_identifier(self) -> str:
        """What tells it apart from others of the same subject, in hex."""
        found = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return found.digest.hex()

    @property
    def trusted(self) -> bool:
        """Whether the policy server lets in whom it vouches for."""
        return self.trust_ended_at is None


def list_access_authorities(connection: Connection) -> list[AccessAuthority]:
    """All that were made, in that order."""
    return [_read(row) for row in connection.execute(_select().order_by(_access.c.generation))]


def list_trusted(connection: Connection) -> list[AnyRow]:
    """`name` and `certificate_der` of those that are trusted: staged, active, or retired not long ago."""
    return list(
        connection.execute(
            select(_access.c.name, tables.authorities.c.certificate_der)
            .join(tables.authorities, tables.authorities.c.name == _access.c.name)
            .where(_access.c.trust_ended_at.is_(None))
            .order_by(_access.c.generation)
        )
    )


def get_active(connection: Connection) -> AccessAuthority:
    """The one that signs."""
    return _read(connection.execute(_select().where(_access.c.state == AccessAuthorityState.ACTIVE.value)).one())


def get_access_authority(connection: Connection, text: str) -> AccessAuthority:
    """One by name, key identifier or thumbprint, in hex with or without separators. Raises NotFoundError."""
    wanted = text.lower().replace(":", "").replace(" ", "")
    for authority in list_access_authorities(connection):
        prints = (authority.certificate.fingerprint(kind).hex() for kind in (hashes.SHA1(), hashes.SHA256()))  # noqa: S303
        if authority.name == text.lower() or wanted in (authority.key_identifier, *prints):
            return authority
    raise NotFoundError(
        f"there is no access authority {text[:80]!r}; `evertunnel certificate access-authority list` shows all"
    )


def find_next_generation(connection: Connection) -> int:
    """The number of the next one."""
    return int(connection.execute(select(func.max(_access.c.generation))).scalar_one()) + 1


def count_trusted(connection: Connection) -> int:
    """How many are trusted or wanted."""
    return connection.execute(
        select(func.count()).select_from(_access).where(_access.c.trust_ended_at.is_(None))
    ).scalar_one()


def insert_wanted(tx: Transaction, generation: int, *, common_name: str, not_after: datetime, actor: str) -> str:
    """Ask for one; the signer makes it from this row. Returns its name."""
    _insert(tx, generation, AccessAuthorityState.WANTED, common_name, not_after, actor)
    return name_access_authority(generation)


def insert_first(tx: Transaction, *, common_name: str, not_after: datetime, actor: str) -> None:
    """The one of a new installation, which signs from the beginning."""
    _insert(tx, 1, AccessAuthorityState.ACTIVE, common_name, not_after, actor, activated_at=tx.now)


def find_wanted(connection: Connection, name: str) -> AnyRow | None:
    """What the signer is to make, if it has not yet."""
    return connection.execute(
        select(_access).where(_access.c.name == name, _access.c.state == AccessAuthorityState.WANTED.value)
    ).one_or_none()


def delete_wanted(tx: Transaction, name: str) -> None:
    """Ask for it no longer; one that was made stays."""
    tx.connection.execute(
        delete(_access).where(_access.c.name == name, _access.c.state == AccessAuthorityState.WANTED.value)
    )


def change_access_authority(tx: Transaction, name: str, **columns: Any) -> None:
    """Change columns of one."""
    tx.connection.execute(update(_access).where(_access.c.name == name).values(**columns))


def list_ended_trust(connection: Connection, now: datetime) -> list[AnyRow]:
    """Retired ones whose last certificate ended, and that are trusted still."""
    return list(
        connection.execute(select(_access).where(_access.c.trusted_until <= now, _access.c.trust_ended_at.is_(None)))
    )


def _insert(
    tx: Transaction,
    generation: int,
    state: AccessAuthorityState,
    common_name: str,
    not_after: datetime,
    actor: str,
    **columns: Any,
) -> None:
    tx.connection.execute(
        insert(_access).values(
            name=name_access_authority(generation),
            generation=generation,
            state=state.value,
            common_name=common_name,
            not_after=not_after,
            created_at=tx.now,
            created_by=actor,
            distrusted=False,
            **columns,
        )
    )


def _select() -> Select[Any]:
    return select(_access, tables.authorities.c.certificate_der).join(
        tables.authorities, tables.authorities.c.name == _access.c.name
    )


def _read(row: Row[Any]) -> AccessAuthority:
    return AccessAuthority(
        name=row.name,
        generation=row.generation,
        state=AccessAuthorityState(row.state),
        certificate=x509.load_der_x509_certificate(row.certificate_der),
        created_at=row.created_at,
        created_by=row.created_by,
        activated_at=row.activated_at,
        retired_at=row.retired_at,
        trusted_until=row.trusted_until,
        trust_ended_at=row.trust_ended_at,
        distrusted=row.distrusted,
    )
