"""What a gateway offers to clients: a profile is made from it, and held against it."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from evertunnel.errors import InvalidInputError
from evertunnel.model import LoginMethod, TunnelKind
from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.hashes import read_hash
from evertunnel.profiles.model import (
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    PEAP,
    Authentication,
    CertificateSelection,
    MachineCertificate,
    MSCHAPv2,
    NameRule,
    Network,
    Profile,
    Protocol,
    Route,
    Routing,
    Server,
    ServerTrust,
    Usage,
)
from evertunnel.profiles.suites import PRESETS, build_esp_proposal, build_ike_proposal

ACCESS_USAGE = Usage("Evertunnel Conditional Access", CONDITIONAL_ACCESS_OID)


@dataclass(frozen=True, slots=True)
class Offer:
    """A gateway as a client meets it. Hashes are SHA-1; networks in CIDR; proposals in strongSwan's words.

    `access_hash` is of the access authority that signs, the other two are of those that will and that did, all trusted.
    `methods` are those that network policies allow for user tunnels there, as these name them.
    """

    gateway: str
    public_name: str
    policy_server_names: tuple[str, ...]
    root_hash: str
    issuing_hash: str
    access_hash: str
    device_hash: str
    ike_proposals: tuple[str, ...]
    esp_proposals: tuple[str, ...]
    device_networks: tuple[str, ...]
    user_networks: tuple[str, ...]
    dns: tuple[str, ...] = ()
    staged_access_hashes: tuple[str, ...] = ()
    retired_access_hashes: tuple[str, ...] = ()
    methods: tuple[str, ...] = (LoginMethod.EAP_TLS, LoginMethod.PEAP_EAP_TLS)


def build_profile(
    offer: Offer,
    name: str,
    tunnel: TunnelKind,
    *,
    suffixes: tuple[str, ...] = (),
    long_lived: bool = False,
    suite: str = "recommended",
) -> Profile:
    """The profile that meets this gateway. The user tunnel takes short-lived certificates unless `long_lived`.

    Raises InvalidInputError for a suite the gateway does not offer.
    """
    cryptography = PRESETS.get(suite)
    if cryptography is None or build_ike_proposal(cryptography) not in offer.ike_proposals:
        raise InvalidInputError(
            f"--suite: {suite!r} is none of {', '.join(PRESETS)} that gateway {offer.gateway} offers"
        )
    user = tunnel is TunnelKind.USER
    networks = [ip_network(text) for text in (offer.user_networks if user else offer.device_networks)]
    everything = any(network.prefixlen == 0 for network in networks)
    trust = ServerTrust(offer.policy_server_names, (offer.root_hash,))
    selection = (
        CertificateSelection(issuers=(offer.issuing_hash,))
        if long_lived
        else CertificateSelection(issuers=(offer.access_hash, *offer.staged_access_hashes), usages=(ACCESS_USAGE,))
    )
    return Profile(
        name=name,
        tunnel=tunnel,
        servers=(Server(offer.public_name),),
        authentication=EAPTLS(trust, selection) if user else MachineCertificate(),
        routing=Routing.FORCE if everything and user else Routing.SPLIT,
        class_based_route=everything and user,
        routes=() if everything and user else tuple(Route(network) for network in networks),
        dns_suffixes=suffixes,
        name_rules=_build_rules(offer, suffixes) if user else (),
        trusted_networks=suffixes,
        cryptography=cryptography,
        register_dns=not user,
    )


def _build_rules(offer: Offer, suffixes: tuple[str, ...]) -> tuple[NameRule, ...]:
    if not offer.dns:
        return ()
    rules = [NameRule("." + suffix, offer.dns) for suffix in suffixes]
    if any(("." + offer.public_name).endswith(rule.domain) for rule in rules):
        rules.append(NameRule(offer.public_name))
    return tuple(rules)


def verify_against(profile: Profile, offer: Offer) -> Iterator[Finding]:
    """What keeps this profile and this gateway from meeting."""
    at = f"gateway {offer.gateway}"
    if not any(server.address.lower() == offer.public_name.lower() for server in profile.servers):
        yield error(
            "server-name", "servers", f"no server is {offer.public_name}, the name in the certificate of {at}",
            "Windows compares the two and refuses with error 13801", f"name {offer.public_name}",
        )  # fmt: skip
    if not {Protocol.IKEV2, Protocol.AUTOMATIC} & set(profile.protocols):
        yield error("gateway-protocol", "protocols", f"{at} speaks IKEv2 only", "nothing else answers", "add IKEv2")
    yield from _verify_proposals(profile, offer, at)
    yield from _verify_routes(profile, offer, at)
    yield from _verify_authentication(profile, offer, at)


def _verify_proposals(profile: Profile, offer: Offer, at: str) -> Iterator[Finding]:
    why = "no common proposal: error 13868"
    if profile.cryptography is None:
        yield error(
            "no-proposal", "cryptography", f"Windows' default proposals are none of those of {at}", why, "set a suite"
        )
        return
    try:
        pairs = (
            (build_ike_proposal(profile.cryptography), offer.ike_proposals, "the IKE proposal"),
            (build_esp_proposal(profile.cryptography), offer.esp_proposals, "the ESP proposal"),
        )
    except InvalidInputError as refusal:
        yield error("no-proposal", "cryptography", str(refusal), why, "use a preset")
        return
    for proposal, offered, what in pairs:
        if proposal not in offered:
            yield error(
                "no-proposal", "cryptography", f"{what} {proposal} is not among those of {at}", why,
                f"use one of {', '.join(offered)}",
            )  # fmt: skip


def _verify_routes(profile: Profile, offer: Offer, at: str) -> Iterator[Finding]:
    texts = offer.user_networks if profile.tunnel is TunnelKind.USER else offer.device_networks
    reached = [ip_network(text) for text in texts]
    if profile.routing is Routing.FORCE and not any(network.prefixlen == 0 for network in reached):
        yield error(
            "force-not-carried", "routing", f"a force tunnel, but {at} carries {', '.join(texts)} only",
            "everything else is lost in the tunnel", "use split routing, or let the gateway carry 0.0.0.0/0",
        )  # fmt: skip
    for index, route in enumerate(profile.routes):
        if not route.excluded and not any(_lies_in(route.network, network) for network in reached):
            yield error(
                "route-not-carried", f"routes[{index}]", f"{at} does not carry {route.network}",
                "packets for it are lost in the tunnel", f"it carries {', '.join(texts)}",
            )  # fmt: skip
    for index, rule in enumerate(profile.name_rules):
        if rule.servers and offer.dns and not set(rule.servers) & set(offer.dns):
            yield advice(
                "other-dns", f"name_rules[{index}].servers", f"{at} gives clients other DNS servers",
                "the rule's may be those of before", f"use {', '.join(offer.dns)}",
            )  # fmt: skip
    included = [route.network for route in profile.routes if not route.excluded]
    for network in reached:
        if profile.routing is Routing.SPLIT and not any(_lies_in(network, route) for route in included):
            yield advice(
                "network-not-routed", "routes", f"{at} carries {network}, which the profile does not route whole",
                "clients do not reach all of it", f"add {network}",
            )  # fmt: skip


def _lies_in(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _verify_authentication(profile: Profile, offer: Offer, at: str) -> Iterator[Finding]:
    method, trust = profile.authentication, profile.trust
    if profile.tunnel is TunnelKind.DEVICE:
        if not isinstance(method, MachineCertificate):
            yield error(
                "gateway-method", "authentication", f"the device tunnel of {at} takes machine certificates",
                "EAP is the user tunnel's", "use the machine certificate",
            )  # fmt: skip
        elif (issuer := read_hash(method.issuer)) is not None and issuer != offer.device_hash:
            yield error(
                "device-issuer", "authentication.issuer", f"the issuer is not the device authority of {at}",
                "Windows finds no certificate (error 13806), or one that is refused", f"name {offer.device_hash}",
            )  # fmt: skip
        return
    login = _name_method(method)
    if login is None:
        yield error(
            "gateway-method", "authentication", "the policy server does not speak this method",
            "every login is refused", f"use {' or '.join(offer.methods)}",
        )  # fmt: skip
    elif login not in offer.methods:
        yield error(
            "gateway-method", "authentication", f"no network policy of {at} allows {login}",
            "every login is refused", f"use {' or '.join(offer.methods)}, or allow it in a network policy (--method)",
        )  # fmt: skip
    if trust is None:
        return
    if trust.roots and offer.root_hash not in trust.roots:
        yield error(
            "root", "authentication.trust.roots", f"the root of the policy server of {at} is not trusted",
            "the client breaks the handshake off", f"add {offer.root_hash}",
        )  # fmt: skip
    if trust.names and not any(_matches(name, real) for name in trust.names for real in offer.policy_server_names):
        yield error(
            "policy-server-name", "authentication.trust.names", "the policy server has another name",
            "the client breaks the handshake off", f"name {', '.join(offer.policy_server_names)}",
        )  # fmt: skip
    selection = profile.selection
    access = {offer.access_hash, *offer.staged_access_hashes, *offer.retired_access_hashes}
    ours = {offer.issuing_hash, offer.root_hash, *access}
    if selection is not None and selection.issuers and not ours & set(selection.issuers):
        yield error(
            "issuer", "authentication.selection.issuers", f"no issuer is one that {at} trusts",
            "the client finds no certificate, or one that is refused", f"name {offer.access_hash}",
        )  # fmt: skip
    elif selection is not None and selection.issuers and profile.entra is None:
        short_lived = any(usage.oid == CONDITIONAL_ACCESS_OID for usage in selection.usages)
        named = set(selection.issuers)
        if short_lived and not {offer.access_hash, offer.root_hash} & named:
            yield error(
                "issuer", "authentication.selection.issuers",
                "short-lived certificates are demanded, of an authority that issues none",
                "the client finds no certificate that has both", f"name the access authority: {offer.access_hash}",
            )  # fmt: skip
        elif short_lived and offer.root_hash not in named and not set(offer.staged_access_hashes) <= named:
            yield advice(
                "staged-issuer", "authentication.selection.issuers", f"{at} has an access authority that signs soon",
                "when it does, clients with this profile find no certificate",
                f"name it besides: {', '.join(offer.staged_access_hashes)}",
            )  # fmt: skip
    if profile.entra is not None:
        yield error(
            "entra-not-trusted", "entra", f"{at} takes certificates of our own authorities, not Entra's",
            "the login is refused as foreign", "use our certificates: no DeviceCompliance, the access authority's hash",
        )  # fmt: skip


def _name_method(method: Authentication) -> LoginMethod | None:
    match method:
        case EAPTLS():
            return LoginMethod.EAP_TLS
        case MSCHAPv2():
            return LoginMethod.EAP_MSCHAPV2
        case PEAP(inner=EAPTLS()):
            return LoginMethod.PEAP_EAP_TLS
        case PEAP():
            return LoginMethod.PEAP_EAP_MSCHAPV2
        case _:
            return None


def _matches(pattern: str, name: str) -> bool:
    """ServerNames may hold a regular expression with a star; as a glob it is read generously enough for a warning."""
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace(".*", "*").replace("\\", ""))
