"""The condition about applications: the VPN is one. What is about user actions or contexts is not about an application.

An id could be anybody's, ours in Entra included: taken for another application, a policy that blocks the VPN would
silently block nothing. So an id is one that `resolved` names, or the policy is refused. A group may be called VPN or
All as well: words that have a meaning keep it, and what an application's id means stands under a key of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.sign_in import VPN, VPN_NAMES, SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import (
    PolicyError,
    is_set,
    list_unknown,
    quote,
    read_object,
    read_text,
    read_texts,
)

PATH = "$.conditions.applications"
# Words of Graph that can only mean other applications.
_OTHER = frozenset({"none", "office365", "microsoftadminportals"})
_KNOWN = _OTHER | VPN_NAMES | {"all"}
_KEY = "application:"
_FIELDS = (
    "includeApplications",
    "excludeApplications",
    "includeUserActions",
    "includeAuthenticationContextClassReferences",
    "applicationFilter",
)
_NOT_ABOUT = Verdict(False, "application", "applications: it is not about the VPN")
_EXCLUDED = Verdict(False, "application", "applications: the VPN is excluded")
_NOT_INCLUDED = Verdict(False, "application", "applications: it is about others")
_USER_ACTIONS = Verdict(False, "userActions", "applications: it is about user actions, not about the VPN")
_CONTEXTS = Verdict(False, "authenticationContext", "applications: it is about contexts, not about the VPN")
_UNKNOWN = Verdict(None, "application", "applications: it cannot be evaluated whether the VPN is included")


def build_application_key(text: str) -> str:
    """Under what `resolved` has the name of an application: a user or group may be called as it is."""
    return _KEY + text


@dataclass(frozen=True, slots=True)
class Applications:
    """What a policy is about. Names are in lower case, each of the VPN is vpn. `vpn` is the verdict for it alone."""

    everything: bool
    include: frozenset[str]
    include_unknown: bool
    exclude_everything: bool
    exclude: frozenset[str]
    vpn: Verdict

    def check(self, sign_in: SignIn) -> Verdict:
        """Nearly every sign-in is to the VPN; What If asks for others as well."""
        if sign_in.applications is VPN:
            return self.vpn
        return self.decide(sign_in.applications)

    def decide(self, asked: frozenset[str]) -> Verdict:
        """It applies when one of the applications asked for is included and not excluded."""
        left = frozenset() if self.exclude_everything else asked - self.exclude
        if not left:
            return _EXCLUDED
        if self.everything or not left.isdisjoint(self.include):
            return MATCHES
        return _UNKNOWN if self.include_unknown else _NOT_ABOUT if "vpn" in asked else _NOT_INCLUDED


def read_applications(value: Any, resolved: Mapping[str, str], notes: Notes) -> Condition:
    """Read `conditions.applications`. `resolved` may map an id to VPN or to another's name. Raises PolicyError."""
    document = read_object(value, PATH)
    texts = read_texts(document.get("includeApplications"), f"{PATH}.includeApplications")
    actions = read_texts(document.get("includeUserActions"), f"{PATH}.includeUserActions")
    field = "includeAuthenticationContextClassReferences"
    contexts = read_texts(document.get(field), f"{PATH}.{field}")
    include_unknown = notes.add_unknown(list_unknown(document, PATH, _FIELDS))
    filters = document.get("applicationFilter")
    if is_set(filters):
        include_unknown = _read_filter(filters, notes) == "include" or include_unknown
    include = _name(texts, resolved)
    excluded = read_texts(document.get("excludeApplications"), f"{PATH}.excludeApplications")
    exclude = _name(excluded, resolved)
    for index, text in enumerate(excluded):
        if _find_name(text, resolved) is None:
            why = "is an application we do not know, so it excludes nothing here: write VPN if it is the VPN"
            notes.without_meaning.append((f"{PATH}.excludeApplications[{index}]", why))
    if not include and not include_unknown:
        if actions:
            return Fixed(_USER_ACTIONS)
        if contexts:
            return Fixed(_CONTEXTS)
        raise PolicyError(f"{PATH}.includeApplications", 'names no application: use ["All"] or ["VPN"]')
    if not include & {"all", "vpn"}:
        _refuse_strangers(texts, resolved)
    condition = Applications("all" in include, include, include_unknown, "all" in exclude, exclude, MATCHES)
    return Applications(
        condition.everything,
        include,
        include_unknown,
        condition.exclude_everything,
        exclude,
        vpn=condition.decide(VPN),
    )


def _read_filter(value: Any, notes: Notes) -> str:
    path = f"{PATH}.applicationFilter"
    document = read_object(value, path)
    mode = read_text(document.get("mode"), f"{path}.mode", choices=("include", "exclude"))
    read_text(document.get("rule"), f"{path}.rule")
    effect = "counts as including the VPN" if mode == "include" else "excludes nothing"
    notes.add(path, f"the VPN has no custom security attributes: it {effect}")
    return mode


def _name(texts: Sequence[str], resolved: Mapping[str, str]) -> frozenset[str]:
    names = {(_find_name(text, resolved) or text).lower() for text in texts}
    return frozenset("vpn" if name in VPN_NAMES else name for name in names)


def _find_name(text: str, resolved: Mapping[str, str]) -> str | None:
    """What an application is called here; None where nobody said. Older policies have no keys of their own for it."""
    if text.lower() in _KNOWN:
        return text
    return resolved.get(build_application_key(text)) or resolved.get(text)


def _refuse_strangers(texts: Sequence[str], resolved: Mapping[str, str]) -> None:
    for index, text in enumerate(texts):
        if _find_name(text, resolved) is None:
            problem = (
                f"{quote(text)} is an application we do not know: write VPN if it is the VPN, else leave the policy out"
            )
            raise PolicyError(f"{PATH}.includeApplications[{index}]", problem)
