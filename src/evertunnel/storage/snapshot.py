"""Everything decisions are made from, in memory, and how it follows the database from epoch to epoch."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, func, select, type_coerce

from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Device,
    Fact,
    Gateway,
    SessionState,
    SubjectKind,
    User,
)
from evertunnel.storage import tables
from evertunnel.storage.access_authorities import list_trusted
from evertunnel.storage.authorities import read_authority
from evertunnel.storage.facts import read_fact
from evertunnel.storage.gateways import read_gateway
from evertunnel.storage.own_tunnels import OWN_TUNNEL, OwnTunnels, load_own_tunnels
from evertunnel.storage.store import KEPT_EPOCHS, read_epoch
from evertunnel.storage.switches import MSCHAPV2, is_on
from evertunnel.storage.tables import AnyRow

_DAY_MICROSECONDS = 24 * 3600 * 1_000_000

# Further behind than this, reading everything afresh is cheaper than following.
_FOLLOW_AT_MOST = 500
_CERTIFICATES_MORE = 5_000

NETWORK_POLICIES = "network policies"
ACCESS_POLICIES = "access policies"
NAMED_LOCATIONS = "named locations"
AUTHENTICATION_STRENGTHS = "authentication strengths"
CERTIFICATE = "certificate"
GATEWAY = "gateway"
ACCESS_AUTHORITY = "access authority"
SWITCH = "switch"


# A policy as it is stored: its name, its document, and what texts in that mean here.
StoredAccessPolicy = tuple[str, Mapping[str, Any], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class StandingDenial:
    """A denial that was not lifted."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class SealedGateway:
    """A gateway's secrets, still encrypted: only the process that needs one opens it."""

    radius_secret: bytes
    gate_path: bytes
    previous_secret: bytes | None = None


@dataclass(slots=True)
class Snapshot:
    """The state of one epoch. `network` and `access` hold policies as stored: name, document, resolved names.

    `locations` and `strengths` hold the documents that policies name, by id. `own_tunnels` is None while nobody asks
    for tunnels of devices, which change often.
    """

    epoch: int = 0
    users: dict[str, User] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    certificates: dict[tuple[Authority, int], Certificate] = field(default_factory=dict)
    certificates_by_id: dict[str, Certificate] = field(default_factory=dict)
    certificates_by_fingerprint: dict[bytes, Certificate] = field(default_factory=dict)
    denials: dict[str, list[StandingDenial]] = field(default_factory=dict)
    device_facts: dict[str, dict[str, tuple[Fact, ...]]] = field(default_factory=dict)
    user_facts: dict[str, dict[str, tuple[Fact, ...]]] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    sealed: dict[str, SealedGateway] = field(default_factory=dict)
    network: list[tuple[str, Any]] = field(default_factory=list)
    access: list[StoredAccessPolicy] = field(default_factory=list)
    locations: dict[str, Any] = field(default_factory=dict)
    strengths: dict[str, Any] = field(default_factory=dict)
    parents: dict[str, set[str]] = field(default_factory=dict)
    own_tunnels: dict[str, OwnTunnels] | None = None
    # The certificates of the access authorities that are trusted, in DER.
    access_authorities: tuple[bytes, ...] = ()
    # By user id, and whether the password has to be changed.
    nt_hashes: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    mschapv2: bool = False
    # How many certificates there may be before those that ended are looked for.
    certificates_at_most: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from the epoch before. `everybody`: more than the subjects of `ids` may be decided otherwise."""

    kinds: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    everybody: bool = False

    def join(self, later: "Changes") -> "Changes":
        """Both together."""
        if not later.kinds:
            return self
        return Changes(self.kinds | later.kinds, self.ids | later.ids, self.everybody or later.everybody)


_NOTHING = Changes()
_POLICIES = frozenset({NETWORK_POLICIES, ACCESS_POLICIES, NAMED_LOCATIONS, AUTHENTICATION_STRENGTHS})
_EVERYTHING = Changes(_POLICIES | {GATEWAY, CERTIFICATE, ACCESS_AUTHORITY, SWITCH, *SubjectKind}, everybody=True)


def follow(connection: Connection, snapshot: Snapshot, *, epoch: int | None = None) -> Changes:
    """Bring a snapshot to this transaction's epoch and say what changed. A writing transaction knows its `epoch`."""
    if epoch is None:
        epoch = read_epoch(connection)
    if epoch == snapshot.epoch:
        return _NOTHING
    behind = epoch - snapshot.epoch
    rows = connection.execute(
        select(tables.changes.c.kind, tables.changes.c.subject_id)
        .where(tables.changes.c.epoch > snapshot.epoch)
        .distinct()
        .limit(_FOLLOW_AT_MOST + 1)
    ).all()
    # An epoch below ours is a database put back from a copy: what came between is in no row of it.
    if snapshot.epoch == 0 or not 0 < behind <= KEPT_EPOCHS or len(rows) > _FOLLOW_AT_MOST:
        _load_all(connection, snapshot)
        changes = _EVERYTHING
    else:
        _load_changed(connection, snapshot, rows)
        if len(snapshot.certificates_by_id) > snapshot.certificates_at_most:
            _load_certificates(connection, snapshot)
        # A tunnel that came, moved or went touches nobody at once: what rests on it has a moment.
        kinds = frozenset(row.kind for row in rows) - {OWN_TUNNEL}
        changes = Changes(
            kinds=kinds,
            ids=frozenset(row.subject_id for row in rows if row.kind != OWN_TUNNEL),
            everybody=bool(kinds & {*_POLICIES, GATEWAY, SWITCH, SubjectKind.GROUP}),
        )
    snapshot.epoch = epoch
    return changes


