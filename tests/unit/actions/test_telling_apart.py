"""Everything that whether a session may stay depends on, one by one: of two alike it tells the second apart."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from evertunnel.access.facts import COMPLIANT, DOMAIN_JOINED, SIGN_IN_RISK, USER_RISK
from evertunnel.access.network_policies import NetworkPolicy
from evertunnel.actions.decide_alike import find_refused
from evertunnel.actions.end_unentitled_sessions import find_refusal
from evertunnel.model import (
    CertificateKind,
    CertificateStatus,
    Fact,
    Gateway,
    LoginMethod,
)
from evertunnel.storage.own_tunnels import OwnTunnels
from evertunnel.storage.snapshot import StandingDenial
from evertunnel.storage.tables import encode_time
from tests.unit.access.samples import NOW, make_document
from tests.unit.actions.alike_scenes import Scene


def demand(*controls: str, **parts: Any) -> dict[str, Any]:
    """A policy with some conditions, or other parts of it where they begin with a capital."""
    document = make_document(*controls)
    conditions = document["conditions"] | {name: value for name, value in parts.items() if name in CONDITIONS}
    return document | {"conditions": conditions} | {name: parts[name] for name in parts.keys() - CONDITIONS}


CONDITIONS = {"users", "locations", "devices", "platforms", "userRiskLevels", "signInRiskLevels"}
FREQUENT = {"signInFrequency": {"isEnabled": True, "type": "hours", "value": 1}}
DENIAL = [StandingDenial("lost", None)]


def use_policies(*network: NetworkPolicy) -> Callable[[Scene], None]:
    return lambda scene: scene.put_policies([*network, NetworkPolicy("everybody", True, True)])


def filter_by(rule: str, mode: str = "include") -> dict[str, Any]:
    return {"deviceFilter": {"mode": mode, "rule": rule}}


def make_bound(scene: Scene) -> None:
    scene.rows = [row._replace(method="peap-eap-tls", bound=1 - number) for number, row in enumerate(scene.rows)]


def speak_in_turn(scene: Scene) -> None:
    """Two sources of the same rank: what was said last counts."""
    for number, device in enumerate(("d0", "d1")):
        said = [NOW - timedelta(seconds=2 - number), NOW - timedelta(seconds=1 + number)]
        facts = (Fact("model", "X1", "import", said[0]), Fact("model", "Y", "script", said[1]))
        scene.decider.snapshot.device_facts[device]["model"] = facts


def put_tunnels(scene: Scene) -> None:
    scene.decider.snapshot.own_tunnels = {"d0": OwnTunnels(("198.51.100.0",)), "d1": OwnTunnels(("192.0.2.1",))}


def denies(**conditions: Any) -> NetworkPolicy:
    return NetworkPolicy("no", True, False, **conditions)


def know_gateway(scene: Scene) -> None:
    scene.decider.snapshot.gateways["gw2"] = Gateway("gw2", "gw2", "", enabled=False)
    scene.change_second(gateway_id="gw2")


def sign_in_by_password(scene: Scene) -> None:
    """Of a certificate that is there beside a password it is the password's time and not its own that counts."""
    scene.decider.snapshot.mschapv2 = True
    scene.put_policies(
        [NetworkPolicy("everybody", True, True, methods=tuple(LoginMethod))], [demand("compliantDevice",
        sessionControls=FREQUENT)],
    )  # fmt: skip
    old = encode_time(NOW - timedelta(hours=2))
    scene.rows = [
        row._replace(method="eap-mschapv2", created=(row.created, old)[number]) for number, row in enumerate(scene.rows)
    ]


