"""Self-tests of policies, and those they name as they are on record."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from evertunnel.model import Device, Gateway, User
from evertunnel.storage import tables
from evertunnel.storage.store import Transaction
from evertunnel.storage.tables import AnyRow

# A kind of change of its own: who read the tests before it reads them again.
POLICY_TESTS = "policy tests"
# A statement has room for only so many.
_AT_ONCE = 500
_tests = tables.policy_tests


def list_policy_tests(connection: Connection) -> list[AnyRow]:
    """All, by name."""
    return list(connection.execute(select(_tests).order_by(_tests.c.name_key)))


def find_policy_test(connection: Connection, name: str) -> AnyRow | None:
    """One by id, else by name in any case."""
    by_id = _tests.c.id == name
    statement = select(_tests).where(by_id | (_tests.c.name_key == name.casefold())).order_by(by_id.desc())
    return connection.execute(statement).first()


def count_policy_tests(connection: Connection) -> int:
    """How many there are."""
    return connection.execute(select(func.count()).select_from(_tests)).scalar_one()


def store_policy_test(
    tx: Transaction, test_id: str, document: Mapping[str, Any], resolved: Mapping[str, str], *, is_new: bool
) -> None:
    """Add a test, or put another in its place."""
    name = str(document["name"])
    values = {
        "name": name,
        "name_key": name.casefold(),
        "document": dict(document),
        "resolved": dict(resolved),
        "changed_at": tx.now,
    }
    statement = insert(_tests).values(id=test_id) if is_new else update(_tests).where(_tests.c.id == test_id)
    tx.connection.execute(statement.values(**values))
    tx.raise_epoch(POLICY_TESTS, test_id)


def delete_policy_test(tx: Transaction, test_id: str) -> None:
    """Remove a test."""
    tx.connection.execute(delete(_tests).where(_tests.c.id == test_id))
    tx.raise_epoch(POLICY_TESTS, test_id)


def load_users(connection: Connection, user_ids: Collection[str]) -> dict[str, User]:
    """Users by id with all their groups, switched on; those that are not there are left out."""
    groups = _find_groups(connection, user_ids)
    users = tables.users
    return {
        row.id: User(row.id, row.name, groups=groups[row.id])
        for part in _split(user_ids)
        for row in connection.execute(select(users.c.id, users.c.name).where(users.c.id.in_(part)))
    }


def load_devices(connection: Connection, device_ids: Collection[str]) -> dict[str, Device]:
    """Devices by id with all their groups and users, switched on."""
    groups = _find_groups(connection, device_ids)
    devices, assigned = tables.devices, tables.device_users
    users: dict[str, set[str]] = defaultdict(set)
    for part in _split(device_ids):
        for row in connection.execute(select(assigned).where(assigned.c.device_id.in_(part))):
            users[row.device_id].add(row.user_id)
    return {
        row.id: Device(row.id, row.name, groups=groups[row.id], users=frozenset(users[row.id]))
        for part in _split(device_ids)
        for row in connection.execute(select(devices.c.id, devices.c.name).where(devices.c.id.in_(part)))
    }


def load_gateways(connection: Connection, gateway_ids: Collection[str]) -> dict[str, Gateway]:
    """Gateways by id, switched on."""
    gateways = tables.gateways
    return {
        row.id: Gateway(row.id, row.name, row.radius_address)
        for part in _split(gateway_ids)
        for row in connection.execute(select(gateways).where(gateways.c.id.in_(part)))
    }


def _find_groups(connection: Connection, member_ids: Collection[str]) -> Mapping[str, frozenset[str]]:
    """The groups of each and the groups those are in: a few, where all memberships may be very many."""
    parents: dict[str, set[str]] = defaultdict(set)
    members = tables.group_members
    waiting = set(member_ids)
    while waiting:
        found: set[str] = set()
        for part in _split(waiting):
            for row in connection.execute(select(members).where(members.c.member_id.in_(part))):
                parents[row.member_id].add(row.group_id)
                found.add(row.group_id)
        waiting = found - parents.keys()
    return {member_id: _reach(parents, member_id) for member_id in member_ids}


def _reach(parents: Mapping[str, Collection[str]], member_id: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(parents.get(member_id, ()))
    while waiting:
        group_id = waiting.pop()
        if group_id not in found:
            found.add(group_id)
            waiting.extend(parents.get(group_id, ()))
    return frozenset(found)


def _split(ids: Collection[str]) -> Iterator[list[str]]:
    every = sorted(ids)
    return (every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE))
