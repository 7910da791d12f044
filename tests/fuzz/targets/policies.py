"""Policies as JSON: conditional access as Graph has it, named locations, strengths, network and compliance policies."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from evertunnel.access.compliance import compile_compliance_policy
from evertunnel.access.conditional.evaluate_request import read_evaluate_request
from evertunnel.access.conditional.evaluation import evaluate_access_policies
from evertunnel.access.conditional.locations import compile_named_location
from evertunnel.access.conditional.policies import compile_access_policy, list_references
from evertunnel.access.conditional.strengths import compile_strength
from evertunnel.access.documents import PolicyError
from evertunnel.access.network_policies import compile_network_policy
from evertunnel.access.policy_tests import compile_policy_test
from evertunnel.actions.policy_files import PolicyFile, Problems, list_documents, verify_plain
from tests.fuzz.target import Target
from tests.unit.access.conditional.samples import LOCATIONS, RESOLVED, make_countries, make_ranges, make_sign_in
from tests.unit.access.conditional.test_hostile import FULL, STRENGTH

_REQUEST = {
    "signInIdentity": {"@odata.type": "#microsoft.graph.userSignIn", "userId": "alice@corp.example"},
    "signInContext": {"@odata.type": "#microsoft.graph.applicationContext", "includeApplications": ["VPN"]},
    "signInConditions": {"ipAddress": "192.0.2.7", "country": "DE", "devicePlatform": "windows"},
}
_COMPLIANCE = {
    "platform": "windows",
    "rules": {"diskEncryption": True, "operatingSystemVersionAtLeast": "10.0.22631"},
    "gracePeriodDays": 1,
}
_NETWORK = {
    "permission": "grant",
    "conditions": {"user_groups": ["Sales"]},
    "settings": {"session_timeout_seconds": 3600},
}

_TEST = {
    "name": "from the office", "user": "alice@corp.example", "device": "laptop1", "address": "192.0.2.7",
    "country": "DE", "platform": "windows", "compliant": True, "user_risk": "low", "methods": ["password"],
    "signed_in_seconds_ago": 60, "device_properties": {"model": "X1"}, "expect": "grant",
}  # fmt: skip


def build() -> Target:
    """One document of each kind with everything in it."""
    checks: list[Callable[[Any], object]] = [
        _check_access, compile_named_location, compile_strength, compile_compliance_policy,
        partial(compile_network_policy, "x"), read_evaluate_request, compile_policy_test,
    ]  # fmt: skip
    documents = [
        (0, FULL), (0, {"value": [FULL]}), (1, make_ranges("x", "192.0.2.0/24", "2001:db8::/32", trusted=True)),
        (1, make_countries("x", "DE", unknown=True)), (2, STRENGTH), (3, _COMPLIANCE), (4, _NETWORK),
        (5, _REQUEST), (6, _TEST),
    ]  # fmt: skip
    seeds = [bytes((number,)) + json.dumps(document).encode() for number, document in documents]
    words = [
        '"All"',
        "null",
        "[]",
        "{}",
        "1e999",
        "-0",
        "NaN",
        "\\ud800",
        '"conditions":{',
        '"unknownFutureValue"',
        "::/0",
    ]
    return Target(partial(check, checks), seeds, largest_bytes=8192, words=[word.encode() for word in words])


def check(checks: list[Callable[[Any], object]], data: bytes) -> None:
    """Read by the first octet; only PolicyError may come of what is JSON."""
    if not data:
        return
    try:
        value = json.loads(data[1:])
    except (ValueError, RecursionError):
        return
    problems = Problems()
    for _, document in list_documents([PolicyFile("", value)], problems):
        try:
            verify_plain(document)
            checks[data[0] % len(checks)](document)
        except PolicyError as error:
            assert error.path.startswith("$") and len(error.path) < 500 and 0 < len(error.problem) < 2_000


def _check_access(document: Any) -> None:
    """What can be read can be evaluated."""
    list_references(document)
    policy = compile_access_policy(document, RESOLVED, locations=LOCATIONS)
    evaluate_access_policies([policy], make_sign_in())
