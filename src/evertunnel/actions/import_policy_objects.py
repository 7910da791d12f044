"""Import and add named locations and authentication strengths. All of an import or nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from evertunnel.access.conditional.country_codes import COUNTRY_CODES, find_country_problem
from evertunnel.access.conditional.location_condition import WORDS
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.strengths import BUILT_IN
from evertunnel.access.documents import PolicyError, quote, read_object, read_text
from evertunnel.actions.policy_files import PolicyFile, Problems, list_documents, verify_plain
from evertunnel.actions.policy_names import compile_location, compile_stored_strength
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.storage import policy_objects
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store, Transaction, new_id

OBJECTS_AT_MOST = 500
_NAME_AT_MOST = 256
_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_BUILT_IN_NAMES = {strength.name.casefold() for strength in BUILT_IN.values()}
_AUDITS = {
    ObjectKind.LOCATION: (Audit.LOCATION_ADD, Audit.LOCATION_CHANGE),
    ObjectKind.STRENGTH: (Audit.STRENGTH_ADD, Audit.STRENGTH_CHANGE),
}


@dataclass(frozen=True, slots=True)
class Imported:
    """Names of what was added, what was put in another's place, and what is built in and was left out."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    built_in: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Object:
    """A document that can be kept. `id` is Graph's, or the one it had here; empty where it has none."""

    name: str
    id: str
    document: dict[str, Any]
    built_in: bool


def import_policy_objects(
    store: Store,
    kind: ObjectKind,
    files: Sequence[PolicyFile],
    *,
    replace: bool = False,
    actor: str,
    now: datetime,
) -> Imported:
    """Import all documents of all files. With `replace` one of the same id or name takes the place of what is there.

    Raises PolicyProblemsError with everything that is wrong; then nothing was imported.
    """
    problems, imported = Problems(), Imported()
    seen: set[str] = set()
    documents = [(place, _try_to_read(kind, document)) for place, document in list_documents(files, problems)]
    with write_policies(store, now) as tx:
        for place, read in documents:
            try:
                _store(tx, kind, read, imported, seen, replace=replace, actor=actor)
            except PolicyError as error:
                problems.add(place, error)
        if len(policy_objects.list_objects(tx.connection, kind)) > OBJECTS_AT_MOST:
            problems.found.append(("$", f"there may be {OBJECTS_AT_MOST} of a kind at most"))
        problems.verify_none()
    return imported


def add_named_location(
    store: Store,
    name: str,
    *,
    ranges: Sequence[str] = (),
    trusted: bool = False,
    countries: Sequence[str] = (),
    include_unknown: bool = False,
    replace: bool = False,
    actor: str,
    now: datetime,
) -> Imported:
    """Make a location of ranges (CIDR), or of countries (codes of two letters). Raises InvalidInputError."""
    document = build_named_location(
        name, ranges=ranges, trusted=trusted, countries=countries, include_unknown=include_unknown
    )
    files = [PolicyFile("", document)]
    return import_policy_objects(store, ObjectKind.LOCATION, files, replace=replace, actor=actor, now=now)


def insert_named_location(tx: Transaction, document: Mapping[str, Any], *, actor: str) -> None:
    """Store a new location within a transaction. Raises PolicyError."""
    location = _read(ObjectKind.LOCATION, document)
    _store(tx, ObjectKind.LOCATION, location, Imported(), set(), replace=False, actor=actor)


def put_policy_object(
    tx: Transaction,
    kind: ObjectKind,
    document: Mapping[str, Any],
    *,
    object_id: str,
    details: Mapping[str, Any],
    actor: str,
) -> bool:
    """Put a document in the place of the object of an id, or of its name, or bring that back. Whether it was away.

    Raises PolicyError.
    """
    imported, read = Imported(), _read(kind, document, known_id=object_id)
    _store(tx, kind, read, imported, set(), replace=True, details=details, actor=actor)
    if len(policy_objects.list_objects(tx.connection, kind)) > OBJECTS_AT_MOST:
        raise PolicyError("$", f"there may be {OBJECTS_AT_MOST} of a kind at most")
    return bool(imported.added)


def build_named_location(
    name: str,
    *,
    ranges: Sequence[str] = (),
    trusted: bool = False,
    countries: Sequence[str] = (),
    include_unknown: bool = False,
) -> dict[str, Any]:
    """The document of a location. Raises InvalidInputError."""
    if bool(ranges) == bool(countries or include_unknown):
        raise InvalidInputError("a named location holds either ranges of addresses, or countries")
    if ranges:
        return {
            "@odata.type": "#microsoft.graph.ipNamedLocation",
            "displayName": name,
            "isTrusted": trusted,
            "ipRanges": [_build_range(text) for text in ranges],
        }
    if trusted:
        raise InvalidInputError("only ranges of addresses can be trusted, not countries")
    return {
        "@odata.type": "#microsoft.graph.countryNamedLocation",
        "displayName": name,
        "countriesAndRegions": [code.upper() for code in countries],
        "includeUnknownCountriesAndRegions": include_unknown,
        "countryLookupMethod": "clientIpAddress",
    }


