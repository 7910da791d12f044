"""Decisions from the state in memory, which follows the database.

Whoever records a grant refreshes and decides in that very transaction.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from cryptography import x509
from sqlalchemy import Connection

from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.policies import AccessPolicy, State
from evertunnel.access.conditional.sign_in import read_address
from evertunnel.access.conditional.strengths import AuthenticationStrength
from evertunnel.access.decision import Policies, decide_certificate, decide_tunnel
from evertunnel.access.documents import PolicyError
from evertunnel.access.facts import Facts, SignInFacts
from evertunnel.access.network_policies import NetworkPolicy, compile_network_policy
from evertunnel.access.told_facts import read_told_facts
from evertunnel.actions.policy_names import (
    compile_location,
    compile_stored_policy,
    compile_stored_strength,
    names_country,
)
from evertunnel.errors import InvalidInputError
from evertunnel.model import Authority, Certificate, Decision, Device, Gateway, Reason, TunnelKind, User
from evertunnel.pki.kinds import KINDS
from evertunnel.storage import snapshot
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

# The country of an address: its code, NO_COUNTRY if it was looked for in vain, None if that cannot be told.
FindCountry = Callable[[IPv4Address | IPv6Address], str | None]
_Object = TypeVar("_Object")


def compile_policies(stored: Snapshot) -> Policies:
    """The policies of a snapshot, which need not be those of the database. Raises InvalidInputError for a broken one.

    Thousands of ranges take their time: read first, compile when no transaction waits for it.
    """
    return Decider().compile_these(stored)


class Decider:
    """Compiled policies and everything known of users, devices and certificates, as of one epoch.

    `find_country` is asked only while a policy names countries, or `always`; without it no country is known.
    """

    def __init__(self, find_country: FindCountry | None = None, *, always: bool = False) -> None:
        self._find_country = find_country
        self._always_finds_country = always
        self._asks_for_country = False
        self._locations: dict[str, NamedLocation] = {}
        self._strengths: dict[str, AuthenticationStrength] = {}
        self._snapshot = Snapshot()
        self._policies = Policies()
        self._broken_policy = ""
        self._reading = ""
        # What has to be compiled again. Thousands of ranges take long and change seldom.
        self._due: set[str] = set()
        self._stale = False

    @property
    def epoch(self) -> int:
        """The epoch this decides at."""
        return self._snapshot.epoch

    def refresh(self, connection: Connection, *, epoch: int | None = None) -> Changes:
        """Follow the database to this transaction's epoch; compile policies anew if any changed.

        A writing transaction gives the epoch it read first, which saves asking for it again.
        """
        changes = self.read(connection, epoch=epoch)
        if self._stale:
            self.compile()
        return changes

    def read(self, connection: Connection, *, epoch: int | None = None) -> Changes:
        """The same but for compiling, which a transaction need not wait for. If policies changed, none counts until
        `compile`.
        """
        with self._all_or_nothing():
            changes = snapshot.follow(connection, self._snapshot, epoch=epoch)
        if changes.kinds & _KINDS:
            self._due |= changes.kinds
            self._stale, self._policies, self._broken_policy = True, Policies(), "they are not compiled yet"
        return changes

    def compile(self) -> None:
        """Compile what changed since this was done last."""
        with self._all_or_nothing():
            self._compile()
        self._stale = False

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._snapshot.epoch = 0  # half of it may be in: next time all is read afresh
            self._due = set(_KINDS)
            raise

    @property
    def policies(self) -> Policies:
        """All policies, compiled."""
        return self._policies

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
            user_denial=self._find_denial(user.id if user else None, at),
            device_denial=self._find_denial(device.id if device else None, at),
            device_facts=self._snapshot.device_facts.get(device.id, {}) if device else {},
            user_facts=self._snapshot.user_facts.get(user.id, {}) if user else {},
            client_address=client_address,
            established=established,
            authentication_methods=methods,
            signed_in_at=signed_in_at,
            sign_in=self._gather_sign_in(client_address),
        )
        # Most know nothing more of anybody: then nothing is copied.
        return replace(facts, sign_in=read_told_facts(facts)) if facts.device_facts or facts.user_facts else facts

    def decide_tunnel(self, facts: Facts, *, with_results: bool = True) -> Decision:
        """May this tunnel come up, or stay up? With every policy's result only if somebody reads them."""
        return self._explain(decide_tunnel(self._policies, facts, with_results=with_results))

    def decide_certificate(self, facts: Facts) -> Decision:
        """May a short-lived certificate be issued?"""
        return self._explain(decide_certificate(self._policies, facts))

    def compile_these(self, stored: Snapshot) -> Policies:
        """Take a snapshot's policies. Raises InvalidInputError when one cannot be read."""
        self._snapshot, self._due = stored, set(_KINDS)
        self._compile()
        if self._broken_policy:
            raise InvalidInputError(self._broken_policy)
        return self._policies

    def _gather_sign_in(self, client_address: str) -> SignInFacts:
        if not (self._asks_for_country or self._always_finds_country) or self._find_country is None:
            return _NOTHING_KNOWN
        address = read_address(client_address)
        return _NOTHING_KNOWN if address is None else SignInFacts(country=self._find_country(address))

    def _find_denial(self, subject_id: str | None, at: datetime) -> str:
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
        self._asks_for_country = False
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
            self._asks_for_country = any(
                policy.state is not State.OFF and names_country(policy) for policy in policies[1]
            )

    def _compile_all(
        self, documents: Mapping[str, Mapping[str, object]], compile_one: Callable[[str, Mapping[str, object]], _Object]
    ) -> dict[str, _Object]:
        compiled = {}
        for object_id, document in documents.items():
            self._reading = f"what policies name, {document.get('displayName', object_id)!r}"
            compiled[object_id] = compile_one(object_id, document)
        return compiled
