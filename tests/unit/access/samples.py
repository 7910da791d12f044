"""People, devices and facts to decide about, and policy documents to begin from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from evertunnel.access.facts import Facts
from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Device,
    Fact,
    Gateway,
    TunnelKind,
    User,
)

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
ALICE = User("u1", "alice@corp.example", groups=frozenset({"g1"}))
LAPTOP = Device("d1", "laptop1.corp.example", groups=frozenset({"g2"}), users=frozenset({"u1"}))
GATEWAY = Gateway("gw1", "gw1", "127.0.0.1")
CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2"
CONDITIONAL_ACCESS = "1.3.6.1.4.1.311.87"


def make_certificate(kind: CertificateKind = CertificateKind.SHORT_LIVED, **changes: Any) -> Certificate:
    """A valid certificate of Alice on her laptop."""
    certificate = Certificate(
        id="c1",
        authority=Authority.DEVICE if kind is CertificateKind.DEVICE else Authority.ACCESS,
        serial=7,
        kind=kind,
        status=CertificateStatus.VALID,
        not_after=NOW + timedelta(hours=1),
        user_id=None if kind is CertificateKind.DEVICE else "u1",
        device_id="d1",
    )
    return replace(certificate, **changes)


def say(value: str, *, source: str = "administrator", age: float = 0, life: float | None = None) -> Fact:
    """What a source said of compliance, `age` seconds ago, good for `life` seconds."""
    observed_at = NOW - timedelta(seconds=age)
    return Fact(
        "compliant", value, source, observed_at, None if life is None else observed_at + timedelta(seconds=life)
    )


def make_facts(*compliance: Fact, **changes: Any) -> Facts:
    """Alice's laptop asks for the user tunnel with a short-lived certificate."""
    facts = Facts(
        at=NOW,
        tunnel=TunnelKind.USER,
        gateway=GATEWAY,
        user=ALICE,
        device=LAPTOP,
        certificate=make_certificate(),
        certificate_usages=frozenset({CLIENT_AUTHENTICATION, CONDITIONAL_ACCESS}),
        device_facts={"compliant": compliance} if compliance else {},
        client_address="192.0.2.7",
    )
    return replace(facts, **changes)


def make_document(
    *controls: str,
    name: str = "policy",
    state: str = "enabled",
    users: dict[str, Any] | None = None,
    applications: dict[str, Any] | None = None,
    operator: str = "AND",
) -> dict[str, Any]:
    """A conditional access policy about the VPN, for everybody unless said otherwise."""
    return {
        "displayName": name,
        "state": state,
        "conditions": {
            "users": {"includeUsers": ["All"]} if users is None else users,
            "applications": {"includeApplications": ["VPN"]} if applications is None else applications,
            "clientAppTypes": ["all"],
        },
        "grantControls": {"operator": operator, "builtInControls": list(controls)},
    }
