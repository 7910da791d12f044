"""Sessions that are decided together are answered as each would be by itself, whatever policies say and facts tell.

`EVERTUNNEL_POLICY_SETS` says over how many random sets: some hundreds unless told otherwise.
"""

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from evertunnel.access.conditional.policies import State, compile_access_policy
from evertunnel.access.conditional.sign_in import Person, SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Verdict
from evertunnel.access.decision import TUNNEL_KINDS, Policies
from evertunnel.access.facts import COMPLIANT, DOMAIN_JOINED, SIGN_IN_RISK, USER_RISK, Facts, SignInFacts
from evertunnel.access.network_policies import NetworkPolicy
from evertunnel.actions.decide import Decider, _list_asked
from evertunnel.actions.decide_alike import Alike, find_refused
from evertunnel.actions.end_unentitled_sessions import find_refusal
from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Device,
    Fact,
    Gateway,
    LoginMethod,
    SessionState,
    TunnelKind,
    User,
)
from evertunnel.storage.live_sessions import LiveSession
from evertunnel.storage.own_tunnels import OwnTunnels
from evertunnel.storage.snapshot import StandingDenial
from evertunnel.storage.tables import encode_time
from tests.unit.access.conditional.random_policies import RESOLVED, Choose, make_policy, some
from tests.unit.access.conditional.samples import LOCATIONS
from tests.unit.access.samples import NOW, make_document
from tests.unit.actions.alike_scenes import Scene, find_country, find_place

SETS = int(os.environ.get("EVERTUNNEL_POLICY_SETS", "400"))
SESSIONS = 40
SECOND = "00000000-0000-0000-0000-0000000000d2"
USERS, DEVICES, GATEWAYS = ["u1", "u2", "u3", "u4"], ["d1", SECOND, "d3"], ["gw1", "gw2"]
GROUPS = ["g1", "g2", "g3"]
SOURCES = ["device", "impossible travel", "import", "mdm", "administrator", "nobody we know"]
ADDRESSES = ["192.0.2.7", "192.0.2.8[4500]", "198.51.100.255", "203.0.113.9", "203.0.113.10", "2001:db8::1", "", "?"]
METHODS = [(), ("password",), ("password", "totp"), ("fido2",), ("sms",)]
AGES = [0, 299, 301, 3_599, 3_601, 90_000, -200, -400]
OF_USERS = {USER_RISK: ["none", "low", "high", "odd"], SIGN_IN_RISK: ["none", "medium", "high"], "other": ["x"]}
OF_DEVICES = {
    COMPLIANT: ["true", "true", "false"], DOMAIN_JOINED: ["true", "false"], "model": ["X1", "Y"],
    "operatingSystem": ["Windows", "Linux"], "trustType": ["ServerAD", "Workplace"],
    "extensionAttribute1": ["a", "b"], "displayName": ["d1", "z"],
}  # fmt: skip
UNBOUND: list[dict[str, Any]] = [{}, {"without_crypto_binding": True}]
RULES = ['device.displayName -startsWith "d1"', f'device.deviceId -eq "{SECOND}"', 'device.extensionAttribute1 -eq "a"']


def make_network_policy(choose: Choose, name: str) -> NetworkPolicy:
    """Few of its conditions set, so that others are reached."""
    policy = NetworkPolicy(name, choose([True, True, False]), choose([True] * 4 + [False]))
    parts: dict[str, list[Any]] = {
        "tunnel": list(TunnelKind),
        "users": [frozenset({"u1"}), frozenset({"u2", "u3"})],
        "groups": [frozenset({"g1"}), frozenset({"g2", "g3"})],
        "user_groups": [frozenset({"g1"})],
        "device_groups": [frozenset({"g2"})],
        "devices": [frozenset({"d1"}), frozenset({SECOND, "d3"})],
        "gateways": [frozenset({"gw1"})],
        "device_tunnel": [True],
        "allowed_certificate_oids": [frozenset({"1.3.6.1.4.1.311.87"})],
        "methods": [tuple(LoginMethod), (LoginMethod.PEAP_EAP_TLS,)],
        "settings": [{"without_crypto_binding": True}],
    }
    return replace(policy, **{part: choose(parts[part]) for part in some(choose, list(parts), 2)})


def make_policies(choose: Choose) -> Policies:
    network = [make_network_policy(choose, f"n{number}") for number in range(choose([0, 0, 1, 2]))]
    if choose(range(12)):
        network.append(NetworkPolicy("rest", True, True, methods=tuple(LoginMethod), settings=choose(UNBOUND)))
    documents = [make_policy(choose, f"a{number}") for number in range(choose([0, 1, 1, 2]))]
    if choose(range(4)) == 0:
        rule = {"deviceFilter": {"mode": choose(["include", "exclude"]), "rule": choose(RULES)}}
        named = make_document("compliantDevice")
        documents.append({**named, "conditions": {**named["conditions"], "devices": rule}})
    return Policies(network, [compile_access_policy(each, RESOLVED, locations=LOCATIONS) for each in documents])


