"""Say what differs between two versions of a policy. Changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from evertunnel.access.document_diff import diff_documents
from evertunnel.actions.network_policy_names import Names
from evertunnel.actions.policy_history import (
    Content,
    PolicyKind,
    Version,
    describe_change,
    get_line,
    get_version,
    list_versions,
    read_contents,
    read_details,
)
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.storage import people, policy_objects
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store


@dataclass(frozen=True, slots=True)
class Change:
    """A version and what it did, in a word or two."""

    version: Version
    words: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions with their documents (None: not there), and the lines of the diff. `before` None is nothing yet."""

    before: Version | None
    after: Version
    before_document: Mapping[str, Any] | None
    after_document: Mapping[str, Any] | None
    lines: list[str]


def list_changes(store: Store, name: str | None = None, kind: PolicyKind | None = None, *, limit: int) -> list[Change]:
    """The newest changes of a policy, or of all, the newest first. Raises NotFoundError, InvalidInputError."""
    with store.read() as connection:
        versions = list_versions(connection, kind) if name is None else get_line(connection, name, kind)
        newest = versions[: -limit - 1 : -1]
        details = read_details(connection, newest)
        return [Change(version, describe_change(version, details[version.entry_id])) for version in newest]


def compare_versions(
    store: Store,
    name: str,
    kind: PolicyKind | None = None,
    *,
    before: int | None = None,
    after: int | None = None,
) -> Comparison:
    """Compare a version (the newest) with another (the one before it). Raises NotFoundError, InvalidInputError."""
    with store.read() as connection:
        line = get_line(connection, name, kind)
        after = len(line) if after is None else after
        new = get_version(line, after)
        before = after - 1 if before is None else before
        old = None if before == 0 else get_version(line, before)
        if old is new:
            raise InvalidInputError(f"--from and --to are both {after}: nothing can differ")
        contents = read_contents(connection, line, {before, after})
        documents = [
            None if number == 0 else _name_subjects(connection, new.kind, contents[number].document)
            for number in (before, after)
        ]
        meanings = [_name_meanings(connection, contents.get(number, Content())) for number in (before, after)]
    labels = [_label(version, new.name) for version in (old, new)]
    lines = diff_documents(*documents, before_label=labels[0], after_label=labels[1])
    if None not in meanings:  # the same text may have been given another meaning
        labels = [f"what texts of it mean, version {number}" for number in (before, after)]
        lines += diff_documents(*meanings, before_label=labels[0], after_label=labels[1])
    return Comparison(old, new, documents[0], documents[1], lines)


def _label(version: Version | None, name: str) -> str:
    if version is None:
        return f"{name}, nothing yet"
    return f"{version.name}, version {version.number} of {version.at:%F %T} UTC by {version.actor}"


def _name_meanings(connection: Connection, content: Content) -> Mapping[str, str] | None:
    """What texts of a version stand for, by the names of now, or by id where that is gone.

    None: it was not recorded, or the version is a removal.
    """
    if content.document is None or content.resolved is None:
        return None
    names: dict[str, str] = {}
    for kind in SubjectKind:
        names |= people.find_names(connection, kind, set(content.resolved.values()))
    for each in ObjectKind:
        names |= {row.id: row.name for row in policy_objects.list_objects(connection, each)}
    return {text: names.get(found, found) for text, found in sorted(content.resolved.items())}


def _name_subjects(
    connection: Connection, kind: PolicyKind, document: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """Network policies hold ids, which nobody can read: here by name, where they are still there."""
    if kind is not PolicyKind.NETWORK or document is None or not document.get("conditions"):
        return document
    return Names(connection).name(document)
