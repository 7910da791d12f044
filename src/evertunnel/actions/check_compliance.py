"""Explain what is known of a device's compliance: the verdict rule by rule, and every fact behind it."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from evertunnel.access.fact_sources import is_verdict_source
from evertunnel.access.facts import COMPLIANT, Facts, find_device_fact
from evertunnel.access.posture import judge_device
from evertunnel.actions.store_facts import POLICY, find_failed_since, load_compliance_policies
from evertunnel.model import Device, Fact, SubjectKind
from evertunnel.storage import facts, people
from evertunnel.storage.store import Store


def check_compliance(store: Store, device: str, *, now: datetime) -> dict[str, Any]:
    """As JSON. `compliant` is what a policy is told, which other sources may decide; `verdict` is our own policy's.

    Raises NotFoundError.
    """
    with store.read() as connection:
        row = people.get_subject(connection, SubjectKind.DEVICE, device)
        known = facts.list_facts(connection, SubjectKind.DEVICE, row.id)
        policies = load_compliance_policies(connection)
    by_name: dict[str, tuple[Fact, ...]] = {}
    for fact in known:
        by_name[fact.name] = (*by_name.get(fact.name, ()), fact)
    compliant, because = find_device_fact(
        Facts(at=now, tunnel=None, device=Device(row.id, row.name), device_facts=by_name), COMPLIANT
    )
    said = [fact for fact in known if not is_verdict_source(fact.source) and fact.source != POLICY]
    verdict = judge_device(policies, said, find_failed_since(known), now)
    return {
        "device": row.name,
        "compliant": compliant,
        "because": because,
        "verdict": {
            "compliant": verdict.compliant,
            "detail": verdict.detail,
            "failed_since": verdict.failed_since,
            "grace_ends": verdict.grace_ends,
            "changes_at": verdict.changes_at,
        },
        "rules": [asdict(rule) for rule in verdict.rules],
        "facts": [asdict(fact) | {"counts": fact.expires_at is None or now < fact.expires_at} for fact in known],
    }
