"""The condition about users: people, groups, roles, guests. Includes are a union; exclude beats include.

Roles and the kind of a guest may be unknown: then they exclude nobody, and including by them is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.sign_in import GUEST_KINDS, Person, SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Notes, Verdict
from evertunnel.access.documents import PolicyError, is_set, list_unknown, quote, read_flags, read_object, read_texts

PATH = "$.conditions.users"
TEXT_FIELDS = ("includeUsers", "excludeUsers", "includeGroups", "excludeGroups")
WORDS = ("All", "None", "GuestsOrExternalUsers")
_ROLE_FIELDS = ("includeRoles", "excludeRoles")
_GUEST_FIELDS = ("includeGuestsOrExternalUsers", "excludeGuestsOrExternalUsers")
_NO_SOURCE = {
    "Roles": "nothing tells us directory roles so far: it {effect}",
    "Guests": "nothing tells us who is a guest so far: it {effect}",
}

_EXCLUDED_USER = Verdict(False, "users", "users: the user is excluded")
_EXCLUDED_GROUP = Verdict(False, "users", "users: a group of the user is excluded")
_EXCLUDED_ROLE = Verdict(False, "users", "users: a role of the user is excluded")
_EXCLUDED_GUEST = Verdict(False, "users", "users: guests such as the user are excluded")
_NOT_INCLUDED = Verdict(False, "users", "users: the user is not included")
_ROLES_UNKNOWN = Verdict(None, "users", "users: the roles of the user are not known")
_GUEST_UNKNOWN = Verdict(None, "users", "users: it is not known whether the user is such a guest")
_FIELD_UNKNOWN = Verdict(None, "users", "users: a field that is not known could include the user")


@dataclass(frozen=True, slots=True)
class Guests:
    """Kinds of guests, and the tenants they come from; None is any. `narrowed` by a field we do not know."""

    kinds: frozenset[str]
    tenants: frozenset[str] | None
    narrowed: bool = False

    def include(self, person: Person) -> bool | None:
        """Whether the person is one of them; None if that is not known."""
        if person.kind is not None and person.kind not in self.kinds:
            return False
        if self.tenants is not None and person.tenant is not None and person.tenant.lower() not in self.tenants:
            return False
        tenant_unknown = self.tenants is not None and person.tenant is None
        return None if self.narrowed or person.kind is None or tenant_unknown else True


_ANY_GUEST = Guests(frozenset(GUEST_KINDS), None)


@dataclass(frozen=True, slots=True)
class Users:
    """Who a policy is about. Sets hold ids; `everybody` is the word All."""

    everybody: bool
    include_users: frozenset[str]
    include_groups: frozenset[str]
    include_roles: frozenset[str]
    include_guests: tuple[Guests, ...]
    include_unknown: bool
    exclude_everybody: bool
    exclude_users: frozenset[str]
    exclude_groups: frozenset[str]
    exclude_roles: frozenset[str]
    exclude_guests: tuple[Guests, ...]

    @property
    def includes_everybody(self) -> bool:
        """Whether it matches whoever there is."""
        excluded = self.exclude_users or self.exclude_groups or self.exclude_roles or self.exclude_guests
        return self.everybody and not self.exclude_everybody and not excluded

    def check(self, sign_in: SignIn) -> Verdict:
        """Exclusions first, then the cheap inclusions."""
        person = sign_in.user
        assert person is not None
        if self.exclude_everybody or person.id in self.exclude_users:
            return _EXCLUDED_USER
        if self.exclude_groups and not self.exclude_groups.isdisjoint(person.groups):
            return _EXCLUDED_GROUP
        if self.exclude_roles and person.roles is not None and not self.exclude_roles.isdisjoint(person.roles):
            return _EXCLUDED_ROLE
        if self.exclude_guests and any(guests.include(person) for guests in self.exclude_guests):
            return _EXCLUDED_GUEST
        if self.everybody or person.id in self.include_users or not self.include_groups.isdisjoint(person.groups):
            return MATCHES
        return self._check_rest(person)

    def _check_rest(self, person: Person) -> Verdict:
        unknown = _FIELD_UNKNOWN if self.include_unknown else None
        if self.include_roles:
            if person.roles is None:
                unknown = _ROLES_UNKNOWN
            elif not self.include_roles.isdisjoint(person.roles):
                return MATCHES
        for guests in self.include_guests:
            included = guests.include(person)
            if included:
                return MATCHES
            if included is None:
                unknown = _GUEST_UNKNOWN
        return unknown or _NOT_INCLUDED


def read_users(value: Any, resolved: Mapping[str, str], notes: Notes) -> Users:
    """Read `conditions.users`. `resolved` maps every user and group it names to an id. Raises PolicyError."""
    document = read_object(value, PATH)
    texts = {field: read_texts(document.get(field), f"{PATH}.{field}") for field in (*TEXT_FIELDS, *_ROLE_FIELDS)}
    unknown = list_unknown(document, PATH, (*TEXT_FIELDS, *_ROLE_FIELDS, *_GUEST_FIELDS))
    includes = any(texts[field] for field in ("includeUsers", "includeGroups", "includeRoles"))
    if not includes and not is_set(document.get("includeGuestsOrExternalUsers")) and not unknown:
        raise PolicyError(PATH, "names nobody: set includeUsers or includeGroups")
    include_guests = _read_all_guests(document, "include", texts["includeUsers"], notes)
    exclude_guests = _read_all_guests(document, "exclude", texts["excludeUsers"], notes)
    for field in _ROLE_FIELDS:
        if texts[field]:
            _note_source(f"{PATH}.{field}", "Roles", notes)
    return Users(
        everybody="All" in texts["includeUsers"],
        include_users=_resolve(texts["includeUsers"], "includeUsers", resolved),
        include_groups=_resolve(texts["includeGroups"], "includeGroups", resolved),
        include_roles=_lower(texts["includeRoles"]),
        include_guests=include_guests,
        include_unknown=notes.add_unknown(unknown),
        exclude_everybody="All" in texts["excludeUsers"],
        exclude_users=_resolve(texts["excludeUsers"], "excludeUsers", resolved),
        exclude_groups=_resolve(texts["excludeGroups"], "excludeGroups", resolved),
        exclude_roles=_lower(texts["excludeRoles"]),
        exclude_guests=exclude_guests,
    )


def _read_all_guests(document: Mapping[str, Any], side: str, users: Sequence[str], notes: Notes) -> tuple[Guests, ...]:
    field = f"{side}GuestsOrExternalUsers"
    found = []
    if "GuestsOrExternalUsers" in users:
        found.append(_ANY_GUEST)
        _note_source(f"{PATH}.{side}Users", "Guests", notes)
    if is_set(document.get(field)):
        found.append(_read_guests(document[field], f"{PATH}.{field}", notes))
        _note_source(f"{PATH}.{field}", "Guests", notes)
    return tuple(found)


def _read_guests(value: Any, path: str, notes: Notes) -> Guests:
    document = read_object(value, path)
    kinds_path = f"{path}.guestOrExternalUserTypes"
    kinds = read_flags(document.get("guestOrExternalUserTypes"), kinds_path, (*GUEST_KINDS, "none"))
    if not kinds:
        raise PolicyError(kinds_path, "names no kind of guest")
    unknown = list_unknown(document, path, ("guestOrExternalUserTypes", "externalTenants"))
    tenants = None
    if is_set(document.get("externalTenants")):
        place = f"{path}.externalTenants"
        named = read_object(document["externalTenants"], place)
        unknown += list_unknown(named, place, ("membershipKind", "members"))
        kind = named.get("membershipKind")
        if kind is None:
            kind = "enumerated" if str(named.get("@odata.type")).endswith("EnumeratedExternalTenants") else "all"
        if kind not in ("all", "enumerated"):
            raise PolicyError(f"{place}.membershipKind", "must be all or enumerated")
        members = read_texts(named.get("members"), f"{place}.members")
        if kind == "enumerated" and not members:
            raise PolicyError(f"{place}.members", "names no tenant")
        tenants = _lower(members) if kind == "enumerated" else None
    # Whatever it is called, it narrows whom this side is about.
    for place in unknown:
        notes.add(place, "is a condition we do not know")
    return Guests(kinds - {"none"}, tenants, narrowed=bool(unknown))


def _note_source(path: str, what: str, notes: Notes) -> None:
    effect = "excludes nobody" if path.startswith(f"{PATH}.exclude") else "counts as including everybody"
    notes.add(path, _NO_SOURCE[what].format(effect=effect))


def _lower(texts: Sequence[str]) -> frozenset[str]:
    return frozenset(text.lower() for text in texts)


def _resolve(texts: Sequence[str], field: str, resolved: Mapping[str, str]) -> frozenset[str]:
    ids = set()
    for index, text in enumerate(texts):
        if field.endswith("Users") and text in WORDS:
            continue
        if text not in resolved:
            problem = f"{quote(text)} is neither the id nor the name of one we know"
            raise PolicyError(f"{PATH}.{field}[{index}]", problem)
        ids.add(resolved[text])
    return frozenset(ids)
