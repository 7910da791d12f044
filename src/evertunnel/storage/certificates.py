"""Certificates: a row is granted first, signed by that row alone, and stays for as long as anybody may ask."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from evertunnel.errors import NotFoundError
from evertunnel.model import CertificateKind, CertificateStatus, SessionState
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

_HELD = (CertificateStatus.ON_HOLD.value, CertificateStatus.REVOKED.value)
_certificates = tables.certificates
# A statement has room for only so many names.
_NAMED_AT_MOST = 500


def insert_grant(tx: Transaction, **columns: Any) -> None:
    """Store what may be signed. `serial` is a number and kept as hex text: it is longer than any integer column."""
    serial = columns.pop("serial")
    tx.connection.execute(
        insert(_certificates).values(
            serial=f"{serial:x}", status=CertificateStatus.GRANTED.value, granted_at=tx.now, **columns
        )
    )


def find_certificate(connection: Connection, certificate_id: str) -> AnyRow | None:
    """A certificate's row by id."""
    return connection.execute(select(_certificates).where(_certificates.c.id == certificate_id)).one_or_none()


def get_certificate(connection: Connection, text: str) -> AnyRow:
    """A certificate by id or serial (hex). Raises NotFoundError."""
    wanted = text.lower().replace(":", "").lstrip("0")
    row = connection.execute(
        select(_certificates).where((_certificates.c.id == text) | (_certificates.c.serial == wanted))
    ).first()
    if row is None:
        raise NotFoundError(f"there is no certificate {text!r}; `evertunnel certificate list` shows ids and serials")
    return row


def find_by_serial(connection: Connection, authority: str, serial: int) -> AnyRow | None:
    """The certificate an authority gave a serial."""
    return connection.execute(
        select(_certificates).where(
            _certificates.c.authority == str(authority), _certificates.c.serial == f"{serial:x}"
        )
    ).one_or_none()


def find_by_fingerprint(connection: Connection, fingerprint: bytes) -> AnyRow | None:
    """The certificate with a SHA-256."""
    return connection.execute(select(_certificates).where(_certificates.c.fingerprint == fingerprint)).one_or_none()


def find_valid_for_key(connection: Connection, public_key_der: bytes) -> AnyRow | None:
    """The newest valid certificate for a key."""
    return connection.execute(
        select(_certificates)
        .where(
            _certificates.c.public_key_der == public_key_der,
            _certificates.c.status == CertificateStatus.VALID.value,
        )
        .order_by(_certificates.c.not_after.desc())
        .limit(1)
    ).one_or_none()


def list_valid_for_key(connection: Connection, public_key_der: bytes) -> list[AnyRow]:
    """All valid certificates for a key."""
    return list(
        connection.execute(
            select(_certificates).where(
                _certificates.c.public_key_der == public_key_der,
                _certificates.c.status == CertificateStatus.VALID.value,
            )
        )
    )


def find_granted_for_key(connection: Connection, public_key_der: bytes, *, since: datetime) -> str | None:
    """The id of a certificate for a key that was granted after a moment and not signed yet."""
    return connection.execute(
        select(_certificates.c.id)
        .where(
            _certificates.c.public_key_der == public_key_der,
            _certificates.c.status == CertificateStatus.GRANTED.value,
            _certificates.c.granted_at > since,
        )
        .limit(1)
    ).scalar_one_or_none()


def list_certificates(
    connection: Connection,
    *,
    limit: int,
    kind: CertificateKind | None = None,
    user_id: str | None = None,
    device_id: str | None = None,
    valid_at: datetime | None = None,
) -> list[AnyRow]:
    """The newest first. What is None is not looked at; `valid_at`: neither revoked nor over by then."""
    statement = select(_certificates).order_by(_certificates.c.granted_at.desc()).limit(limit)
    named = ((_certificates.c.kind, kind), (_certificates.c.user_id, user_id), (_certificates.c.device_id, device_id))
    for column, value in named:
        if value is not None:
            statement = statement.where(column == str(value))
    if valid_at is not None:
        valid = _certificates.c.status == CertificateStatus.VALID.value
        statement = statement.where(valid, _certificates.c.not_after > valid_at)
    return list(connection.execute(statement))


def count_signed_since(connection: Connection, kind: CertificateKind, since: datetime) -> int:
    """How many of a kind were signed after a moment."""
    return connection.execute(
        select(func.count())
        .select_from(_certificates)
        .where(
            _certificates.c.kind == kind.value,
            _certificates.c.granted_at > since,
            _certificates.c.certificate_der.is_not(None),
        )
    ).scalar_one()


def store_signed(tx: Transaction, certificate_id: str, certificate_der: bytes) -> None:
    """Keep what was signed; from now on the certificate is valid. A grant that was taken back stays so."""
    tx.connection.execute(
        update(_certificates)
        .where(_certificates.c.id == certificate_id, _certificates.c.status == CertificateStatus.GRANTED.value)
        .values(
            certificate_der=certificate_der,
            fingerprint=hashlib.sha256(certificate_der).digest(),
            status=CertificateStatus.VALID.value,
        )
    )


