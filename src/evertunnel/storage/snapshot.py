"""Everything decisions are made from, in memory, and how it follows the database from epoch to epoch."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, select

from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Device,
    Fact,
    Gateway,
    SubjectKind,
    User,
)
from evertunnel.storage import tables
from evertunnel.storage.access_authorities import list_trusted
from evertunnel.storage.authorities import read_authority
from evertunnel.storage.driver_rows import read_rows
from evertunnel.storage.gateways import read_gateway
from evertunnel.storage.own_tunnels import OWN_TUNNEL, OwnTunnels, load_own_tunnels
from evertunnel.storage.snapshot_statements import (
    CERTIFICATES,
    CERTIFICATES_IN_USE,
    DENIALS,
    DEVICE_USERS,
    DEVICES,
    FACTS,
    MEMBERS,
    USERS,
)
from evertunnel.storage.store import KEPT_EPOCHS, read_epoch
from evertunnel.storage.switches import MSCHAPV2, is_on
from evertunnel.storage.tables import decode_time

_NO_GROUPS: frozenset[str] = frozenset()

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

# Ids of what changed; None is all there is.
Ids = Collection[str] | None
_Changed = Mapping[str, Ids]
_FactsById = dict[str, dict[str, tuple[Fact, ...]]]
_Known = TypeVar("_Known")
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
    # An epoch below ours is a database put back from a copy: what came between is in no row of it.
    if snapshot.epoch == 0 or not 0 < epoch - snapshot.epoch <= KEPT_EPOCHS:
        _load_all(connection, snapshot)
        changes = _EVERYTHING
    else:
        changed = _list_changed(connection, snapshot.epoch)
        _load_changed(connection, snapshot, changed)
        if len(snapshot.certificates_by_id) > snapshot.certificates_at_most:
            _load_certificates(connection, snapshot)
        # A tunnel that came, moved or went touches nobody at once: what rests on it has a moment.
        changed.pop(OWN_TUNNEL, None)
        kinds = frozenset(changed)
        changes = Changes(
            kinds=kinds,
            ids=frozenset().union(*(ids for ids in changed.values() if ids is not None)),
            everybody=None in changed.values() or bool(kinds & {*_POLICIES, GATEWAY, SWITCH, SubjectKind.GROUP}),
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


def _list_changed(connection: Connection, since: int) -> dict[str, Ids]:
    """What changed after an epoch, by kind. Of very many only the kinds are told."""
    changes = tables.changes.c
    later = select(changes.kind).where(changes.epoch > since).distinct()
    rows = connection.execute(later.add_columns(changes.subject_id).limit(_FOLLOW_AT_MOST + 1)).all()
    if len(rows) > _FOLLOW_AT_MOST:
        return dict.fromkeys(connection.execute(later).scalars())
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row.kind].add(row.subject_id)
    return dict(found)


def _load_all(connection: Connection, snapshot: Snapshot) -> None:
    _load_certificates(connection, snapshot)
    _load_people(connection, snapshot)
    load_policies(connection, snapshot)
    _load_gateways(connection, snapshot)
    _load_access_authorities(connection, snapshot)
    _load_switches(connection, snapshot)
    follow_own_tunnels(connection, snapshot, wanted=snapshot.own_tunnels is not None, afresh=True)


def _load_certificates(connection: Connection, snapshot: Snapshot, ids: Ids = None) -> None:
    """Those in use, which drops the others: one an hour and device would fill the memory. Or those of some ids."""
    if ids is None:
        snapshot.certificates, snapshot.certificates_by_id, snapshot.certificates_by_fingerprint = {}, {}, {}
        for row in read_rows(connection, CERTIFICATES_IN_USE):
            _put_certificate(snapshot, row)
        snapshot.certificates_at_most = 2 * len(snapshot.certificates_by_id) + _CERTIFICATES_MORE
    else:
        for row in connection.execute(CERTIFICATES.where(tables.certificates.c.id.in_(ids))):
            _put_certificate(snapshot, row)


def _load_changed(connection: Connection, snapshot: Snapshot, changed: _Changed) -> None:
    if SWITCH in changed:
        _load_switches(connection, snapshot)
    if SubjectKind.GROUP in changed or SWITCH in changed:  # with the switch come and go the NT hashes
        _load_people(connection, snapshot)
    else:
        _load_subjects(connection, snapshot, changed)
    if CERTIFICATE in changed:
        _load_certificates(connection, snapshot, changed[CERTIFICATE])
    if NETWORK_POLICIES in changed or ACCESS_POLICIES in changed:
        _load_documents(connection, snapshot)
    if NAMED_LOCATIONS in changed:
        _load_locations(connection, snapshot)
    if AUTHENTICATION_STRENGTHS in changed:
        _load_strengths(connection, snapshot)
    if GATEWAY in changed:
        _load_gateways(connection, snapshot)
    if ACCESS_AUTHORITY in changed:
        _load_access_authorities(connection, snapshot)
    if snapshot.own_tunnels is not None and (OWN_TUNNEL in changed or SubjectKind.DEVICE in changed):
        _load_own_tunnels(connection, snapshot.own_tunnels, changed)


def follow_own_tunnels(connection: Connection, snapshot: Snapshot, *, wanted: bool, afresh: bool = False) -> None:
    """Begin to follow device tunnels, or end it, as policies ask for them or not."""
    if not wanted:
        snapshot.own_tunnels = None
    elif afresh or snapshot.own_tunnels is None:
        snapshot.own_tunnels = load_own_tunnels(connection)


def _load_own_tunnels(connection: Connection, known: dict[str, OwnTunnels], changed: _Changed) -> None:
    """Of the devices that changed; of all where nobody can tell which."""
    devices = [changed.get(kind, ()) for kind in (OWN_TUNNEL, SubjectKind.DEVICE)]
    ids = None if None in devices else {each for some in devices if some is not None for each in some}
    found = load_own_tunnels(connection, ids)
    for device_id in list(known) if ids is None else ids:
        known.pop(device_id, None)
    known |= found


def _load_people(connection: Connection, snapshot: Snapshot) -> None:
    snapshot.parents = defaultdict(set)
    for member_id, group_id in read_rows(connection, MEMBERS):
        snapshot.parents[member_id].add(group_id)
    _load_subjects(connection, snapshot, {SubjectKind.USER: None, SubjectKind.DEVICE: None})


def _load_subjects(connection: Connection, snapshot: Snapshot, changed: _Changed) -> None:
    """Users and devices that changed, and what is said of them; groups did not."""
    found = [changed[kind] for kind in (SubjectKind.USER, SubjectKind.DEVICE) if kind in changed]
    if not found:
        return
    if SubjectKind.USER in changed:
        ids = changed[SubjectKind.USER]
        _load_users(connection, snapshot, ids)
        snapshot.user_facts = _load_facts(connection, snapshot.user_facts, SubjectKind.USER, ids)
    if SubjectKind.DEVICE in changed:
        ids = changed[SubjectKind.DEVICE]
        _load_devices(connection, snapshot, ids)
        snapshot.device_facts = _load_facts(connection, snapshot.device_facts, SubjectKind.DEVICE, ids)
    ids = None if None in found else {each for some in found if some is not None for each in some}
    _load_denials(connection, snapshot, ids)


def _load_users(connection: Connection, snapshot: Snapshot, ids: Ids) -> None:
    users, nt_hashes = _keep(snapshot.users, ids), _keep(snapshot.nt_hashes, ids)
    rows = _read(connection, USERS, tables.users.c.id, ids)
    for user_id, name, enabled, nt_hash_sealed, password_expired in rows:
        users[user_id] = User(user_id, name, bool(enabled), _find_groups(snapshot, user_id))
        if nt_hash_sealed is not None:
            nt_hashes[user_id] = bytes(nt_hash_sealed), bool(password_expired)
    snapshot.users, snapshot.nt_hashes = users, nt_hashes


def _load_devices(connection: Connection, snapshot: Snapshot, ids: Ids) -> None:
    devices = _keep(snapshot.devices, ids)
    users: dict[str, set[str]] = defaultdict(set)
    for device_id, user_id in _read(connection, DEVICE_USERS, tables.device_users.c.device_id, ids):
        users[device_id].add(user_id)
    for device_id, name, enabled in _read(connection, DEVICES, tables.devices.c.id, ids):
        groups, assigned = _find_groups(snapshot, device_id), frozenset(users.get(device_id, ()))
        devices[device_id] = Device(device_id, name, bool(enabled), groups, assigned)
    snapshot.devices = devices


def _load_denials(connection: Connection, snapshot: Snapshot, ids: Ids) -> None:
    denials = _keep(snapshot.denials, ids)
    for subject_id, reason, until in _read(connection, DENIALS, tables.denials.c.subject_id, ids):
        denial = StandingDenial(reason, None if until is None else decode_time(until))
        denials.setdefault(subject_id, []).append(denial)
    snapshot.denials = denials


def _load_facts(connection: Connection, facts: _FactsById, kind: SubjectKind, ids: Ids) -> _FactsById:
    facts = _keep(facts, ids)
    rows = _read(connection, FACTS[kind], tables.facts.c.subject_id, ids)
    for subject_id, name, value, source, observed_at, expires_at, detail in rows:
        ends = None if expires_at is None else decode_time(expires_at)
        known = facts.setdefault(subject_id, {})
        known[name] = (*known.get(name, ()), Fact(name, value, source, decode_time(observed_at), ends, detail))
    return facts


def _read(
    connection: Connection, statement: Select[Any], column: ColumnElement[str], ids: Ids
) -> Iterable[tuple[Any, ...]]:
    """Rows as the driver has them: all of a statement, or those in which a column is one of some ids."""
    if ids is None:
        return read_rows(connection, statement)
    return connection.execute(statement.where(column.in_(ids)))


def _keep(known: dict[str, _Known], ids: Ids) -> dict[str, _Known]:
    """Where to put what is read: beside what did not change, or into something new."""
    if ids is None:
        return {}
    for each in ids:
        known.pop(each, None)
    return known


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


def _put_certificate(snapshot: Snapshot, row: tuple[Any, ...]) -> None:
    (
        certificate_id, name, number, kind, status, not_after, fingerprint, user_id, device_id, gateway_id, methods,
        signed_in_at,
    ) = row  # fmt: skip
    authority, serial = read_authority(name), int(number, 16)
    certificate = Certificate(
        certificate_id,
        authority,
        serial,
        CertificateKind(kind),
        CertificateStatus(status),
        decode_time(not_after),
        user_id,
        device_id,
        gateway_id,
        _split(methods),
        None if signed_in_at is None else decode_time(signed_in_at),
    )
    snapshot.certificates[authority, serial] = certificate
    snapshot.certificates_by_id[certificate_id] = certificate
    if fingerprint is not None:
        snapshot.certificates_by_fingerprint[bytes(fingerprint)] = certificate


@lru_cache(maxsize=64)
def _split(methods: str) -> tuple[str, ...]:
    """One tuple for all certificates that have the same: every worker holds every certificate."""
    return tuple(methods.split())


def _find_groups(snapshot: Snapshot, member_id: str) -> frozenset[str]:
    """Groups of a member and the groups those are in; a ring of groups ends where it was entered."""
    if member_id not in snapshot.parents:
        return _NO_GROUPS
    found: set[str] = set()
    waiting = list(snapshot.parents.get(member_id, ()))
    while waiting:
        group_id = waiting.pop()
        if group_id not in found:
            found.add(group_id)
            waiting.extend(snapshot.parents.get(group_id, ()))
    return frozenset(found)