def has_changed(connection: Connection, kinds: Collection[str], *, since: int) -> bool:
    """Whether anything of some kinds changed after an epoch, or that cannot be told any more."""
    behind = read_epoch(connection) - since
    if not 0 <= behind <= KEPT_EPOCHS:
        return True
    changed = select(tables.changes.c.epoch).where(tables.changes.c.epoch > since, tables.changes.c.kind.in_(kinds))
    return behind > 0 and connection.execute(changed.limit(1)).first() is not None


def _load_all(connection: Connection, snapshot: Snapshot) -> None:
    _load_certificates(connection, snapshot)
    _load_people(connection, snapshot)
    load_policies(connection, snapshot)
    _load_gateways(connection, snapshot)
    _load_access_authorities(connection, snapshot)
    _load_switches(connection, snapshot)
    follow_own_tunnels(connection, snapshot, wanted=snapshot.own_tunnels is not None, afresh=True)


def _load_certificates(connection: Connection, snapshot: Snapshot) -> None:
    """Those in use, which drops the others: one an hour and device would fill the memory."""
    snapshot.certificates, snapshot.certificates_by_id, snapshot.certificates_by_fingerprint = {}, {}, {}
    for row in connection.execute(_select_certificates_in_use()):
        _put_certificate(snapshot, row)
    snapshot.certificates_at_most = 2 * len(snapshot.certificates_by_id) + _CERTIFICATES_MORE


def _load_changed(connection: Connection, snapshot: Snapshot, rows: Iterable[AnyRow]) -> None:
    ids: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        ids[row.kind].add(row.subject_id)
    if ids.get(SubjectKind.GROUP):
        _load_people(connection, snapshot)
    else:
        for user_id in ids.get(SubjectKind.USER, ()):
            _load_users(connection, snapshot, user_id)
            _load_denials(connection, snapshot, user_id)
            _load_facts(connection, snapshot.user_facts, SubjectKind.USER, user_id)
        for device_id in ids.get(SubjectKind.DEVICE, ()):
            _load_devices(connection, snapshot, device_id)
            _load_denials(connection, snapshot, device_id)
            _load_facts(connection, snapshot.device_facts, SubjectKind.DEVICE, device_id)
    for certificate_id in ids.get(CERTIFICATE, ()):
        for row in connection.execute(select(*_CERTIFICATE_COLUMNS).where(tables.certificates.c.id == certificate_id)):
            _put_certificate(snapshot, row)
    if NETWORK_POLICIES in ids or ACCESS_POLICIES in ids:
        _load_documents(connection, snapshot)
    if NAMED_LOCATIONS in ids:
        _load_locations(connection, snapshot)
    if AUTHENTICATION_STRENGTHS in ids:
        _load_strengths(connection, snapshot)
    if GATEWAY in ids:
        _load_gateways(connection, snapshot)
    if SWITCH in ids:
        _load_switches(connection, snapshot)
        _load_people(connection, snapshot)  # with it come and go the NT hashes
    if ACCESS_AUTHORITY in ids:
        _load_access_authorities(connection, snapshot)
    if (
        devices := ids.get(OWN_TUNNEL, set()) | ids.get(SubjectKind.DEVICE, set())
    ) and snapshot.own_tunnels is not None:
        found = load_own_tunnels(connection, devices)
        for device_id in devices:
            snapshot.own_tunnels.pop(device_id, None)
        snapshot.own_tunnels |= found


