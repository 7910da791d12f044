"""Create, save and remove profiles. A profile that says the same as before gets no new version."""

from dataclasses import replace
from datetime import datetime

from evertunnel.actions.describe_offer import describe_offer
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.document import decode_document, encode_document
from evertunnel.profiles.model import Profile
from evertunnel.profiles.offer import build_profile
from evertunnel.profiles.verify import verify_profile
from evertunnel.storage import gateways, profiles
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow


def create_profile(
    store: Store,
    name: str,
    *,
    tunnel: TunnelKind,
    gateway: str,
    suffixes: tuple[str, ...],
    long_lived: bool,
    suite: str,
    actor: str,
    now: datetime,
) -> Profile:
    """From a gateway's own configuration. Raises NotFoundError, AlreadyExistsError, InvalidInputError."""
    with store.write(now) as tx:
        if profiles.find_profile(tx.connection, name) is not None:
            raise AlreadyExistsError(f"there is a profile {name!r} already")
        offer = describe_offer(tx.connection, gateway)
        profile = build_profile(offer, name, tunnel, suffixes=suffixes, long_lived=long_lived, suite=suite)
        row = gateways.get_gateway(tx.connection, gateway)
        return _store(tx, profile, gateway_id=row.id, actor=actor)


def save_profile(store: Store, profile: Profile, *, gateway: str | None, actor: str, now: datetime) -> Profile:
    """Keep a profile as a new version, or as a new one. Raises InvalidInputError, NotFoundError."""
    if profile.l2tp_preshared_key:
        raise InvalidInputError("l2tp_preshared_key: a secret is not kept in profiles; remove it")
    with store.write(now) as tx:
        gateway_id = gateways.get_gateway(tx.connection, gateway).id if gateway else None
        return _store(tx, profile, gateway_id=gateway_id, actor=actor)


def remove_profile(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """With all its versions; clients keep what they have. Raises NotFoundError."""
    with store.write(now) as tx:
        row = profiles.get_profile(tx.connection, name)
        profiles.delete_profile(tx, row.id)
        tx.record(AuditEntry(Audit.PROFILE_REMOVE, actor, row.name, row.id, {"version": row.version}))


def load_profile(row: AnyRow) -> Profile:
    """The profile of a stored version."""
    return replace(decode_document(row.document).profile, version=row.version)


def _store(tx: Transaction, profile: Profile, *, gateway_id: str | None, actor: str) -> Profile:
    verify_profile(profile)
    row = profiles.find_profile(tx.connection, profile.name)
    profile_id = profiles.insert_profile(tx, profile.name, gateway_id) if row is None else row.id
    version = 0 if row is None else row.version
    if version:
        before = load_profile(profiles.get_version(tx.connection, profile_id, version))
        if before == replace(profile, version=version):
            return before
    saved = replace(profile, version=version + 1)
    profiles.insert_version(tx, profile_id, version + 1, encode_document(saved), actor=actor)
    tx.record(AuditEntry(Audit.PROFILE_SAVE, actor, profile.name, profile_id, {"version": version + 1}))
    return saved
