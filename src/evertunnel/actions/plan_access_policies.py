"""What an import of conditional access policies would do: every text resolved, every problem found, nothing stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from evertunnel.access.conditional.applications import PATH as APPLICATIONS_PATH
from evertunnel.access.conditional.applications import build_application_key, read_applications
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.policies import (
    AccessPolicy,
    list_references,
    list_unevaluable,
    list_without_meaning,
)
from evertunnel.access.conditional.risks import SignInRisk
from evertunnel.access.conditional.strengths import BUILT_IN, AuthenticationStrength
from evertunnel.access.conditional.verdicts import Notes
from evertunnel.access.documents import PolicyError, is_set, quote, read_object, read_texts
from evertunnel.actions.policy_files import PolicyFile, Problems, list_documents, verify_plain
from evertunnel.actions.policy_names import (
    asks_for,
    build_key,
    compile_location,
    compile_stored_policy,
    compile_stored_strength,
    names_country,
)
from evertunnel.errors import AlreadyExistsError
from evertunnel.model import SubjectKind
from evertunnel.storage import people, policy_objects, tables
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.snapshot import ACCESS_POLICIES, AUTHENTICATION_STRENGTHS, NAMED_LOCATIONS

POLICIES_AT_MOST = 500
_NAME_AT_MOST = 256
_COUNTRY_UNKNOWN = (
    "no country database is set that can be read (country_database in evertunnel.toml), so no country is known: "
    "including by country counts as matching, excluding by country excludes nobody"
)
_PLACES_UNKNOWN = (
    "no country database is set that can be read (country_database in evertunnel.toml), so nobody finds impossible "
    "travel: without another source the risk of a sign-in is not known, which counts as matching"
)
_APPLICATION_FIELDS = ("includeApplications", "excludeApplications")
# A plan holds while nothing of these changes: what its texts mean, and which names are free.
PLANNED_FROM = frozenset(
    {SubjectKind.USER.value, SubjectKind.GROUP.value, ACCESS_POLICIES, NAMED_LOCATIONS, AUTHENTICATION_STRENGTHS}
)
_OBJECTS = {"location": ObjectKind.LOCATION, "strength": ObjectKind.STRENGTH}


@dataclass(frozen=True, slots=True)
class PlannedPolicy:
    """A policy that can be stored. `place` is where it stands in its file; pairs are of JSON path and reason."""

    place: str
    document: Mapping[str, Any]
    resolved: Mapping[str, str]
    policy: AccessPolicy
    unevaluable: tuple[tuple[str, str], ...]
    without_meaning: tuple[tuple[str, str], ...]


def plan_access_policies(
    connection: Connection,
    files: Sequence[PolicyFile],
    mapping: Mapping[str, str] | None = None,
    *,
    replace: bool = False,
    countries_known: bool = True,
) -> list[PlannedPolicy]:
    """Read all policies of all files. Raises PolicyProblemsError with everything that is wrong, AlreadyExistsError.

    `mapping` says what ids of another directory are called here: names or ids of users, groups, locations, strengths,
    and VPN or another name for an application. With `replace` a policy may have the name of one that is there.
    """
    problems = Problems()
    documents = list_documents(files, problems)
    taken = set() if replace else set(connection.execute(select(tables.access_policies.c.name)).scalars())
    resolver = _Resolver(connection, mapping or {})
    return _plan_all(resolver, documents, problems, taken, countries_known=countries_known)


def build_mapping(document: Any, resolved: Mapping[str, str]) -> dict[str, str]:
    """The mapping that gives the texts of a stored policy the meaning they had, whatever they would mean now.

    A text that is the name of two kinds of things is left out: it means what it means now.
    """
    meanings: dict[str, set[str]] = {}
    for _path, kind, text in list_references(document):
        key = build_key(_OBJECTS[kind], text) if kind in _OBJECTS else text
        if key in resolved:
            meanings.setdefault(text, set()).add(resolved[key])
    applications = document["conditions"].get("applications") or {}
    for field in _APPLICATION_FIELDS:
        for text in applications.get(field) or ():
            key = build_application_key(text)
            key = key if key in resolved else text
            if key in resolved:
                meanings.setdefault(text, set()).add(resolved[key])
    return {text: next(iter(found)) for text, found in meanings.items() if len(found) == 1}


def _plan_all(
    resolver: "_Resolver",
    documents: Sequence[tuple[str, Any]],
    problems: Problems,
    taken: set[str],
    *,
    countries_known: bool,
) -> list[PlannedPolicy]:
    again: list[tuple[str, str]] = []
    planned = []
    if len(documents) > POLICIES_AT_MOST:
        raise PolicyError("$", f"holds {len(documents)} policies: import at most {POLICIES_AT_MOST} at once")
    for place, document in documents:
        try:
            found = _plan(place, document, resolver, problems, countries_known=countries_known)
        except PolicyError as error:
            problems.add(place, error)
            continue
        if found is None:
            continue
        if found.policy.name in taken:
            again.append((f"{place}.displayName", found.policy.name))
        taken.add(found.policy.name)
        planned.append(found)
    texts = [(place, f"there is a conditional access policy {quote(name)} already") for place, name in again]
    if again and not problems.found:
        names = ", ".join(repr(name) for _place, name in again[:20])
        raise AlreadyExistsError(
            f"there is a conditional access policy {names} already"
            if len(again) == 1
            else f"there are conditional access policies already, or twice in what is imported: {names}"
        )
    problems.found.extend(texts)
    problems.verify_none()
    return planned


def _plan(
    place: str, document: Any, resolver: "_Resolver", problems: Problems, *, countries_known: bool
) -> PlannedPolicy | None:
    """None when something of it could not be resolved, which was noted."""
    verify_plain(document)
    kind = document.get("@odata.type") if isinstance(document, Mapping) else None
    if isinstance(kind, str) and kind.endswith("amedLocation"):
        raise PolicyError("$.@odata.type", "is a named location: evertunnel policy location import")
    before = len(problems.found)
    resolved = resolver.resolve(place, document, problems)
    if len(problems.found) > before:
        return None
    policy = compile_stored_policy(document, resolved, resolver.locations, resolver.strengths)
    _verify_name(policy.name)
    unevaluable = list_unevaluable(policy)
    if names_country(policy) and not countries_known:
        unevaluable = (*unevaluable, ("$.conditions.locations", _COUNTRY_UNKNOWN))
    if asks_for(policy, SignInRisk) and not countries_known:
        unevaluable = (*unevaluable, ("$.conditions.signInRiskLevels", _PLACES_UNKNOWN))
    return PlannedPolicy(place, document, resolved, policy, unevaluable, list_without_meaning(policy))


def _verify_name(name: str) -> None:
    """It stands in every attempt it was asked about, and on terminals."""
    if not name.strip() or len(name) > _NAME_AT_MOST or not name.isprintable():
        raise PolicyError("$.displayName", f"must be 1 to {_NAME_AT_MOST} printable characters")


class _Resolver:
    """Finds what texts of policies mean here. Nothing is guessed: a text is an id, a name, or in the mapping."""

    def __init__(self, connection: Connection, mapping: Mapping[str, str]) -> None:
        self._connection = connection
        self._mapping: dict[str, str] = {}
        for text, name in mapping.items():
            if self._mapping.setdefault(text.lower(), name) != name:
                raise PolicyError("map", f"gives {quote(text)} two names, once in other case")
        # A file may name the same thousands of times.
        self._found: dict[tuple[str, str], str | None] = {}
        rows = policy_objects.list_objects(connection, ObjectKind.LOCATION)
        self.locations: dict[str, NamedLocation] = {row.id: compile_location(row.id, row.document) for row in rows}
        rows = policy_objects.list_objects(connection, ObjectKind.STRENGTH)
        self.strengths: dict[str, AuthenticationStrength] = {
            row.id: compile_stored_strength(row.id, row.document) for row in rows
        }

    def resolve(self, place: str, document: Any, problems: Problems) -> dict[str, str]:
        """Every text that stands for something here; what cannot be resolved is noted."""
        resolved: dict[str, str] = {}
        for path, kind, text in list_references(document):
            name = self._mapping.get(text.lower(), text)
            if (kind, name) not in self._found:
                self._found[kind, name] = self._find(kind, name)
            found = self._found[kind, name]
            key = build_key(_OBJECTS[kind], text) if kind in _OBJECTS else text
            if found is None:
                what = f"{kind} {quote(text)}" if name == text else f"{kind} {quote(name)}, which {quote(text)} maps to"
                problems.add(place, PolicyError(path, f"there is no {what}, by id or by name{_MENDS[kind]}"))
            elif resolved.setdefault(key, found) != found:
                problem = f"{quote(text)} is the name of both a user and a group: write their ids"
                problems.add(place, PolicyError(path, problem))
        self._resolve_applications(place, document, resolved, problems)
        return resolved

    def _find(self, kind: str, name: str) -> str | None:
        if kind == "strength":
            for strength in BUILT_IN.values():
                if name.lower() in (strength.id, strength.name.lower()):
                    return strength.id
        row = (
            policy_objects.find_object(self._connection, _OBJECTS[kind], name)
            if kind in _OBJECTS
            else people.find_subject(self._connection, SubjectKind(kind), name)
        )
        return None if row is None else str(row.id)

    def _resolve_applications(self, place: str, document: Any, resolved: dict[str, str], problems: Problems) -> None:
        applications = read_object(document["conditions"].get("applications"), APPLICATIONS_PATH)
        named = {}
        for field in _APPLICATION_FIELDS:
            for text in read_texts(applications.get(field), f"{APPLICATIONS_PATH}.{field}"):
                if text.lower() in self._mapping:
                    named[build_application_key(text)] = self._mapping[text.lower()].strip()
        resolved |= named
        if _is_understood(applications, named):
            return
        field = "includeApplications"
        for index, text in enumerate(read_texts(applications.get(field), f"{APPLICATIONS_PATH}.{field}")):
            if not _is_understood({field: [text]}, named):
                problem = (
                    f"{quote(text)} is an application we do not know: map it to VPN if it is the VPN, to its name if "
                    "it is another, or leave the policy out"
                )
                problems.add(place, PolicyError(f"{APPLICATIONS_PATH}.{field}[{index}]", problem))


_MENDS = {
    "user": "",
    "group": "",
    "location": ": evertunnel policy location import",
    "strength": ": evertunnel policy strength import",
}


def _is_understood(applications: Mapping[str, Any], resolved: Mapping[str, str]) -> bool:
    """Whether every included application is one we know. Other mistakes are for compiling to tell."""
    try:
        read_applications(applications, resolved, Notes([], []))
    except PolicyError as error:
        return not (error.path.startswith(f"{APPLICATIONS_PATH}.includeApplications[") and is_set(applications))
    return True