def follow_own_tunnels(connection: Connection, snapshot: Snapshot, *, wanted: bool, afresh: bool = False) -> None:
    """Begin to follow device tunnels, or end it, as policies ask for them or not."""
    if not wanted:
        snapshot.own_tunnels = None
    elif afresh or snapshot.own_tunnels is None:
        snapshot.own_tunnels = load_own_tunnels(connection)


def _load_people(connection: Connection, snapshot: Snapshot) -> None:
    snapshot.parents = defaultdict(set)
    for row in connection.execute(select(tables.group_members)):
        snapshot.parents[row.member_id].add(row.group_id)
    snapshot.users, snapshot.devices, snapshot.nt_hashes = {}, {}, {}
    snapshot.denials, snapshot.device_facts, snapshot.user_facts = {}, {}, {}
    _load_users(connection, snapshot)
    _load_devices(connection, snapshot)
    _load_denials(connection, snapshot)
    _load_facts(connection, snapshot.device_facts, SubjectKind.DEVICE)
    _load_facts(connection, snapshot.user_facts, SubjectKind.USER)


def _load_users(connection: Connection, snapshot: Snapshot, user_id: str | None = None) -> None:
    users = tables.users.c
    statement = select(users.id, users.name, users.enabled, users.nt_hash_sealed, users.password_expired)
    if user_id is not None:
        snapshot.users.pop(user_id, None)
        snapshot.nt_hashes.pop(user_id, None)
        statement = statement.where(tables.users.c.id == user_id)
    for row in connection.execute(statement):
        snapshot.users[row.id] = User(row.id, row.name, row.enabled, _find_groups(snapshot, row.id))
        if row.nt_hash_sealed is not None:
            snapshot.nt_hashes[row.id] = bytes(row.nt_hash_sealed), row.password_expired


def _load_devices(connection: Connection, snapshot: Snapshot, device_id: str | None = None) -> None:
    statement = select(tables.devices.c.id, tables.devices.c.name, tables.devices.c.enabled)
    assigned = select(tables.device_users)
    if device_id is not None:
        snapshot.devices.pop(device_id, None)
        statement = statement.where(tables.devices.c.id == device_id)
        assigned = assigned.where(tables.device_users.c.device_id == device_id)
    users: dict[str, set[str]] = defaultdict(set)
    for row in connection.execute(assigned):
        users[row.device_id].add(row.user_id)
    for row in connection.execute(statement):
        groups = _find_groups(snapshot, row.id)
        snapshot.devices[row.id] = Device(row.id, row.name, row.enabled, groups, frozenset(users[row.id]))


def _load_denials(connection: Connection, snapshot: Snapshot, subject_id: str | None = None) -> None:
    statement = select(tables.denials.c.subject_id, tables.denials.c.reason, tables.denials.c.until).where(
        tables.denials.c.lifted_at.is_(None)
    )
    if subject_id is not None:
        snapshot.denials.pop(subject_id, None)
        statement = statement.where(tables.denials.c.subject_id == subject_id)
    # The same order however they were read: PostgreSQL has none of its own.
    for row in connection.execute(statement.order_by(tables.denials.c.denied_at, tables.denials.c.id)):
        snapshot.denials.setdefault(row.subject_id, []).append(StandingDenial(row.reason, row.until))


def _load_facts(
    connection: Connection,
    facts: dict[str, dict[str, tuple[Fact, ...]]],
    kind: SubjectKind,
    subject_id: str | None = None,
) -> None:
    statement = select(tables.facts).where(tables.facts.c.subject_kind == kind.value)
    if subject_id is not None:
        facts.pop(subject_id, None)
        statement = statement.where(tables.facts.c.subject_id == subject_id)
    for row in connection.execute(statement.order_by(tables.facts.c.name, tables.facts.c.source)):
        known = facts.setdefault(row.subject_id, {})
        known[row.name] = (*known.get(row.name, ()), read_fact(row))