def change_status(
    tx: Transaction, certificate_ids: Sequence[str], status: CertificateStatus, *, reason: str | None
) -> None:
    """Hold, revoke or release. Counts as a change of the revocation lists of the authorities concerned."""
    if not certificate_ids:
        return
    authorities: set[str] = set()
    for start in range(0, len(certificate_ids), _NAMED_AT_MOST):
        affected = _certificates.c.id.in_(certificate_ids[start : start + _NAMED_AT_MOST])
        authorities |= set(
            tx.connection.execute(select(_certificates.c.authority).where(affected).distinct()).scalars()
        )
        tx.connection.execute(
            update(_certificates)
            .where(affected)
            .values(
                status=status.value,
                revoked_at=None if status is CertificateStatus.VALID else tx.now,
                revocation_reason=reason,
            )
        )
    tx.connection.execute(
        update(tables.authorities)
        .where(tables.authorities.c.name.in_(authorities))
        .values(revocations=tables.authorities.c.revocations + 1)
    )


def list_in_use_of_authority(connection: Connection, authority: str, now: datetime) -> list[str]:
    """Ids of what an access authority signed or is to sign, and that has not ended or has a live session, however old.

    Two searches, each by an index: of the millions of an authority few are in use.
    """
    live = select(tables.sessions.c.certificate_id).where(tables.sessions.c.state != SessionState.ENDED.value)
    wanted = select(_certificates.c.id).where(
        _certificates.c.authority == authority, _certificates.c.status != CertificateStatus.REVOKED.value
    )
    found = [
        *connection.execute(wanted.where(_granted_lately(now), _certificates.c.not_after > now)).scalars(),
        *connection.execute(wanted.where(_certificates.c.id.in_(live))).scalars(),
    ]
    return list(dict.fromkeys(found))


def find_last_end(connection: Connection, authority: str, now: datetime) -> datetime | None:
    """When the last certificate that an access authority signed ends, if one is good still."""
    usable = (CertificateStatus.VALID.value, CertificateStatus.ON_HOLD.value)
    found = connection.execute(
        select(_certificates.c.not_after)
        .where(
            _certificates.c.authority == authority,
            _certificates.c.status.in_(usable),
            _granted_lately(now),
            _certificates.c.not_after > now,
        )
        .order_by(_certificates.c.not_after.desc())
        .limit(1)
    ).scalar_one_or_none()
    assert found is None or isinstance(found, datetime)
    return found


def move_unsigned(tx: Transaction, before: str, after: str) -> None:
    """What one access authority was to sign, another one signs."""
    tx.connection.execute(
        update(_certificates)
        .where(
            _certificates.c.authority == before,
            _certificates.c.status == CertificateStatus.GRANTED.value,
            _granted_lately(tx.now),
        )
        .values(authority=after)
    )


def _granted_lately(now: datetime) -> ColumnElement[bool]:
    """Short-lived ones that may be good still, by their index: they last an hour."""
    return (_certificates.c.kind == CertificateKind.SHORT_LIVED.value) & (
        _certificates.c.granted_at > now - timedelta(days=1)
    )


def forget_owner(tx: Transaction, column: str, subject_id: str) -> None:
    """Nobody owns these certificates any more: a user (`user_id`), device or gateway is about to be removed."""
    tx.connection.execute(update(_certificates).where(_certificates.c[column] == subject_id).values({column: None}))


def list_of_subject(connection: Connection, column: str, subject_id: str, statuses: Sequence[str]) -> list[AnyRow]:
    """Certificates of a user (`user_id`), device (`device_id`) or gateway (`gateway_id`) in one of some states."""
    return list(
        connection.execute(
            select(_certificates).where(_certificates.c[column] == subject_id, _certificates.c.status.in_(statuses))
        )
    )


def list_lasting_of_subject(
    connection: Connection, column: str, subject_id: str, statuses: Sequence[str], now: datetime
) -> list[AnyRow]:
    """Those of them that did not end more than a day ago, by whoever's clock.

    Somebody has a short-lived one an hour: to change what its date refuses would be thousands of changes to follow.
    """
    return list(
        connection.execute(
            select(_certificates).where(
                _certificates.c[column] == subject_id,
                _certificates.c.status.in_(statuses),
                _certificates.c.not_after > now - timedelta(days=1),
            )
        )
    )


def list_of_kind(connection: Connection, kind: CertificateKind) -> list[AnyRow]:
    """Signed certificates of a kind that are valid, the newest first; some may have ended."""
    return list(
        connection.execute(
            select(_certificates)
            .where(
                _certificates.c.kind == kind.value,
                _certificates.c.status == CertificateStatus.VALID.value,
                _certificates.c.certificate_der.is_not(None),
            )
            .order_by(_certificates.c.not_after.desc())
        )
    )


def list_revoked(connection: Connection, authority: str, now: datetime) -> list[AnyRow]:
    """What belongs on an authority's revocation list: held or revoked, and not ended for more than a day."""
    return list(
        connection.execute(
            select(_certificates.c.serial, _certificates.c.revoked_at, _certificates.c.revocation_reason).where(
                _certificates.c.authority == str(authority),
                _certificates.c.status.in_(_HELD),
                _certificates.c.not_after > now - timedelta(days=1),
            )
        )
    )
