"""A sign-in as policies see it: who, to what, from where, on which device, proven how. None is unknown.

Unknown is never fine: what a policy demands of an unknown fact is not met, and a condition about one counts as
met where that restricts. Where something was looked for and is not there, a word says so instead of None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

# The application our tunnels are. "VPN Server" is what Entra names the service principal of its VPN certificates.
VPN_NAMES = frozenset({"evertunnel", "vpn", "vpn server"})
VPN = frozenset({"vpn"})

# Words of Graph (reference: conditional access 1.3).
CLIENT_APPS = ("browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "easSupported", "other")
PLATFORMS = ("android", "iOS", "windows", "windowsPhone", "macOS", "linux")
RISK_LEVELS = ("low", "medium", "high", "hidden", "none")
INSIDER_RISK_LEVELS = ("minor", "moderate", "elevated", "none")
GUEST_KINDS = (
    "internalGuest",
    "b2bCollaborationGuest",
    "b2bCollaborationMember",
    "b2bDirectConnectUser",
    "otherExternalUser",
    "serviceProvider",
)
FLOWS = ("none", "deviceCodeFlow", "authenticationTransfer")
MEMBER = "member"
# The address was looked up, and no country has it.
NO_COUNTRY = ""
# Sources disagree about the platform: it may be any.
DISPUTED = "disputed"
# Nobody computes this risk, as in a tenant without the licence for it.
NOT_COMPUTED = "hidden"
# A client that carries neither a second factor nor the state of its device.
LEGACY_CLIENT = "other"


@dataclass(frozen=True, slots=True)
class Person:
    """Who signs in. `groups` holds ids, nested ones included; `roles` ids of role templates; `tenant` a guest's home.

    `kind` is MEMBER or one of GUEST_KINDS.
    """

    id: str
    name: str
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] | None = None
    kind: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A yes or no about the device, or None, and where that comes from in words, or what makes them when asked."""

    value: bool | None
    source: str | Callable[[], str]

    def tell(self) -> str:
        """Where it comes from."""
        return self.source if isinstance(self.source, str) else self.source()


@dataclass(frozen=True, slots=True)
class MethodUse:
    """An authentication method that was passed: Graph's word, when, and what its credential says of itself."""

    name: str
    at: datetime
    issuer_ski: str = ""
    policy_oids: frozenset[str] = frozenset()
    aaguid: str = ""


_NOTHING_KNOWN = Known(None, "nothing is known of the device")
_NO_TUNNEL_KNOWN = Known(None, "nothing is known of the device's own tunnel")
# What of a sign-in somebody told, where nobody can tell who.
_UNTOLD: Mapping[str, Any] = {
    "platform": None,
    "sign_in_risk": None,
    "user_risk": None,
    "compliant": _NOTHING_KNOWN,
    "domain_joined": _NOTHING_KNOWN,
}


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in. `tunnel` is False where a certificate is asked for; `established`: the tunnel is up already.

    `applications` holds names in lower case, the VPN as VPN. `country` is a code of two capitals, or NO_COUNTRY.
    `platform` None is one that no word names, too: Entra tells the two not apart; or it is DISPUTED. `transfer_method`
    is how the sign-in came here from another device, or none. `device` holds the properties device filters ask for, by
    their names, where None is null and what is absent is unknown; a device that is not registered is None. `methods`
    are those passed, `authenticated_at` the last time the person signed in. `own_tunnel`: the device's own tunnel is up
    from the same address. `told_by` gives the fields as they are when only a source (access.fact_sources) and more
    trusted ones count.
    """

    at: datetime
    user: Person | None
    applications: frozenset[str] = VPN
    client_app: str | None = None
    platform: str | None = None
    address: IPv4Address | IPv6Address | None = None
    country: str | None = None
    sign_in_risk: str | None = None
    user_risk: str | None = None
    insider_risk: str | None = None
    transfer_method: str | None = None
    device: Mapping[str, Any] | None = None
    compliant: Known = _NOTHING_KNOWN
    domain_joined: Known = _NOTHING_KNOWN
    methods: tuple[MethodUse, ...] = ()
    terms_accepted: frozenset[str] = field(default_factory=frozenset)
    password_changed: bool | None = None
    authenticated_at: datetime | None = None
    tunnel: bool = False
    established: bool = False
    own_tunnel: Known = _NO_TUNNEL_KNOWN
    told_by: Callable[[str], Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)
    _limited: dict[str, "SignIn"] = field(default_factory=dict, init=False, compare=False, repr=False)

    def limit(self, least_source: str) -> "SignIn":
        """The same with what is known from such a source or a more trusted one; the rest is unknown."""
        found = self._limited.get(least_source)
        if found is None:
            if self.told_by is not None:
                fields = self.told_by(least_source)
            else:
                fields = {**_UNTOLD, "device": None if self.device is None else {}}
            found = self._limited[least_source] = replace(self, **fields)
        return found


@lru_cache(maxsize=4_096)
def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """A client's address; None if the text is none. strongSwan writes the port behind it in brackets.

    An IPv4 address in IPv6's clothes is the IPv4 address: else it would slip past every range of those.
    """
    try:
        address = ip_address(text.partition("[")[0].partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
