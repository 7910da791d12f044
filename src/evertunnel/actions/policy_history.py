"""The history of policies, which is the audit: it holds who, when and every document, and nothing of it is ever lost.

Versions are counted from 1 for each kind and name; what was removed and came back under its name goes on counting.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Connection, select

from evertunnel.audit import Audit
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.storage import tables
from evertunnel.storage.tables import AnyRow

_audit = tables.audit
# A statement has room for only so many, and documents are large.
_AT_ONCE = 50


class PolicyKind(StrEnum):
    """What has a history. The value is the word of the command line."""

    ACCESS = "access"
    NETWORK = "network"
    LOCATION = "location"
    STRENGTH = "strength"
    COMPLIANCE = "compliance"
    TEST = "test"

    @property
    def words(self) -> str:
        """What it is called in texts."""
        return _WORDS[self]


_WORDS = {
    PolicyKind.ACCESS: "conditional access policy",
    PolicyKind.NETWORK: "network policy",
    PolicyKind.LOCATION: "named location",
    PolicyKind.STRENGTH: "authentication strength",
    PolicyKind.COMPLIANCE: "compliance policy",
    PolicyKind.TEST: "policy test",
}
_KINDS = {
    Audit.ACCESS_POLICY_IMPORT: PolicyKind.ACCESS,
    Audit.ACCESS_POLICY_CHANGE: PolicyKind.ACCESS,
    Audit.ACCESS_POLICY_REMOVE: PolicyKind.ACCESS,
    Audit.NETWORK_POLICY_ADD: PolicyKind.NETWORK,
    Audit.NETWORK_POLICY_CHANGE: PolicyKind.NETWORK,
    Audit.NETWORK_POLICY_REMOVE: PolicyKind.NETWORK,
    Audit.LOCATION_ADD: PolicyKind.LOCATION,
    Audit.LOCATION_CHANGE: PolicyKind.LOCATION,
    Audit.LOCATION_REMOVE: PolicyKind.LOCATION,
    Audit.STRENGTH_ADD: PolicyKind.STRENGTH,
    Audit.STRENGTH_CHANGE: PolicyKind.STRENGTH,
    Audit.STRENGTH_REMOVE: PolicyKind.STRENGTH,
    Audit.COMPLIANCE_POLICY_IMPORT: PolicyKind.COMPLIANCE,
    Audit.COMPLIANCE_POLICY_REMOVE: PolicyKind.COMPLIANCE,
    Audit.POLICY_TEST_ADD: PolicyKind.TEST,
    Audit.POLICY_TEST_CHANGE: PolicyKind.TEST,
    Audit.POLICY_TEST_REMOVE: PolicyKind.TEST,
}
_STATES = {"enabled": "on", "disabled": "off", "enabledForReportingButNotEnforced": "report-only"}


@dataclass(frozen=True, slots=True)
class Version:
    """One change of one policy. `object_id` is whose it was; `entry_id` is that of the audit."""

    kind: PolicyKind
    name: str
    number: int
    at: datetime
    actor: str
    audit: Audit
    object_id: str
    entry_id: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a version left behind: None for a removed one. `resolved` None was not recorded, by older versions of us.

    `position` is the place of a network policy, also where it was when it was removed.
    """

    document: Mapping[str, Any] | None = None
    resolved: Mapping[str, str] | None = None
    position: int | None = None


def list_versions(connection: Connection, kind: PolicyKind | None = None) -> list[Version]:
    """Every change of every policy, the oldest first."""
    names = [audit.value for audit, each in _KINDS.items() if kind in (None, each)]
    columns = (_audit.c.id, _audit.c.at, _audit.c.name, _audit.c.actor, _audit.c.subject, _audit.c.subject_id)
    rows = connection.execute(
        select(*columns).where(_audit.c.name.in_(names)).order_by(_audit.c.batch, _audit.c.at, _audit.c.id)
    )
    counts: dict[tuple[PolicyKind, str], int] = defaultdict(int)
    return [_read_version(row, counts) for row in rows]


