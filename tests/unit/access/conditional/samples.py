"""Sign-ins and policies to vary: everything of the sign-in is known and nothing in it is wrong."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from evertunnel.access.conditional.evaluation import Evaluation, evaluate_access_policies
from evertunnel.access.conditional.locations import NamedLocation, compile_named_location
from evertunnel.access.conditional.policies import AccessPolicy, compile_access_policy
from evertunnel.access.conditional.sign_in import Known, MethodUse, Person, SignIn
from tests.unit.access.samples import NOW, make_document

ADMIN_ROLE = "62e90394-69f5-4237-9190-012177145e10"
ALICE = Person("u1", "alice@corp.example", frozenset({"g1"}), frozenset(), "member")
RESOLVED = {"alice": "u1", "bob": "u2", "Sales": "g1", "Staff": "g9"}
YES, NO, UNKNOWN = Known(True, "test"), Known(False, "test"), Known(None, "test")
PASSWORD = MethodUse("password", NOW - timedelta(minutes=1))
SMS = MethodUse("sms", NOW - timedelta(minutes=1))
FIDO2 = MethodUse("fido2", NOW - timedelta(minutes=1))
LAPTOP = {"deviceId": "d1", "displayName": "laptop1", "isCompliant": True, "trustType": "ServerAD", "model": "X1",
          "mdmAppId": None, "extensionAttribute1": "SAW", "manufacturer": None}  # fmt: skip


def make_locations(*documents: dict[str, Any]) -> dict[str, NamedLocation]:
    """Compiled locations by id."""
    return {location.id: location for location in map(compile_named_location, documents)}


def make_ranges(name: str, *ranges: str, trusted: bool = False) -> dict[str, Any]:
    """A location of addresses."""
    kinds = {True: "#microsoft.graph.iPv6CidrRange", False: "#microsoft.graph.iPv4CidrRange"}
    return {
        "@odata.type": "#microsoft.graph.ipNamedLocation",
        "id": name,
        "displayName": name,
        "isTrusted": trusted,
        "ipRanges": [{"@odata.type": kinds[":" in each], "cidrAddress": each} for each in ranges],
    }


def make_countries(name: str, *codes: str, unknown: bool = False, **changes: Any) -> dict[str, Any]:
    """A location of countries."""
    return {
        "@odata.type": "#microsoft.graph.countryNamedLocation",
        "id": name,
        "displayName": name,
        "countriesAndRegions": list(codes),
        "includeUnknownCountriesAndRegions": unknown,
        "countryLookupMethod": "clientIpAddress",
    } | changes


LOCATIONS = make_locations(
    make_ranges("office", "192.0.2.0/24", "2001:db8::/32", trusted=True),
    make_ranges("branch", "198.51.100.0/24"),
    make_countries("home", "DE", "AT"),
    make_countries("abroad", "FR", unknown=True),
    {"@odata.type": "#microsoft.graph.compliantNetworkNamedLocation", "id": "network", "displayName": "network"},
)


def make_sign_in(**changes: Any) -> SignIn:
    """Alice from the office with a second factor on a laptop in order."""
    fields: dict[str, Any] = {
        "at": NOW,
        "user": ALICE,
        "client_app": "mobileAppsAndDesktopClients",
        "platform": "windows",
        "address": ip_address("192.0.2.7"),
        "country": "DE",
        "sign_in_risk": "none",
        "user_risk": "none",
        "insider_risk": "none",
        "transfer_method": "none",
        "device": LAPTOP,
        "compliant": YES,
        "domain_joined": YES,
        "methods": (PASSWORD, SMS),
        "terms_accepted": frozenset({"t1"}),
        "password_changed": True,
        "authenticated_at": NOW - timedelta(minutes=1),
    }
    return SignIn(**fields | changes)


def make_policy(*controls: str, **parts: Any) -> dict[str, Any]:
    """A policy about the VPN for everybody. Names of conditions and of grant controls set those besides."""
    given = {key: parts.pop(key) for key in ("name", "state", "operator", "users", "applications") if key in parts}
    document = make_document(*controls, **given)
    session = parts.pop("sessionControls", None)
    for name in ("termsOfUse", "customAuthenticationFactors", "authenticationStrength", "future"):
        if name in parts:
            document["grantControls"][name] = parts.pop(name)
    document["conditions"] |= parts
    return document | {"sessionControls": session}


def compile_policy(document: dict[str, Any]) -> AccessPolicy:
    """With everybody and every location there is."""
    return compile_access_policy(document, RESOLVED, locations=LOCATIONS)


def evaluate(sign_in: SignIn, *documents: dict[str, Any]) -> Evaluation:
    """What all policies together say."""
    return evaluate_access_policies([compile_policy(document) for document in documents], sign_in)


def find_word(sign_in: SignIn, document: dict[str, Any]) -> str:
    """What one policy says."""
    return evaluate(sign_in, document).results[0].result
