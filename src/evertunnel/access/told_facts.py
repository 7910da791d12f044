"""What stored facts tell of a sign-in, in the words conditional access asks in: risks, platform, device properties."""

from dataclasses import replace
from typing import Any

from evertunnel.access.compliance import find_platform
from evertunnel.access.conditional.device_filter_properties import PROPERTIES, PropertyKind
from evertunnel.access.conditional.sign_in import DISPUTED
from evertunnel.access.fact_names import OPERATING_SYSTEM, split_texts
from evertunnel.access.facts import SIGN_IN_RISK, USER_RISK, Facts, SignInFacts, find_device_text, find_user_risk
from evertunnel.access.posture import find_dispute

_KINDS = {known.name: known.kind for known in PROPERTIES if known.kind is not PropertyKind.BOOLEAN}


def read_told_facts(facts: Facts) -> SignInFacts:
    """Beside what the facts know of the sign-in already, as of their moment.

    Where sources disagree about the platform it may be any.
    """
    told = [name for name in facts.device_facts if name in _KINDS]
    if not told and not facts.user_facts:
        return facts.sign_in
    device: dict[str, Any] = {}
    for name in told:
        if (text := find_device_text(facts, name)) is not None:
            device[name] = split_texts(text) if _KINDS[name] is PropertyKind.TEXTS else text
    return replace(
        facts.sign_in,
        platform=_find_platform(facts, device.get(OPERATING_SYSTEM)),
        sign_in_risk=find_user_risk(facts, SIGN_IN_RISK)[0],
        user_risk=find_user_risk(facts, USER_RISK)[0],
        device=device,
    )


def _find_platform(facts: Facts, system: str | None) -> str | None:
    alive = [
        fact
        for fact in facts.device_facts.get(OPERATING_SYSTEM, ())
        if fact.expires_at is None or facts.at < fact.expires_at
    ]
    if find_dispute(alive):
        return DISPUTED
    platform = None if system is None else find_platform(system)
    return None if platform is None else platform.value