def get_line(connection: Connection, name: str, kind: PolicyKind | None = None) -> list[Version]:
    """All versions of one policy. Raises NotFoundError; InvalidInputError for a name that several kinds have."""
    found = [each for each in list_versions(connection, kind) if _fold(each.kind, each.name) == _fold(each.kind, name)]
    kinds = sorted({each.kind for each in found})
    if not found:
        what = "policy" if kind is None else kind.words
        raise NotFoundError(
            f"there is and was no {what} {name[:100]!r}; `evertunnel policy history` shows every change"
        )
    if len(kinds) > 1:
        words = ", ".join(each.words for each in kinds)
        choices = " or ".join(f"--kind {each.value}" for each in kinds)
        raise InvalidInputError(f"{name[:100]!r} is the name of several things ({words}): say which with {choices}")
    return found


def get_version(line: Sequence[Version], number: int) -> Version:
    """One version of a policy. Raises NotFoundError."""
    if not 1 <= number <= len(line):
        raise NotFoundError(f"{line[0].name!r} has no version {number}: there are 1 to {len(line)}")
    return line[number - 1]


def read_contents(connection: Connection, line: Sequence[Version], numbers: Collection[int]) -> dict[int, Content]:
    """What versions of a policy left behind, by number. Older entries say of a switch only what it was set to."""
    found: dict[int, Content] = {}
    content = Content()
    last = max(numbers, default=0)
    for start in range(0, last, _AT_ONCE):
        part = line[start : min(start + _AT_ONCE, last)]
        details = read_details(connection, part)
        for version in part:
            content = _follow(content, version, details[version.entry_id])
            if version.number in numbers:
                found[version.number] = content
    return found


def read_details(connection: Connection, versions: Sequence[Version]) -> dict[str, Mapping[str, Any]]:
    """What the audit holds of some versions, by the ids of its entries."""
    found = {}
    ids = [version.entry_id for version in versions]
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        for row in connection.execute(select(_audit.c.id, _audit.c.details).where(_audit.c.id.in_(part))):
            found[row.id] = orjson.loads(row.details)
    return found


def describe_change(version: Version, details: Mapping[str, Any]) -> str:
    """What was done, in a word or two."""
    if "rolled_back_to" in details:
        return f"rolled back to {details['rolled_back_to']}"
    if "state" in details:
        return f"switched to {_STATES.get(details['state'], details['state'])}"
    if "enabled" in details:
        return f"switched {'on' if details['enabled'] else 'off'}"
    if version.audit is Audit.NETWORK_POLICY_CHANGE and "document" not in details:
        return f"moved to {details['position']}"
    return {"add": "added", "import": "imported", "change": "changed", "remove": "removed"}[
        version.audit.value.rpartition(":")[2]
    ]


def is_removal(version: Version) -> bool:
    """Whether it left nothing behind."""
    return version.audit.value.endswith(":remove")


def _follow(before: Content, version: Version, details: Mapping[str, Any]) -> Content:
    position = details.get("position", before.position)
    if is_removal(version):
        return Content(None, None, position)
    if "document" in details:
        return Content(details["document"], details.get("resolved"), position)
    document = before.document
    if document is not None:
        document = {**document, **{key: details[key] for key in ("state", "enabled") if key in details}}
    return Content(document, before.resolved, position)


def _read_version(row: AnyRow, counts: dict[tuple[PolicyKind, str], int]) -> Version:
    audit = Audit(row.name)
    kind = _KINDS[audit]
    key = (kind, _fold(kind, row.subject))
    counts[key] += 1
    return Version(kind, row.subject, counts[key], row.at, row.actor, audit, row.subject_id, row.id)


def _fold(kind: PolicyKind, name: str) -> str:
    """As names of a kind are told apart."""
    return name if kind is PolicyKind.ACCESS else name.casefold()
