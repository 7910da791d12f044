"""Our authorities and the revocation lists they signed. Keys are never here.

Each has a name that its key's file, its revocation list's address and its certificates' rows carry: that of its kind,
and the later ones that sign short-lived certificates `access-2`, `access-3` and so on.
"""

import re
from datetime import datetime

from cryptography import x509
from sqlalchemy import Connection, delete, insert, select

from evertunnel.model import AccessAuthorityState, Authority
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

_LATER_ACCESS = re.compile(r"access-[1-9][0-9]{0,8}", re.ASCII)
_authorities = tables.authorities


def name_access_authority(generation: int) -> str:
    """The name of the access authority of a generation, counted from one."""
    return Authority.ACCESS.value if generation == 1 else f"{Authority.ACCESS.value}-{generation}"


def is_authority_name(name: str) -> bool:
    """Whether an authority of ours may be called so."""
    return name in set(Authority) or _LATER_ACCESS.fullmatch(name) is not None


def read_authority(name: str) -> Authority:
    """The kind of authority that has a name. Raises ValueError for a name of none."""
    return Authority.ACCESS if _LATER_ACCESS.fullmatch(name) else Authority(name)


def insert_authority(tx: Transaction, name: str, certificate_der: bytes) -> None:
    """Keep an authority's certificate."""
    tx.connection.execute(
        insert(_authorities).values(name=str(name), certificate_der=certificate_der, created_at=tx.now, revocations=0)
    )


def load_authorities(connection: Connection) -> dict[Authority, x509.Certificate]:
    """The certificates of those that sign now, one of each kind."""
    access = tables.access_authorities.c
    rows = connection.execute(
        select(_authorities.c.name, _authorities.c.certificate_der)
        .outerjoin(tables.access_authorities, access.name == _authorities.c.name)
        .where(access.state.is_(None) | (access.state == AccessAuthorityState.ACTIVE.value))
    )
    return {read_authority(row.name): x509.load_der_x509_certificate(row.certificate_der) for row in rows}


def load_issuer(connection: Connection, name: str) -> x509.Certificate:
    """The certificate of the authority with a name, whether it signs or did."""
    der = connection.execute(
        select(_authorities.c.certificate_der).where(_authorities.c.name == str(name))
    ).scalar_one()
    return x509.load_der_x509_certificate(der)


def list_authorities(connection: Connection) -> list[AnyRow]:
    """All that sign or may still be trusted, by kind and age: `name` and `certificate_der`."""
    access = tables.access_authorities.c
    rows = connection.execute(
        select(_authorities.c.name, _authorities.c.certificate_der)
        .outerjoin(tables.access_authorities, access.name == _authorities.c.name)
        .where(access.trust_ended_at.is_(None))
        .order_by(access.generation)
    )
    return sorted(rows, key=lambda row: list(Authority).index(read_authority(row.name)))


def list_revocation_counts(connection: Connection) -> dict[str, int]:
    """How often each authority's revocations changed, by name: a list that names fewer is out of date.

    Who is trusted no more needs no list.
    """
    access = tables.access_authorities.c
    rows = connection.execute(
        select(_authorities.c.name, _authorities.c.revocations)
        .outerjoin(tables.access_authorities, access.name == _authorities.c.name)
        .where(access.trust_ended_at.is_(None))
    )
    return {row.name: row.revocations for row in rows}


def find_revocation_list(connection: Connection, name: str) -> AnyRow | None:
    """The newest list of an authority."""
    return connection.execute(
        select(tables.revocation_lists).where(tables.revocation_lists.c.authority == str(name))
    ).one_or_none()


def store_revocation_list(
    tx: Transaction,
    name: str,
    *,
    number: int,
    revocations: int,
    this_update: datetime,
    next_update: datetime,
    der: bytes,
) -> None:
    """Replace an authority's list."""
    lists = tables.revocation_lists
    tx.connection.execute(delete(lists).where(lists.c.authority == str(name)))
    tx.connection.execute(
        insert(lists).values(
            authority=str(name),
            number=number,
            revocations=revocations,
            this_update=this_update,
            next_update=next_update,
            der=der,
        )
    )