def make_said(choose: Choose, values: dict[str, list[str]]) -> dict[str, tuple[Fact, ...]]:
    said = {}
    for name in some(choose, list(values), 5):
        said[name] = tuple(
            Fact(
                name, choose(values[name]), source, NOW - timedelta(seconds=choose([1, 2, 3])),
                choose([None, NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)]),
            )
            for source in dict.fromkeys([choose(SOURCES), *some(choose, SOURCES, 1)])
        )  # fmt: skip
    return said


class World:
    """Users, devices and sessions that differ in little, each time in something else: else nobody would be alike."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.decider = Decider(find_country, find_place)
        known = self.decider.snapshot
        known.mschapv2 = choose([True] * 5 + [False])
        known.gateways = {each: Gateway(each, each, "", choose([True] * 20 + [False])) for each in GATEWAYS}
        member, facts = (
            self.few([frozenset(), *map(frozenset, (["g1"], ["g2"], ["g1", "g3"]))]),
            self.make_facts(OF_USERS),
        )
        for each in choose([USERS, USERS, USERS[1:]]):
            known.users[each] = User(each, each, choose([True] * 30 + [False]), choose(member))
            known.user_facts[each] = choose(facts)
        facts, owners = self.make_facts(OF_DEVICES), self.few([frozenset(USERS), frozenset(USERS), frozenset({"u1"})])
        for each in choose([DEVICES, DEVICES, DEVICES[1:]]):
            name = f"{each}.corp.example"
            known.devices[each] = Device(each, name, choose([True] * 30 + [False]), choose(member), choose(owners))
            known.device_facts[each] = choose(facts)
        for each in [*USERS, *DEVICES]:
            if choose(range(30)) == 0:
                known.denials[each] = [StandingDenial("", choose([None, NOW, NOW + timedelta(seconds=1)]))]
        self.make_certificates()
        policies = make_policies(choose)
        self.decider._policies = policies
        self.decider._asks = _list_asked(policies.network, policies.access)
        self.decider._locations = dict(LOCATIONS)
        if "own tunnel" in self.decider._asks:
            moments = self.few([None, NOW - timedelta(seconds=29), NOW - timedelta(seconds=31)])
            places = [tuple(some(choose, ADDRESSES)) for _ in range(2)]
            known.own_tunnels = {each: OwnTunnels(choose(places), choose(moments)) for each in DEVICES}
        self.rows = self.make_sessions()

    def few(self, values: Sequence[Any]) -> list[Any]:
        """One or two of them."""
        return [self.choose(values) for _ in range(self.choose([1, 1, 2]))]

    def make_facts(self, values: dict[str, list[str]]) -> list[dict[str, tuple[Fact, ...]]]:
        return [self.choose([{}, make_said(self.choose, values)]) for _ in range(self.choose([1, 2]))]

    def make_certificates(self) -> None:
        choose, user = self.choose, CertificateKind.USER
        kinds = self.few([user, user, CertificateKind.SHORT_LIVED, CertificateKind.SHORT_LIVED, CertificateKind.DEVICE])
        methods, ages = self.few(METHODS), self.few(AGES)
        statuses = self.few([CertificateStatus.VALID] * 30 + list(CertificateStatus))
        users, devices = self.few([None, *USERS * 9]), self.few([None, *DEVICES * 4])
        for number in range(12):
            kind, used = choose(kinds), choose(methods)
            ends, signed_in = NOW + timedelta(seconds=choose([-1, 1])), NOW - timedelta(seconds=choose(ages))
            self.decider.snapshot.certificates_by_id[f"c{number}"] = Certificate(
                f"c{number}", Authority.ISSUING, number, kind, choose(statuses), ends, choose([*users, choose(USERS)]),
                choose([*devices, choose(DEVICES)]), None, used, signed_in if used else choose([None, signed_in]),
            )  # fmt: skip

    def make_sessions(self) -> list[LiveSession]:
        choose = self.choose
        certificates = list(self.decider.snapshot.certificates_by_id.values())
        gateways, addresses, ages = self.few(GATEWAYS), self.few(ADDRESSES), self.few(AGES)
        methods, bound, users = self.few([None, None, *LoginMethod]), self.few([None, None, 1, 0]), self.few(USERS)
        rows = []
        for number in range(SESSIONS):
            certificate = choose(certificates)
            kinds = [kind.value for kind in TunnelKind if certificate.kind in TUNNEL_KINDS[kind]]
            method = choose(methods)
            rows.append(
                LiveSession(
                    f"s{number}", choose([*kinds * 9, *TunnelKind]), choose(["up"] * 6 + ["pending", "ending"]),
                    choose(gateways), choose(users), choose(DEVICES), choose([*[certificate.id] * 9, None, "gone"]),
                    choose(addresses), None if method is None else method.value,
                    encode_time(NOW - timedelta(seconds=choose(ages))), choose(bound),
                )
            )  # fmt: skip
        return rows


def compare(choose: Choose) -> Counter[str]:
    """Both ways over one world. Counts what came of it, and by how many both answers there were spared a decision."""
    world = World(choose)
    decider, rows = world.decider, [row for row in world.rows if row.state != SessionState.ENDING.value]
    single = {row.id for row in rows if find_refusal(decider, row, now=NOW) is not None}
    assert find_refused(decider, world.rows, now=NOW) == single
    alike = Alike(decider, NOW)
    kinds = len({alike.tell(row) for row in rows})
    mixed = 0 < len(single) < len(rows)
    return Counter(refused=len(single), granted=len(rows) - len(single), spared=len(rows) - kinds if mixed else 0)


def test_sessions_decided_together_are_answered_as_each_is_by_itself() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SETS):
        seen += compare(random.Random(seed).choice)
    # Random sets that say the same to all, or in which nobody is like another, would compare nothing.
    assert min(seen.values()) > SETS * SESSIONS / 10, seen


def test_hundreds_who_differ_in_nothing_a_policy_looks_at_are_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frequency = {"sessionControls": {"signInFrequency": {"isEnabled": True, "type": "hours", "value": 1}}}
    places: dict[str, Any] = {**make_document("block")}
    places["conditions"] = {**places["conditions"], "locations": {"includeLocations": ["office"]}}
    scene = Scene(make_document("compliantDevice"), {**make_document("mfa", state="disabled")}, places)
    assert scene.count_decisions(monkeypatch) == 1
    assert Scene({**make_document("compliantDevice"), **frequency}).count_decisions(monkeypatch) == 1
    least = {**make_document("compliantDevice"), "evertunnel": {"leastSource": "mdm"}}
    least["conditions"] = {
        **least["conditions"],
        "platforms": {"includePlatforms": ["all"]},
        "userRiskLevels": ["high"],
    }
    scene = Scene(least)
    for each in scene.decider.snapshot.users:
        scene.decider.snapshot.user_facts[each] = {USER_RISK: (Fact(USER_RISK, "low", "mdm", NOW),)}
    assert scene.count_decisions(monkeypatch) == 1


def test_where_nobody_is_like_another_that_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(count=1_500)
    scene.put_policies([NetworkPolicy("all", True, True, users=frozenset(f"u{number}" for number in range(1_499)))])
    told: list[str] = []
    tell = Alike.tell
    monkeypatch.setattr(Alike, "tell", lambda self, row: told.append(row.id) or tell(self, row))
    assert find_refused(scene.decider, scene.rows, now=NOW) == {"s1499"}
    assert len(told) == 500


class Unheard:
    """A condition of tomorrow, which looks at names."""

    def check(self, sign_in: SignIn) -> Verdict:
        assert sign_in.user is not None
        return Verdict(False, "users", "") if sign_in.user.name.startswith("u7") else MATCHES


def test_nobody_is_alike_where_a_policy_looks_at_what_is_not_known_here(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = compile_access_policy(make_document("compliantDevice"), RESOLVED)
    scene = Scene()
    for state, decisions in ((State.ON, 300), (State.REPORT_ONLY, 1), (State.OFF, 1)):
        unheard = replace(policy, state=state, conditions=(*policy.conditions, Unheard()))
        scene.decider._policies = Policies([NetworkPolicy("everybody", True, True)], [unheard])
        assert scene.count_decisions(monkeypatch) == decisions
    assert policy.grant is not None
    control = replace(policy.grant.controls[0], name="tomorrow's")
    demanding = replace(policy, grant=replace(policy.grant, controls=(control,)))
    scene.decider._policies = Policies([NetworkPolicy("everybody", True, True)], [demanding])
    assert scene.count_decisions(monkeypatch) == 300


KNOWN: dict[type, str] = {
    Facts: "at tunnel gateway user device certificate certificate_usages user_denial device_denial device_facts "
    "user_facts client_address established authentication_methods signed_in_at sign_in method crypto_bound own_tunnel",
    SignInFacts: "platform country sign_in_risk user_risk insider_risk roles kind tenant device password_changed "
    "terms_accepted",
    SignIn: "at user applications client_app platform address country sign_in_risk user_risk insider_risk "
    "transfer_method device compliant domain_joined methods terms_accepted password_changed authenticated_at tunnel "
    "established own_tunnel told_by _limited",
    Person: "id name groups roles kind tenant",
    User: "id name enabled groups",
    Device: "id name enabled groups users",
    Certificate: "id authority serial kind status not_after user_id device_id gateway_id methods signed_in_at",
    Fact: "name value source observed_at expires_at detail",
    NetworkPolicy: "name enabled grant tunnel users groups user_groups device_groups devices gateways device_tunnel "
    "allowed_certificate_oids settings methods weakness",
}


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_nothing_new_is_known_that_alike_does_not_look_at(kind: Any) -> None:
    """Who adds a field here sees to it in access/alike.py and actions/decide_alike.py first, or shows it to be idle."""
    assert [field.name for field in fields(kind)] == KNOWN[kind].split()