def load_policies(connection: Connection, snapshot: Snapshot) -> None:
    """Policies alone, with the locations and strengths they name."""
    _load_documents(connection, snapshot)
    _load_locations(connection, snapshot)
    _load_strengths(connection, snapshot)


def _load_documents(connection: Connection, snapshot: Snapshot) -> None:
    network = select(tables.network_policies).order_by(tables.network_policies.c.position)
    snapshot.network = [(row.name, row.document) for row in connection.execute(network)]
    access = select(tables.access_policies).order_by(tables.access_policies.c.name)
    snapshot.access = [(row.name, row.document, row.resolved) for row in connection.execute(access)]


def _load_locations(connection: Connection, snapshot: Snapshot) -> None:
    rows = connection.execute(select(tables.named_locations).order_by(tables.named_locations.c.name_key))
    snapshot.locations = {row.id: row.document for row in rows}


def _load_strengths(connection: Connection, snapshot: Snapshot) -> None:
    table = tables.authentication_strengths
    snapshot.strengths = {row.id: row.document for row in connection.execute(select(table).order_by(table.c.name_key))}


def _load_gateways(connection: Connection, snapshot: Snapshot) -> None:
    gateways, sealed = {}, {}
    for row in connection.execute(select(tables.gateways)):
        gateways[row.id] = read_gateway(row)
        sealed[row.id] = SealedGateway(row.radius_secret_sealed, row.gate_path_sealed, row.previous_secret_sealed)
    snapshot.gateways, snapshot.sealed = gateways, sealed


def _load_switches(connection: Connection, snapshot: Snapshot) -> None:
    snapshot.mschapv2 = is_on(connection, MSCHAPV2)


def _load_access_authorities(connection: Connection, snapshot: Snapshot) -> None:
    snapshot.access_authorities = tuple(bytes(row.certificate_der) for row in list_trusted(connection))


_CERTIFICATE_COLUMNS = (
    tables.certificates.c.id,
    tables.certificates.c.authority,
    tables.certificates.c.serial,
    tables.certificates.c.kind,
    tables.certificates.c.status,
    tables.certificates.c.not_after,
    tables.certificates.c.fingerprint,
    tables.certificates.c.user_id,
    tables.certificates.c.device_id,
    tables.certificates.c.gateway_id,
    tables.certificates.c.methods,
    tables.certificates.c.signed_in_at,
)


def _select_certificates_in_use() -> Select[Any]:
    """Certificates that may still matter: not ended for more than a day, or with a live session, however old.

    Short-lived ones come by the thousand; what ended long ago is refused by its date alone.
    """
    certificates = tables.certificates.c
    newest = select(func.max(certificates.granted_at, type_=BigInteger)).scalar_subquery()
    in_use = select(tables.sessions.c.certificate_id).where(tables.sessions.c.state != SessionState.ENDED.value)
    return select(*_CERTIFICATE_COLUMNS).where(
        (type_coerce(certificates.not_after, BigInteger) > newest - _DAY_MICROSECONDS) | certificates.id.in_(in_use)
    )


def _put_certificate(snapshot: Snapshot, row: AnyRow) -> None:
    authority, serial = read_authority(row.authority), int(row.serial, 16)
    certificate = Certificate(
        row.id,
        authority,
        serial,
        CertificateKind(row.kind),
        CertificateStatus(row.status),
        row.not_after,
        row.user_id,
        row.device_id,
        row.gateway_id,
        _split(row.methods),
        row.signed_in_at,
    )
    snapshot.certificates[authority, serial] = certificate
    snapshot.certificates_by_id[row.id] = certificate
    if row.fingerprint is not None:
        snapshot.certificates_by_fingerprint[row.fingerprint] = certificate


@lru_cache(maxsize=64)
def _split(methods: str) -> tuple[str, ...]:
    """One tuple for all certificates that have the same: every worker holds every certificate."""
    return tuple(methods.split())


def _find_groups(snapshot: Snapshot, member_id: str) -> frozenset[str]:
    """Groups of a member and the groups those are in; a ring of groups ends where it was entered."""
    found: set[str] = set()
    waiting = list(snapshot.parents.get(member_id, ()))
    while waiting:
        group_id = waiting.pop()
        if group_id not in found:
            found.add(group_id)
            waiting.extend(snapshot.parents.get(group_id, ()))
    return frozenset(found)
