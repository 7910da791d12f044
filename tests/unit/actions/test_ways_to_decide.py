"""A login, what-if, a replay and the tunnel that is up decide alike, whatever policies and facts there are."""

import random
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from evertunnel.access.conditional.sign_in import read_address
from evertunnel.access.what_if import Supposition
from evertunnel.actions.ask_what_if import Question, ask_what_if
from evertunnel.actions.authenticate import record_login
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.end_unentitled_sessions import find_refusal
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_facts import import_facts
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.actions.replay_attempts import Draft, build_draft, replay_page
from evertunnel.model import CertificateKind, Decision
from evertunnel.storage import sessions
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.actions.test_authenticate import make_login

COUNTRIES = {"192.0.2.7": "DE", "203.0.113.9": "KP"}
ADDRESSES = ["192.0.2.7[4500]", "203.0.113.9", "::ffff:203.0.113.9", "2001:db8::5", "nowhere", ""]
CONDITIONS: dict[str, list[Any]] = {
    "platforms": [
        {"includePlatforms": ["windows"]},
        {"includePlatforms": ["all"], "excludePlatforms": ["windows", "linux"]},
    ],
    "locations": [
        {"includeLocations": ["Far"]},
        {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]},
        {"includeLocations": ["Office"], "excludeLocations": ["Far"]},
    ],
    "signInRiskLevels": [["high"], ["none", "low"]],
    "userRiskLevels": [["high"], ["none", "low"]],
    "devices": [
        {"deviceFilter": {"mode": mode, "rule": rule}}
        for mode in ("include", "exclude")
        for rule in ('device.model -eq "X"', "device.isCompliant -eq True", 'device.extensionAttribute1 -ne "A"')
    ],
}
CONTROLS = [
    ("OR", ["block"]),
    ("OR", ["compliantDevice", "mfa"]),
    ("AND", ["compliantDevice"]),
    ("AND", ["compliantDevice", "domainJoinedDevice"]),
]
STATES = ["enabled", "enabled", "enabledForReportingButNotEnforced", "disabled"]
FACTS = {
    "compliant": ["true", "false"],
    "domain_joined": ["true", "false"],
    "model": ["X", "Y"],
    "operatingSystem": ["Windows", "Linux"],
    "extensionAttribute1": ["A", "B"],
}


def find_country(address: IPv4Address | IPv6Address) -> str:
    return COUNTRIES.get(str(address), "")


def make_policy(chance: random.Random, name: str) -> dict[str, Any]:
    operator, controls = chance.choice(CONTROLS)
    document: dict[str, Any] = {
        "displayName": name,
        "state": chance.choice(STATES),
        "conditions": {
            "users": {"includeUsers": ["All"]},
            "applications": {"includeApplications": ["All"]},
            **{key: chance.choice(options) for key, options in CONDITIONS.items() if chance.random() < 0.3},
        },
        "grantControls": {"operator": operator, "builtInControls": controls},
    }
    if chance.random() < 0.4:
        document["evertunnel"] = {"leastSource": chance.choice(["device", "script", "mdm"])}
    return document


def tell_facts(installation: Installation, chance: random.Random) -> None:
    for source in ("mdm", "script"):
        rows = [
            f"{LAPTOP},,{name},{chance.choice(values)},{chance.choice(['', '10m'])}"
            for name, values in FACTS.items()
            if chance.random() < 0.6
        ]
        rows += [
            f",{ALICE},{name},{chance.choice(['none', 'high'])},{chance.choice(['', '10m'])}"
            for name in ("sign_in_risk", "user_risk")
            if chance.random() < 0.5
        ]
        if rows:
            data = "\n".join(["device,user,fact,value,life", *rows]).encode()
            installation.do(import_facts, data, source=source)


def describe(decision: Decision) -> tuple[Any, ...]:
    return decision.outcome, decision.reason, decision.detail, decision.results


@pytest.mark.parametrize("seed", range(12))
def test_all_ways_to_decide_agree(installation: Installation, seed: int) -> None:
    chance = random.Random(seed)
    installation.decider = Decider(find_country)
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    installation.do(add_named_location, "Office", ranges=["192.0.2.0/24"], trusted=True)
    installation.do(add_named_location, "Far", countries=["KP"], include_unknown=chance.random() < 0.5)
    address = chance.choice(ADDRESSES)
    login = make_login(installation, client_address=address)
    tell_facts(installation, chance)
    policies = [make_policy(chance, str(number)) for number in range(chance.randint(1, 3))]
    installation.do(import_access_policies, policies)
    installation.clock.forward(minutes=chance.choice([0, 11]))
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        decision, _attempt = record_login(tx, installation.decider, login)

    place = read_address(address)
    prospect = ask_what_if(
        installation.store,
        Question(user=ALICE, device=LAPTOP, gateway="gw1", certificate=CertificateKind.USER),
        Supposition(address=address, country=None if place is None else find_country(place)),
        now=installation.now,
    )
    assert describe(prospect.decision) == describe(decision)

    page = replay_page(installation.store, build_draft(installation.store, Draft()), limit=10)
    assert (page.looked_at, page.skipped, page.differences) == (1, 0, ())

    with installation.store.read() as connection:
        installation.decider.refresh(connection)
        rows = sessions.list_live(connection)
    assert len(rows) == decision.granted
    assert [find_refusal(installation.decider, row, now=installation.now) for row in rows] == [None] * len(rows)
