"""Decisions from the state in memory, which follows the database.

Whoever records a grant refreshes and decides in that very transaction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from cryptography import x509
from sqlalchemy import Connection

from evertunnel.access.computed_risks import Place
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.policies import AccessPolicy
from evertunnel.access.conditional.risks import SignInRisk, UserRisk
from evertunnel.access.conditional.sign_in import read_address
from evertunnel.access.conditional.strengths import AuthenticationStrength
from evertunnel.access.decision import Policies, decide_certificate, decide_tunnel
from evertunnel.access.documents import PolicyError
from evertunnel.access.facts import SIGN_IN_RISK, USER_RISK, Facts, SignInFacts
from evertunnel.access.login_names import fold_login_name, list_login_names
from evertunnel.access.network_policies import NetworkPolicy, compile_network_policy, list_login_methods
from evertunnel.access.own_tunnel import GRACE, OwnTunnel
from evertunnel.access.told_facts import read_told_facts
from evertunnel.actions.nt_hashes import mark_password
from evertunnel.actions.policy_names import (
    asks_for,
    compile_location,
    compile_stored_policy,
    compile_stored_strength,
    demands_own_tunnel,
    names_country,
)
from evertunnel.model import (
    Authority,
    Certificate,
    Decision,
    Device,
    Gateway,
    LoginMethod,
    Outcome,
    Reason,
    TunnelKind,
    User,
)
from evertunnel.pki.kinds import KINDS
from evertunnel.storage import snapshot
from evertunnel.storage.own_tunnels import OwnTunnels
from evertunnel.storage.snapshot import Changes, SealedGateway, Snapshot

_USAGES = {kind: frozenset(usage.dotted_string for usage in rules.usages) for kind, rules in KINDS.items()}
_KINDS = frozenset(
    {
        snapshot.NETWORK_POLICIES,
        snapshot.ACCESS_POLICIES,
        snapshot.NAMED_LOCATIONS,
        snapshot.AUTHENTICATION_STRENGTHS,
    }
)
_NOTHING_KNOWN = SignInFacts()
_NO_TUNNELS = OwnTunnels()
_NO_RISK = "none"
_COUNTRY, _SIGN_IN_RISK, _USER_RISK, _OWN_TUNNEL = "country", SIGN_IN_RISK, USER_RISK, "own tunnel"
_NONE: frozenset[str] = frozenset()
_ALL = frozenset({_COUNTRY, _SIGN_IN_RISK, _USER_RISK, _OWN_TUNNEL})

# The country of an address: its code, NO_COUNTRY if it was looked for in vain, None if that cannot be told.
FindCountry = Callable[[IPv4Address | IPv6Address], str | None]
# Where an address is; None if nobody can tell.
FindPlace = Callable[[IPv4Address | IPv6Address], Place | None]
_Object = TypeVar("_Object")


class Decider:
    """Compiled policies and everything known of users, devices and certificates, as of one epoch.

    `find_country` is asked only while a policy names countries, `find_place` while one asks for the risk of a sign-in,
    or `always`; without them nothing is known of that.
    """

    def __init__(
        self, find_country: FindCountry | None = None, find_place: FindPlace | None = None, *, always: bool = False
    ) -> None:
        self._find_country, self._find_place = find_country, find_place
        self._always_finds = always
        # What policies ask for that is looked up only then.
        self._asks = _ALL if always else _NONE
        self._locations: dict[str, NamedLocation] = {}
        self._strengths: dict[str, AuthenticationStrength] = {}
        self._snapshot = Snapshot()
        self._policies = Policies()
        self._broken_policy = ""
        self._reading = ""
        # What has to be compiled again. Thousands of ranges take long and change seldom.
        self._due: set[str] = set()
        self._stale = False
        # By gateway and switch, with the policies they come from: another thread may compile new ones meanwhile.
        self._offers: dict[tuple[str, bool], tuple[Policies, tuple[LoginMethod, ...]]] = {}
        self._users_by_login_name: dict[str, str] | None = None

    @property
    def epoch(self) -> int:
        """The epoch this decides at."""
        return self._snapshot.epoch

    def refresh(self, connection: Connection, *, epoch: int | None = None) -> Changes:
        """Follow the database to this transaction's epoch; compile policies anew if any changed.

        A writing transaction gives the epoch it read first, which saves asking for it again.
        """
        with self._all_or_nothing():
            changes = self._follow(connection, epoch)
            if self._stale:
                self._compile()
                snapshot.follow_own_tunnels(connection, self._snapshot, wanted=_OWN_TUNNEL in self._asks)
        return changes

    def read(self, connection: Connection) -> None:
        """The same but for compiling, which a transaction need not wait for. If policies changed, none counts until
        `compile`. Device tunnels are followed only if they were before, as they `always` are.
        """
        with self._all_or_nothing():
            self._follow(connection, None)

    def compile(self) -> None:
        """Compile what changed since this was done last."""
        with self._all_or_nothing():
            if self._stale:
                self._compile()

    def _follow(self, connection: Connection, epoch: int | None) -> Changes:
        changes = snapshot.follow(connection, self._snapshot, epoch=epoch)
        if changes.kinds:
            self._users_by_login_name = None
        if changes.kinds & _KINDS:
            self._due |= changes.kinds
            self._stale, self._policies, self._broken_policy = True, Policies(), "they are not compiled yet"
        return changes

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._snapshot.epoch = 0  # half of it may be in: next time all is read afresh
            self._due = set(_KINDS)
            raise

    @property
    def snapshot(self) -> Snapshot:
        """Everything known. To be read only."""
        return self._snapshot

    @property
    def policies(self) -> Policies:
        """All policies, compiled."""
        return self._policies

    @property
    def bounds_sessions(self) -> bool:
        """Whether any policy says how long a session lasts."""
        return any("session_timeout_seconds" in each.settings for each in self._policies.network) or any(
            each.session is not None for each in self._policies.access
        )

    def find_certificate(self, authority: Authority, serial: int) -> Certificate | None:
        """What we know of a serial of ours."""
        return self._snapshot.certificates.get((authority, serial))

    def find_certificate_by_fingerprint(self, fingerprint: bytes) -> Certificate | None:
        """The certificate of ours whose DER has this SHA-256."""
        return self._snapshot.certificates_by_fingerprint.get(fingerprint)

    def find_certificate_by_id(self, certificate_id: str | None) -> Certificate | None:
        """What we know of a certificate row."""
        return self._snapshot.certificates_by_id.get(certificate_id) if certificate_id else None

    def find_user(self, user_id: str | None) -> User | None:
        """A user by id."""
        return self._snapshot.users.get(user_id) if user_id else None

    def list_login_methods(self, gateway: Gateway) -> tuple[LoginMethod, ...]:
        """What network policies that could match a user tunnel on a gateway allow: in their order, and in its own.

        Who the client is nobody knows yet, so it says nothing of who may log in how. Never empty: somebody whom no
        policy could grant is refused by the decision, which tells why.
        """
        policies, passwords = self._policies, self._snapshot.mschapv2
        found = self._offers.get((gateway.id, passwords))
        if found is None or found[0] is not policies:
            methods = list_login_methods(policies.network, gateway.id, passwords=passwords)
            found = self._offers[gateway.id, passwords] = policies, methods
        return found[1]

    def find_nt_hash(self, login_name: str) -> tuple[str, bytes, bool] | None:
        """Of whoever calls himself that: user id, sealed NT hash, whether the password must be changed.

        None when there is none, when MS-CHAPv2 is off, or when two users may call themselves that.
        """
        if not self._snapshot.mschapv2:
            return None
        if self._users_by_login_name is None:
            self._users_by_login_name = self._index_login_names()
        user_id = self._users_by_login_name.get(fold_login_name(login_name), "")
        kept = self._snapshot.nt_hashes.get(user_id)
        return None if kept is None else (user_id, *kept)

    def find_password_mark(self, user_id: str) -> bytes | None:
        """Of the password that somebody has now for MS-CHAPv2 (nt_hashes.mark_password)."""
        kept = self._snapshot.nt_hashes.get(user_id)
        return None if kept is None else mark_password(kept[0], expired=kept[1])

    def _index_login_names(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for user in self._snapshot.users.values():
            for name in list_login_names(user.name):
                found[name] = "" if name in found else user.id
        return found

    def find_device(self, device_id: str | None) -> Device | None:
        """A device by id."""
        return self._snapshot.devices.get(device_id) if device_id else None

    def find_gateway(self, gateway_id: str) -> Gateway | None:
        """A gateway by id."""
        return self._snapshot.gateways.get(gateway_id)

    def list_gateways(self) -> list[tuple[Gateway, SealedGateway]]:
        """All gateways with their sealed secrets."""
        return [(gateway, self._snapshot.sealed[gateway.id]) for gateway in self._snapshot.gateways.values()]

    def list_access_authorities(self) -> list[x509.Certificate]:
        """Those whose short-lived certificates are taken."""
        return [x509.load_der_x509_certificate(der) for der in self._snapshot.access_authorities]

    def gather_facts(
        self,
        *,
        at: datetime,
        tunnel: TunnelKind | None,
        gateway: Gateway | None = None,
        certificate: Certificate | None = None,
        user: User | None = None,
        device: Device | None = None,
        client_address: str = "",
        established: bool = False,
        methods: tuple[str, ...] = (),
        signed_in_at: datetime | None = None,
        login_method: LoginMethod | None = None,
        crypto_bound: bool | None = None,
    ) -> Facts:
        """Everything known that bears on a request. User, device and sign-in come from the certificate unless given."""
        if certificate is not None:
            user = user or self.find_user(certificate.user_id)
            device = device or self.find_device(certificate.device_id)
            if signed_in_at is None:
                methods, signed_in_at = certificate.methods, certificate.signed_in_at
        if gateway is not None:
            # Whoever names it may have looked it up long ago; one that is gone is none that may take tunnels.
            gateway = self.find_gateway(gateway.id) or replace(gateway, enabled=False)
        facts = Facts(
            at=at,
            tunnel=tunnel,
            gateway=gateway,
            user=user,
            device=device,
            certificate=certificate,
            certificate_usages=_USAGES[certificate.kind] if certificate else frozenset(),
            user_denial=self.find_denial(user.id if user else None, at),
            device_denial=self.find_denial(device.id if device else None, at),
            device_facts=self._snapshot.device_facts.get(device.id, {}) if device else {},
            user_facts=self._snapshot.user_facts.get(user.id, {}) if user else {},
            client_address=client_address,
            established=established,
            authentication_methods=methods,
            signed_in_at=signed_in_at,
            sign_in=self.gather_sign_in(client_address),
            method=login_method,
            crypto_bound=crypto_bound,
            own_tunnel=self.find_own_tunnel(device, at, established=established),
        )
        # Most know nothing more of anybody: then nothing is copied.
        return replace(facts, sign_in=read_told_facts(facts)) if facts.device_facts or facts.user_facts else facts

    def decide_tunnel(self, facts: Facts, *, with_results: bool = True) -> Decision:
        """May this tunnel come up, or stay up? With every policy's result only if somebody reads them."""
        if facts.method is not None and facts.method.by_password and not self._snapshot.mschapv2:
            return Decision(Outcome.REFUSED, Reason.MSCHAPV2_SWITCHED_OFF, "MS-CHAPv2 is switched off")
        return self._explain(decide_tunnel(self._policies, facts, with_results=with_results))

    def decide_certificate(self, facts: Facts) -> Decision:
        """May a short-lived certificate be issued?"""
        return self._explain(decide_certificate(self._policies, facts))

    def gather_sign_in(self, client_address: str) -> SignInFacts:
        """What is known without any fact. Of risks: none, where we look for them and found nothing."""
        if not self._asks:
            return _NOTHING_KNOWN
        asks = self._asks
        address = read_address(client_address) if asks & {_COUNTRY, _SIGN_IN_RISK} else None
        country = None
        if _COUNTRY in asks and address is not None and self._find_country is not None:
            country = self._find_country(address)
        return SignInFacts(
            country=country,
            sign_in_risk=_NO_RISK if _SIGN_IN_RISK in asks and self._can_place(address) else None,
            user_risk=_NO_RISK if _USER_RISK in asks else None,
        )

    def _can_place(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether a sign-in from there can be told from impossible travel, or need not be."""
        if address is None:
            return False
        if self._find_place is not None and self._find_place(address) is not None:
            return True
        return any(each.is_trusted and each.holds(address, None) for each in self._locations.values())

    def find_own_tunnel(self, device: Device | None, at: datetime, *, established: bool) -> OwnTunnel | None:
        """What is known of a device's own tunnels; None while nobody asks for them."""
        known = self._snapshot.own_tunnels
        if known is None or device is None:
            return None
        tunnels = known.get(device.id, _NO_TUNNELS)
        changed_at = tunnels.changed_at
        return OwnTunnel(tunnels.addresses, established and changed_at is not None and at - changed_at < GRACE)

    def find_denial(self, subject_id: str | None, at: datetime) -> str:
        """Why a user or a device is denied at a moment; empty when it is not."""
        for denial in self._snapshot.denials.get(subject_id or "", ()):
            if denial.until is None or at < denial.until:
                return denial.reason or "no reason was given"
        return ""

    def _explain(self, decision: Decision) -> Decision:
        """Without this the record would say that no policy matches, which is true and helps nobody."""
        if self._broken_policy and decision.reason in (Reason.NO_NETWORK_POLICY, Reason.NO_ACCESS_POLICY):
            return replace(decision, detail=f"none counts while one of them cannot be read: {self._broken_policy}")
        return decision

    def _compile(self) -> None:
        self._reading = ""
        self._policies = Policies()  # whatever happens below, what stood before counts no longer
        self._asks = _ALL if self._always_finds else _NONE
        known = self._snapshot
        policies: tuple[list[NetworkPolicy], list[AccessPolicy]] = ([], [])
        try:
            if snapshot.NAMED_LOCATIONS in self._due:
                self._locations = self._compile_all(known.locations, compile_location)
                self._due.discard(snapshot.NAMED_LOCATIONS)
            if snapshot.AUTHENTICATION_STRENGTHS in self._due:
                self._strengths = self._compile_all(known.strengths, compile_stored_strength)
                self._due.discard(snapshot.AUTHENTICATION_STRENGTHS)
            for name, document in known.network:
                self._reading = f"policy {name!r}"
                policies[0].append(compile_network_policy(name, document))
            for name, document, resolved in known.access:
                self._reading = f"policy {name!r}"
                policies[1].append(compile_stored_policy(document, resolved, self._locations, self._strengths))
        except PolicyError as error:
            # Leaving one policy out could leave out the one that denies. No policies at all means no.
            self._broken_policy = f"{self._reading}: {error}"
        else:
            self._policies = Policies(*policies)
            self._broken_policy = ""
            if not self._always_finds:
                self._asks = _list_asked(*policies)
        self._stale = False

    def _compile_all(
        self, documents: Mapping[str, Mapping[str, object]], compile_one: Callable[[str, Mapping[str, object]], _Object]
    ) -> dict[str, _Object]:
        compiled = {}
        for object_id, document in documents.items():
            self._reading = f"what policies name, {document.get('displayName', object_id)!r}"
            compiled[object_id] = compile_one(object_id, document)
        return compiled


def _list_asked(network: Sequence[NetworkPolicy], access: Sequence[AccessPolicy]) -> frozenset[str]:
    """What policies that are not off ask for."""
    asked = {_OWN_TUNNEL for policy in network if policy.enabled and policy.device_tunnel}
    for policy in access:
        if policy.is_off:
            continue
        if names_country(policy):
            asked.add(_COUNTRY)
        if asks_for(policy, SignInRisk):
            asked.add(_SIGN_IN_RISK)
        if asks_for(policy, UserRisk):
            asked.add(_USER_RISK)
        if demands_own_tunnel(policy):
            asked.add(_OWN_TUNNEL)
    return frozenset(asked)
