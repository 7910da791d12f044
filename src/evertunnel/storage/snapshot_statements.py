"""What the snapshot reads of people, devices and certificates. Values come as the driver has them.

There may be tens of thousands of each: they are read by their place in a row (driver_rows).
"""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, select, type_coerce

from evertunnel.model import SessionState, SubjectKind
from evertunnel.storage import tables

_DAY_MICROSECONDS = 24 * 3600 * 1_000_000


def _raw(column: ColumnElement[Any]) -> ColumnElement[int]:
    """A time or a boolean as the driver has it."""
    return type_coerce(column, BigInteger)


def _select_certificates() -> Select[Any]:
    names = ("id", "authority", "serial", "kind", "status", "not_after", "fingerprint", "user_id", "device_id",
             "gateway_id", "methods", "signed_in_at")  # fmt: skip
    columns = tables.certificates.c
    return select(*(_raw(columns[name]) if name.endswith(("_at", "_after")) else columns[name] for name in names))


def _select_in_use() -> Select[Any]:
    """Certificates that may still matter: not ended for more than a day, or with a live session, however old.

    Short-lived ones come by the thousand; what ended long ago is refused by its date alone.
    """
    certificates = tables.certificates.c
    newest = select(func.max(certificates.granted_at, type_=BigInteger)).scalar_subquery()
    in_use = select(tables.sessions.c.certificate_id).where(tables.sessions.c.state != SessionState.ENDED.value)
    return CERTIFICATES.where((_raw(certificates.not_after) > newest - _DAY_MICROSECONDS) | certificates.id.in_(in_use))


def _select_facts(kind: SubjectKind) -> Select[Any]:
    facts = tables.facts.c
    seen, ends = _raw(facts.observed_at), _raw(facts.expires_at)
    return (
        select(facts.subject_id, facts.name, facts.value, facts.source, seen, ends, facts.detail)
        .where(facts.subject_kind == kind.value)
        .order_by(facts.subject_id, facts.name, facts.source)
    )


CERTIFICATES = _select_certificates()
CERTIFICATES_IN_USE = _select_in_use()
MEMBERS = select(tables.group_members.c.member_id, tables.group_members.c.group_id)
USERS = select(
    tables.users.c.id,
    tables.users.c.name,
    _raw(tables.users.c.enabled),
    tables.users.c.nt_hash_sealed,
    _raw(tables.users.c.password_expired),
)
DEVICES = select(tables.devices.c.id, tables.devices.c.name, _raw(tables.devices.c.enabled))
DEVICE_USERS = select(tables.device_users.c.device_id, tables.device_users.c.user_id)
# The same order however they were read: PostgreSQL has none of its own.
DENIALS = (
    select(tables.denials.c.subject_id, tables.denials.c.reason, _raw(tables.denials.c.until))
    .where(tables.denials.c.lifted_at.is_(None))
    .order_by(tables.denials.c.denied_at, tables.denials.c.id)
)
FACTS = {kind: _select_facts(kind) for kind in (SubjectKind.USER, SubjectKind.DEVICE)}
