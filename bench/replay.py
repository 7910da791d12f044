"""What it takes to decide again: a draft over recorded attempts, and live sessions after a change."""

import time
from datetime import UTC, datetime, timedelta

import orjson

from bench.access import build_policies
from evertunnel.access.decision import Policies, decide_tunnel
from evertunnel.access.facts import Facts
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.access.recorded_facts import decode_facts, encode_facts
from evertunnel.access.replay import RecordedAttempt, replay
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

ATTEMPTS = 100_000
SESSIONS = 10_000
ACCESS_POLICIES = 50
_NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


def measure_replay() -> tuple[float, float]:
    """CPU seconds for the attempts, from their records to what differs, and for the sessions, from facts in memory."""
    policies = Policies([compile_network_policy("all", {"permission": "grant"})], build_policies()[:ACCESS_POLICIES])
    facts = _build_facts()
    record = orjson.dumps(encode_facts(facts))
    began = time.process_time()
    differ = sum(1 for _ in replay(policies, (_read(number, record) for number in range(ATTEMPTS))))
    replayed = time.process_time() - began
    began = time.process_time()
    refused = sum(not decide_tunnel(policies, facts, with_results=False).granted for _ in range(SESSIONS))
    decided = time.process_time() - began
    assert differ in (0, ATTEMPTS)
    assert refused in (0, SESSIONS)
    return replayed, decided


def _read(number: int, record: bytes) -> RecordedAttempt:
    facts = decode_facts(orjson.loads(record), at=_NOW, client_address="198.18.77.7")
    return RecordedAttempt(str(number), _NOW, True, "granted", "", facts)


def _build_facts() -> Facts:
    """Somebody in twenty groups, on a compliant device, with a password and a code."""
    groups = frozenset(f"g{number}" for number in range(20))
    later = _NOW + timedelta(hours=1)
    return Facts(
        at=_NOW,
        tunnel=TunnelKind.USER,
        gateway=Gateway("gw", "gw1", "127.0.0.1"),
        user=User("u1", "alice@corp.example", groups=groups),
        device=Device("d1", "laptop1.corp.example", users=frozenset({"u1"})),
        certificate=Certificate(
            "c1", Authority.ACCESS, 7, CertificateKind.SHORT_LIVED, CertificateStatus.VALID, later, "u1", "d1"
        ),
        device_facts={"compliant": (Fact("compliant", "true", "mdm", _NOW),)},
        client_address="198.18.77.7",
        authentication_methods=("password", "totp"),
        signed_in_at=_NOW,
    )
