"""All that is known when a decision is made. What is not here is unknown, and unknown is never fine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from evertunnel.access.fact_sources import COMPUTED, TRAVEL, rank_source
from evertunnel.access.own_tunnel import OwnTunnel
from evertunnel.model import Certificate, Device, Fact, Gateway, LoginMethod, TunnelKind, User

# The fact conditional access asks for with the control compliantDevice.
COMPLIANT = "compliant"
# And the one it asks for with domainJoinedDevice.
DOMAIN_JOINED = "domain_joined"
# The risks of users that conditional access asks for.
SIGN_IN_RISK = "sign_in_risk"
USER_RISK = "user_risk"
_RISK_ORDER = {"none": 0, "low": 1, "medium": 2, "high": 3}
_RANK_OF_COMPUTED = rank_source(TRAVEL)


@dataclass(frozen=True, slots=True)
class SignInFacts:
    """What is known of the sign-in itself, in Graph's words. Everything None or empty is unknown.

    `country` is what the client's address was looked up to be (conditional.sign_in has a word for none at all), `roles`
    and `kind` (member, or of which guests) are of the user, `device` are properties that device filters ask for
    besides those we know ourselves (None is null, what is absent is unknown), `terms_accepted` the ids of terms of use.
    """

    platform: str | None = None
    country: str | None = None
    sign_in_risk: str | None = None
    user_risk: str | None = None
    insider_risk: str | None = None
    roles: frozenset[str] | None = None
    kind: str | None = None
    tenant: str | None = None
    device: Mapping[str, Any] = field(default_factory=dict)
    password_changed: bool | None = None
    terms_accepted: frozenset[str] = frozenset()


_NOTHING_KNOWN = SignInFacts()


@dataclass(frozen=True, slots=True)
class Facts:
    """One request for access. `tunnel` is None when a short-lived certificate is asked for, not a tunnel.

    `user_denial` and `device_denial` are the reasons of standing denials, empty when there is none.
    `device_facts` and `user_facts` hold, by name, what each source says; `sign_in` the rest that conditional access
    asks for. `established` says that the tunnel is up already: then the end of its certificate no longer matters,
    everything else does.
    `authentication_methods` (model.AuthenticationMethod) are those of the sign-in at `signed_in_at`, this one's or that
    of the short-lived certificate; empty when nobody signed in.
    `method` is how the client of a user tunnel logs in; None where it is not known is EAP-TLS, which was all there was.
    `crypto_bound` says whether PEAP bound its inner method to its tunnel; None while that is still to come.
    `own_tunnel` is None when nobody looked at the device's tunnels.
    """

    at: datetime
    tunnel: TunnelKind | None
    gateway: Gateway | None = None
    user: User | None = None
    device: Device | None = None
    certificate: Certificate | None = None
    certificate_usages: frozenset[str] = frozenset()
    user_denial: str = ""
    device_denial: str = ""
    device_facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    user_facts: Mapping[str, tuple[Fact, ...]] = field(default_factory=dict)
    client_address: str = ""
    established: bool = False
    authentication_methods: tuple[str, ...] = ()
    signed_in_at: datetime | None = None
    sign_in: SignInFacts = _NOTHING_KNOWN
    method: LoginMethod | None = None
    crypto_bound: bool | None = None
    own_tunnel: OwnTunnel | None = None


def judge_device_fact(
    facts: Facts, name: str, *, least_source: str | None = None
) -> tuple[bool | None, Callable[[], str]]:
    """A yes-or-no fact about the device; None is unknown. Where it comes from is put into words when somebody asks.

    A fact older than its life is unknown. Where sources disagree the stricter wins, and the words show both. With a
    `least_source` (fact_sources) a yes counts only if such a source or a more trusted one says it; a no always does.
    """
    if facts.device is None:
        return None, _say_no_device
    said = facts.device_facts.get(name, ())
    alive = _list_alive(facts, said)
    if not alive:
        return None, partial(_explain_unknown, facts.device.name, said)
    strictest = next((fact for fact in alive if fact.value != "true"), None)
    if strictest is not None:
        return False, partial(_tell, strictest, alive)
    if least_source is None:
        return True, partial(_tell, alive[0])
    trusted = max(alive, key=lambda fact: rank_source(fact.source))
    if rank_source(trusted.source) < rank_source(least_source):
        return None, partial(_tell_distrusted, trusted, least_source)
    return True, partial(_tell, trusted)


def find_device_fact(facts: Facts, name: str, *, least_source: str | None = None) -> tuple[bool | None, str]:
    """A yes-or-no fact about the device, and where it comes from. None is unknown.

    See judge_device_fact.
    """
    value, tell = judge_device_fact(facts, name, least_source=least_source)
    return value, tell()


def find_user_risk(facts: Facts, name: str, *, least_source: str | None = None) -> tuple[str | None, str]:
    """A risk of the user (none, low, medium, high), and where it comes from. None is unknown.

    Of several sources the highest counts. What we compute ourselves adds to what others say, and never stands in for
    one that fell silent. Where nobody else speaks, `facts.sign_in` has what is known without any fact: none where we
    look and found nothing. With a `least_source` a risk below high counts only if such a source or a more trusted one
    speaks of it at all: silence of the trusted one is not its word that all is well.
    """
    if facts.user is None:
        return None, "the user is not known"
    said = facts.user_facts.get(name, ())
    alive = _list_alive(facts, said)
    told = [fact for fact in said if fact.source not in COMPUTED]
    found = facts.sign_in.sign_in_risk if name == SIGN_IN_RISK else facts.sign_in.user_risk
    if told and not any(fact.source not in COMPUTED for fact in alive):
        return None, _explain_unknown(facts.user.name, told)
    if not told and found is None:
        return None, _explain_unknown(facts.user.name, ())
    if not alive:
        if least_source is not None and rank_source(least_source) > _RANK_OF_COMPUTED:
            return None, f"only we found nothing, and the word of {least_source} is demanded"
        return found, "nothing was found in the attempts"
    highest = max(alive, key=lambda fact: _RISK_ORDER.get(fact.value, len(_RISK_ORDER)))
    if least_source is not None and highest.value != "high":
        trusted = max(rank_source(fact.source) for fact in alive)
        if trusted < rank_source(least_source):
            return None, _tell_distrusted(highest, least_source)
    # A word we do not know is no lower than the highest we do.
    return highest.value if highest.value in _RISK_ORDER else "high", _tell(highest, alive)


def find_device_text(facts: Facts, name: str) -> str | None:
    """What the most trusted source says of the device, where no value is stricter than another; then the newest."""
    alive = _list_alive(facts, facts.device_facts.get(name, ()))
    return max(alive, key=lambda fact: (rank_source(fact.source), fact.observed_at)).value if alive else None


def _list_alive(facts: Facts, said: Sequence[Fact]) -> list[Fact]:
    return [fact for fact in said if fact.expires_at is None or facts.at < fact.expires_at]


def _say_no_device() -> str:
    return "the device is not known"


def _tell_distrusted(fact: Fact, least_source: str) -> str:
    return f"only {_tell(fact)}, and the word of {least_source} is demanded"


def _explain_unknown(name: str, said: Sequence[Fact]) -> str:
    return f"what was reported of {name} is too old" if said else f"nothing is known of {name}"


def _tell(fact: Fact, among: Sequence[Fact] = ()) -> str:
    """Who said it and when, and who said otherwise."""
    words = f"{fact.source} said {fact.value} at {fact.observed_at:%F %T} UTC"
    if fact.detail:
        words = f"{words}: {fact.detail}"
    others = [_tell(other) for other in among if other.value != fact.value]
    return f"{words}; the stricter counts, though {', '.join(others)}" if others else words