# What tells the second of two sessions from the first so that only it is refused: policies, and what is changed.
APART: dict[str, tuple[Sequence[dict[str, Any]], Callable[[Scene], None]]] = {
    "gateway": ([], know_gateway),
    "kind of tunnel": ([], lambda scene: scene.change_second(kind="device")),
    "method": ([], lambda scene: scene.change_second(method="eap-mschapv2")),
    "crypto-binding": ([], make_bound),
    "certificate's kind": (
        [], lambda scene: scene.change("certificates_by_id", "c1", kind=CertificateKind.DEVICE),
    ),
    "certificate's status": (
        [], lambda scene: scene.change("certificates_by_id", "c1", status=CertificateStatus.REVOKED),
    ),
    "no certificate": ([], lambda scene: scene.change_second(certificate_id=None)),
    "a device that is gone": (
        [],
        lambda scene: (
            scene.change("certificates_by_id", "c0", kind=CertificateKind.USER, device_id=None),
            scene.change("certificates_by_id", "c1", kind=CertificateKind.USER, device_id="gone"),
        ),
    ),
    "no user": ([], lambda scene: scene.decider.snapshot.users.pop("u1")),
    "user's state": ([], lambda scene: scene.change("users", "u1", enabled=False)),
    "user's groups": (
        [demand("block", users={"includeGroups": ["g1"]})],
        lambda scene: scene.change("users", "u1", groups=frozenset({"g1"})),
    ),
    "named user": ([], use_policies(denies(users=frozenset({"u1"})))),
    "included user": ([demand("block", users={"includeUsers": ["u1"]})], lambda _: None),
    "excluded user": ([demand("block", users={"includeUsers": ["All"], "excludeUsers": ["u0"]})], lambda _: None),
    "user's denial": ([], lambda scene: scene.decider.snapshot.denials.update(u1=DENIAL)),
    "user's risk": ([demand("block", userRiskLevels=["high"])], lambda scene: scene.say(USER_RISK, "low", "high")),
    "sign-in's risk": (
        [demand("block", signInRiskLevels=["high"])], lambda scene: scene.say(SIGN_IN_RISK, "low", "high"),
    ),
    "device's state": ([], lambda scene: scene.change("devices", "d1", enabled=False)),
    "device's groups": (
        [],
        lambda scene: (
            use_policies(denies(device_groups=frozenset({"g1"})))(scene),
            scene.change("devices", "d1", groups=frozenset({"g1"})),
        ),
    ),
    "named device": ([], use_policies(denies(devices=frozenset({"d1"})))),
    "device's name": ([demand("block", devices=filter_by('device.displayName -startsWith "d1."'))], lambda _: None),
    "device's denial": ([], lambda scene: scene.decider.snapshot.denials.update(d1=DENIAL)),
    "whose device": ([], lambda scene: scene.change("devices", "d1", users=frozenset({"u0"}))),
    "compliance": ([demand("compliantDevice")], lambda scene: scene.say(COMPLIANT, "true", "false")),
    "domain": ([demand("domainJoinedDevice")], lambda scene: scene.say(DOMAIN_JOINED, "true", "false")),
    "a fact that ran out": (
        [demand("compliantDevice")],
        lambda scene: scene.decider.snapshot.device_facts["d1"].update(
            {COMPLIANT: (Fact(COMPLIANT, "true", "mdm", NOW - timedelta(hours=1), NOW),)}
        ),
    ),
    "who says so": (
        [demand("compliantDevice", evertunnel={"leastSource": "mdm"})],
        lambda scene: scene.decider.snapshot.device_facts["d1"].update(
            {COMPLIANT: (Fact(COMPLIANT, "true", "device", NOW),)}
        ),
    ),
    "who said it last": ([demand("block", devices=filter_by('device.model -eq "X1"'))], speak_in_turn),
    "filter with a least source": (
        [demand("block", devices=filter_by('device.model -eq "X1"'), evertunnel={"leastSource": "import"})],
        lambda scene: scene.say("model", "Y", "X1"),
    ),
    "platform": (
        [demand("block", platforms={"includePlatforms": ["linux"]})],
        lambda scene: scene.say("operatingSystem", "Windows", "Linux"),
    ),
    "whether extension attributes count": (
        [demand("block", devices=filter_by('device.extensionAttribute1 -eq "a"'))],
        lambda scene: (
            scene.say(COMPLIANT, "false"),
            scene.say("mdmAppId", "x"),
            scene.say("extensionAttribute1", "a"),
            scene.say("trustType", "Workplace", "ServerAD"),
        ),
    ),
    "own tunnel": ([demand("compliantDevice", evertunnel={"requireDeviceTunnel": True})], put_tunnels),
    "location": (
        [demand("block", locations={"includeLocations": ["office"]})],
        lambda scene: scene.change_second(remote_address="192.0.2.7"),
    ),
    "excluded location": (
        [demand("block", locations={"includeLocations": ["All"], "excludeLocations": ["branch"]})],
        lambda scene: scene.change_second(remote_address="192.0.2.7"),
    ),
    "country": (
        [demand("block", locations={"includeLocations": ["abroad"]})],
        lambda scene: (
            scene.rows.__setitem__(0, scene.rows[0]._replace(remote_address="203.0.113.10")),
            scene.change_second(remote_address="203.0.113.9"),
        ),
    ),
    "an address nobody can place": (
        [demand("block", signInRiskLevels=["high"])],
        lambda scene: scene.rows.__setitem__(0, scene.rows[0]._replace(remote_address="203.0.113.10")),
    ),
    "methods": (
        [demand("mfa")], lambda scene: scene.change("certificates_by_id", "c0", methods=("password", "totp")),
    ),
    "time of the sign-in": (
        [demand("compliantDevice", sessionControls=FREQUENT)],
        lambda scene: scene.change("certificates_by_id", "c1", signed_in_at=NOW - timedelta(hours=1)),
    ),
    "no sign-in": (
        [demand("mfa")],
        lambda scene: (
            scene.change("certificates_by_id", "c0", methods=("password", "totp")),
            scene.change("certificates_by_id", "c1", methods=("password", "totp"), signed_in_at=None),
        ),
    ),
    "time of a password": ([], sign_in_by_password),
}  # fmt: skip


@pytest.mark.parametrize("what", APART)
def test_what_a_decision_looks_at_tells_two_sessions_apart(what: str) -> None:
    documents, change = APART[what]
    scene = Scene(*documents, count=2)
    change(scene)
    assert {row.id for row in scene.rows if find_refusal(scene.decider, row, now=NOW) is not None} == {"s1"}
    assert find_refused(scene.decider, scene.rows, now=NOW) == {"s1"}