def _build_range(text: str) -> dict[str, str]:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is no range of addresses such as 192.0.2.0/24: {error}") from error
    return {"@odata.type": f"#microsoft.graph.iPv{network.version}CidrRange", "cidrAddress": str(network)}


def _read(kind: ObjectKind, document: Any, *, known_id: str = "") -> _Object:
    """All that can be wrong with it whatever is stored. Thousands of ranges take their time: before any transaction."""
    verify_plain(document)
    document = dict(read_object(document, "$"))
    name, document_id = _read_name(document), _read_id(document) or known_id
    built_in = kind is ObjectKind.STRENGTH and document_id.lower() in BUILT_IN
    if not built_in:
        _verify_free(kind, name)
        _compile(kind, document_id or name, document)
    return _Object(name, document_id, document, built_in)


def _try_to_read(kind: ObjectKind, document: Any) -> _Object | PolicyError:
    try:
        return _read(kind, document)
    except PolicyError as error:
        return error


def _store(
    tx: Transaction,
    kind: ObjectKind,
    read: _Object | PolicyError,
    imported: Imported,
    seen: set[str],
    *,
    replace: bool,
    details: Mapping[str, Any] | None = None,
    actor: str,
) -> None:
    if isinstance(read, PolicyError):
        raise read
    name, document_id, document = read.name, read.id, read.document
    if read.built_in:
        imported.built_in.append(name)
        return
    by_name = policy_objects.find_object(tx.connection, kind, name)
    by_id = policy_objects.find_object(tx.connection, kind, document_id) if document_id else None
    if by_id is not None and by_name is not None and by_id.id != by_name.id:
        raise PolicyError("$.displayName", f"{quote(name)} is the name or id of another {kind.words}")
    row = by_id or by_name
    object_id = document_id or new_id() if row is None else str(row.id)
    if object_id in seen:
        raise PolicyError("$.displayName", f"{quote(name)} is twice in what is imported")
    if row is not None and not replace:
        raise PolicyError("$.displayName", f"there is a {kind.words} {quote(row.name)} already; see --replace")
    seen.add(object_id)
    added, changed = _AUDITS[kind]
    if row is None:
        policy_objects.insert_object(tx, kind, object_id, name, document)
        imported.added.append(name)
    else:
        policy_objects.replace_object(tx, kind, object_id, name, document)
        imported.replaced.append(name)
    kept = {"document": document, **(details or {})}
    tx.record(AuditEntry(added if row is None else changed, actor, name, object_id, kept))


def _read_name(document: Mapping[str, Any]) -> str:
    name = read_text(document.get("displayName"), "$.displayName")
    if not name.strip() or len(name) > _NAME_AT_MOST or not name.isprintable():
        raise PolicyError("$.displayName", f"must be 1 to {_NAME_AT_MOST} printable characters")
    return name


def _read_id(document: Mapping[str, Any]) -> str:
    """Graph's id, if the document has one."""
    if document.get("id") is None:
        return ""
    text = read_text(document["id"], "$.id")
    if not _ID.fullmatch(text):
        raise PolicyError("$.id", f"{quote(text)} is no id: 1 to 64 letters, digits and hyphens")
    return text


def _verify_free(kind: ObjectKind, name: str) -> None:
    """Words that mean something else in a policy are no names."""
    if kind is ObjectKind.LOCATION and name.casefold() in {word.casefold() for word in WORDS}:
        raise PolicyError("$.displayName", f"{quote(name)} has a meaning of its own in policies")
    if kind is ObjectKind.STRENGTH and name.casefold() in _BUILT_IN_NAMES | set(BUILT_IN):
        raise PolicyError("$.displayName", f"{quote(name)} is a strength that is built in")


def _verify_countries(document: Mapping[str, Any], location: NamedLocation) -> None:
    """Raise PolicyError for a code that no country has: a policy that blocks UK would block nobody."""
    if location.countries <= COUNTRY_CODES:
        return
    for index, code in enumerate(document["countriesAndRegions"]):
        if problem := find_country_problem(code.upper()):
            raise PolicyError(f"$.countriesAndRegions[{index}]", problem)


def _compile(kind: ObjectKind, object_id: str, document: Mapping[str, Any]) -> None:
    if kind is ObjectKind.LOCATION:
        _verify_countries(document, compile_location(object_id, document))
    else:
        compile_stored_strength(object_id, document)
