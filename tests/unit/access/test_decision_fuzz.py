"""No document grants by accident: whatever JSON comes, it is refused with PolicyError or means what it says."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from evertunnel.access.conditional.policies import State, compile_access_policy, list_references, list_unevaluable
from evertunnel.access.decision import Policies, decide_certificate, decide_tunnel
from evertunnel.access.documents import PolicyError
from evertunnel.access.facts import Facts
from evertunnel.access.network_policies import compile_network_policy, find_unmatched_condition
from evertunnel.model import TunnelKind
from tests.unit.access.samples import NOW, make_document, make_facts, say

WORDS = st.sampled_from(
    ["", "All", "None", "all", "VPN", "grant", "deny", "user", "device", "u1", "g1", "enabled", "disabled", "block",
     "compliantDevice", "mfa", "AND", "OR", "1.2.3", "x", "\ud800"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5)
KEYS = st.sampled_from(
    ["permission", "enabled", "conditions", "settings", "tunnel", "users", "groups",
     "user_groups", "device_groups", "devices", "gateways", "state",
     "allowed_certificate_oids", "session_timeout_seconds", "displayName", "grantControls", "operator",
     "builtInControls", "applications", "includeApplications", "includeUsers", "excludeUsers", "includeGroups",
     "@odata.type", "platforms"]
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)
NAMES = st.lists(st.sampled_from(["u1", "g1", "x"]), min_size=1, max_size=2)
# Half of them right, so that what is taken is looked at too.
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={"tunnel": st.sampled_from(["user", "device"]), "users": NAMES, "groups": NAMES, "gateways": NAMES},
) | st.fixed_dictionaries(
    {},
    optional={
        "tunnel": st.sampled_from(["user", "device"]) | JSON,
        **{name: st.lists(WORDS, max_size=3) | JSON for name in ("users", "groups", "devices", "gateways")},
    },
)
SETTINGS = st.fixed_dictionaries(
    {}, optional={"allowed_certificate_oids": st.just(["1.2.3"]), "session_timeout_seconds": st.integers(0, 2**31)}
) | st.dictionaries(KEYS, JSON, max_size=2)
NETWORK = st.fixed_dictionaries(
    {"permission": st.sampled_from(["grant", "deny"])},
    optional={"enabled": st.booleans(), "conditions": CONDITIONS, "settings": SETTINGS},
) | st.fixed_dictionaries(
    {"permission": WORDS | JSON},
    optional={"enabled": LEAVES, "conditions": CONDITIONS | JSON, "settings": SETTINGS | JSON},
)
NOTHING_KNOWN = Facts(at=NOW, tunnel=None)


@given(NETWORK)
def test_a_network_policy_is_refused_or_means_what_it_says(document: Any) -> None:
    try:
        policy = compile_network_policy("policy", document)
    except PolicyError:
        event("refused")
        return
    event("taken")
    assert policy.grant == (document["permission"] == "grant")
    assert policy.enabled == document.get("enabled", True)
    # Whoever wrote a condition meant somebody; one that is nobody must not match.
    if document.get("conditions"):
        assert find_unmatched_condition(policy, NOTHING_KNOWN) is not None
    assert bool(policy.allowed_certificate_oids) == ("allowed_certificate_oids" in document.get("settings", {}))
    assert bool(policy.settings) == ("session_timeout_seconds" in document.get("settings", {}))


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document that can be changed."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += list_places(child, (*path, key))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


FULL = make_document(
    "block",
    users={"includeUsers": ["All"], "excludeUsers": ["None"], "includeGroups": ["g1"], "excludeGroups": ["g9"]},
    applications={"includeApplications": ["VPN"], "excludeApplications": ["Office365"]},
)
RESOLVED = {word: word for word in ("u1", "g1", "g9", "x")}


@given(st.sampled_from(list_places(FULL)), JSON | WORDS | st.lists(WORDS, max_size=2))
def test_a_changed_access_policy_is_refused_or_never_vouches_for_a_device_nothing_is_known_of(
    place: tuple[Any, ...], value: Any
) -> None:
    try:
        policy = compile_access_policy(put(FULL, place, value), RESOLVED)
    except PolicyError:
        event("refused")
        return
    event("taken")
    assert policy.grant is not None
    assert not decide_certificate(Policies((), (policy,)), make_facts(tunnel=None)).granted


@given(JSON)
def test_any_json_is_a_policy_or_a_policy_error(document: Any) -> None:
    for read in (
        lambda: compile_network_policy("policy", document),
        lambda: compile_access_policy(document, {}),
        lambda: list_references(document),
    ):
        with contextlib.suppress(PolicyError):
            read()


INERT = ("id", "description", "templateId", "createdDateTime", "modifiedDateTime", "deletedDateTime")
DEMAND = put(FULL, ("grantControls", "builtInControls"), ["compliantDevice"])
DEMANDED = compile_access_policy(DEMAND, RESOLVED)
# Keys of Graph that FULL has no need of.
LATER = ("sessionControls", "platforms", "locations", "devices", "clientApplications", "termsOfUse")
CONTAINERS = [(), ("conditions",), ("conditions", "users"), ("conditions", "applications"), ("grantControls",)]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda path: ".".join(("$", *path)))
@given(key=st.text(min_size=1, max_size=12), value=st.integers() | st.just(True) | st.text(min_size=1) | st.just([0]))
def test_a_key_nobody_evaluates_is_told_wherever_it_stands_and_vouches_for_nobody(
    container: tuple[str, ...], key: str, value: Any
) -> None:
    place: Any = DEMAND
    for name in container:
        place = place[name]
    assume(
        key not in place
        and key not in INERT
        and "@odata" not in key
        and key not in LATER
        and not key.startswith("exclude")
    )
    path = ".".join(("$", *container, key))
    policy = compile_access_policy(put(DEMAND, (*container, key), value), RESOLVED)
    assert path in dict(list_unevaluable(policy))
    facts = make_facts(say("true"), tunnel=None)
    assert decide_certificate(Policies((), (DEMANDED,)), facts).granted
    decision = decide_certificate(Policies((), (policy,)), facts)
    # Somebody else is included for certain whatever a key that includes says.
    assert decision.granted == (container in (("conditions", "users"), ("conditions", "applications")))


@given(st.lists(NETWORK, max_size=4), st.lists(st.tuples(st.sampled_from(State), st.booleans()), max_size=4))
def test_a_tunnel_is_granted_only_if_some_policy_says_grant(documents: list[Any], access: list[Any]) -> None:
    network = []
    for index, document in enumerate(documents):
        try:
            network.append(compile_network_policy(str(index), document))
        except PolicyError:
            continue
    conditional = [
        compile_access_policy(make_document("block" if block else "compliantDevice", state=state.value), {})
        for state, block in access
    ]
    decision = decide_tunnel(Policies(network, conditional), make_facts(tunnel=TunnelKind.USER))
    first = next((p for p in network if p.enabled and find_unmatched_condition(p, make_facts()) is None), None)
    demanded = any(state is State.ON for state, _ in access)
    if decision.granted:
        assert first is not None and first.grant
        assert not demanded  # nothing is known of the device, and block is block
