"""Our authorities and the revocation lists they signed. Keys are never here."""

from datetime import datetime

from cryptography import x509
from sqlalchemy import Connection, delete, insert, select

from evertunnel.model import Authority
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow


def insert_authority(tx: Transaction, authority: Authority, certificate_der: bytes) -> None:
    """Keep an authority's certificate."""
    tx.connection.execute(
        insert(tables.authorities).values(
            name=authority.value, certificate_der=certificate_der, created_at=tx.now, revocations=0
        )
    )


def load_authorities(connection: Connection) -> dict[Authority, x509.Certificate]:
    """All authorities' certificates."""
    rows = connection.execute(select(tables.authorities.c.name, tables.authorities.c.certificate_der))
    return {Authority(row.name): x509.load_der_x509_certificate(row.certificate_der) for row in rows}


def list_revocation_counts(connection: Connection) -> dict[Authority, int]:
    """How often each authority's revocations changed: a list that names fewer is out of date."""
    rows = connection.execute(select(tables.authorities.c.name, tables.authorities.c.revocations))
    return {Authority(row.name): row.revocations for row in rows}


def find_revocation_list(connection: Connection, authority: Authority) -> AnyRow | None:
    """The newest list of an authority."""
    return connection.execute(
        select(tables.revocation_lists).where(tables.revocation_lists.c.authority == authority.value)
    ).one_or_none()


def store_revocation_list(
    tx: Transaction,
    authority: Authority,
    *,
    number: int,
    revocations: int,
    this_update: datetime,
    next_update: datetime,
    der: bytes,
) -> None:
    """Replace an authority's list."""
    lists = tables.revocation_lists
    tx.connection.execute(delete(lists).where(lists.c.authority == authority.value))
    tx.connection.execute(
        insert(lists).values(
            authority=authority.value,
            number=number,
            revocations=revocations,
            this_update=this_update,
            next_update=next_update,
            der=der,
        )
    )
