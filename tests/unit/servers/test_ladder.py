"""What can be read of a login afterwards: every rung of its ladder, from real handshakes."""

from ssl import TLSVersion
from typing import Any

import pytest

from evertunnel import clock
from evertunnel.actions.add_group import add_group
from evertunnel.actions.change_membership import join_group
from evertunnel.model import CertificateKind, Reason, SubjectKind
from tests.peers import radius
from tests.peers.certificates import build_authority, build_leaf
from tests.peers.eap_tls import TLS_12, TLS_13
from tests.peers.peap import InnerMSCHAPv2, MSCHAPv2Client
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import (
    DAVE,
    PASSWORD,
    allow_passwords,
    change_dave,
    new_password_client,
    new_peap,
)

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
ALICE = "alice@corp.example"
LOGIN = [(radius.NAS_PORT, (42).to_bytes(4, "big")), (radius.CALLING_STATION_ID, b"192.0.2.7[4500]")]


def describe_last(scene: Scene) -> dict[str, Any]:
    described = scene.installation.describe_attempts()[-1]
    times = [step["at_ms"] for step in described["steps"]]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert times[-1] == described["duration_ms"]
    return described


def list_texts(described: dict[str, Any], stage: str) -> list[str]:
    return [step["text"] for step in described["steps"] if step["stage"] == stage]


@VERSIONS
def test_a_granted_login_has_every_rung(scene: Scene, version: TLSVersion) -> None:
    scene.new_gateway(attributes=LOGIN).log_in(scene.new_client(version=version))
    described = describe_last(scene)
    assert described["login_method"] == "eap-tls"
    assert described["tls_version"] == ("TLSv1.2" if version == TLS_12 else "TLSv1.3")
    assert described["tls_group"] == "x25519"
    assert "AES" in described["tls_cipher"] or "CHACHA20" in described["tls_cipher"]
    assert described["eap_rounds"] == len(list_texts(described, "eap"))
    (asked,) = list_texts(described, "radius")
    assert (
        asked
        == "Access-Request from gateway gw1 for a client at 192.0.2.7[4500] that calls itself "
        + (described["claimed_identity"])
    )
    (certificate,) = list_texts(described, "certificate")
    assert certificate.startswith(f"user, serial {described['certificate']['serial']}, of the issuing authority, until")
    assert list_texts(described, "owner") == [ALICE]
    assert len(list_texts(described, "network policy")) == 1
    assert list_texts(described, "outcome")[0].startswith("Access-Accept: granted: network policy ")
    assert list_texts(described, "session") == [f"{described['session_id']}, pending"]
    stages = [step["stage"] for step in described["steps"]]
    assert stages.index("tls") < stages.index("certificate") < stages.index("owner") < stages.index("network policy")


def test_small_fragments_are_counted_and_explained(scene: Scene) -> None:
    gateway = scene.new_gateway(attributes=[(radius.FRAMED_MTU, (150).to_bytes(4, "big"))])
    assert gateway.log_in(scene.new_client(fragment_bytes=100)).code == radius.ACCEPT
    described = describe_last(scene)
    assert described["eap_rounds"] > 16
    texts = list_texts(described, "eap")
    assert len(texts) < 16
    assert any("rounds more like it" in text for text in texts)
    assert any("raise the MTU on the way" in text for text in texts)
    assert list_texts(described, "radius")[0].endswith("(Framed-MTU 150)")


def test_a_policy_that_does_not_match_says_which_condition_and_what_was_seen(scene: Scene) -> None:
    store = scene.installation.store
    for name in ("Contractors", "Sales"):
        add_group(store, name, actor="tests", now=clock.now())
    join_group(store, "Sales", SubjectKind.USER, "alice@corp.example", actor="tests", now=clock.now())
    scene.installation.add_policy("First", position=1, conditions={"user_groups": ["Contractors"]})
    scene.follow()
    scene.gateway.log_in(scene.new_client())
    described = describe_last(scene)
    assert (
        list_texts(described, "network policy")[0]
        == "First does not match: user_groups: the user is in none of the groups named (seen: the user is in Sales)"
    )


@VERSIONS
def test_a_foreign_certificate_is_told_as_shown(scene: Scene, version: TLSVersion) -> None:
    foreign = build_leaf(build_authority("Test Issuing CA 1"), ALICE)
    scene.gateway.log_in(scene.new_client(foreign, version=version))
    described = describe_last(scene)
    assert described["reason"] == Reason.CERTIFICATE_FOREIGN
    (shown,) = list_texts(described, "certificate")
    assert shown.startswith(f"shown: subject CN={ALICE}, issuer CN=Test Issuing CA 1, serial ")
    if version == TLS_13:  # OpenSSL forgets what a handshake of TLS 1.2 that failed had agreed on
        assert described["tls_version"] == "TLSv1.3"


def test_who_stops_answering_has_the_rounds_until_then(scene: Scene) -> None:
    client = scene.new_client()
    scene.carry(scene.gateway.build(client.answer_identity(), None))
    scene.uptime += 60
    scene.expire()
    described = describe_last(scene)
    assert described["reason"] == Reason.CLIENT_STOPPED
    assert list_texts(described, "eap") == [f"round 1: {len(client.answer_identity())} octets from the client, 6 to it"]
    assert list_texts(described, "outcome") == ["failed, client_stopped: the client did not answer our last message"]
    assert described["duration_ms"] >= 60_000


def test_a_short_lived_certificate_is_named_as_what_it_is(scene: Scene) -> None:
    credential = scene.installation.issue(CertificateKind.SHORT_LIVED)
    scene.follow()
    scene.gateway.log_in(scene.new_client(credential))
    described = describe_last(scene)
    assert list_texts(described, "certificate")[0].startswith("short-lived, serial ")


def test_another_method_inside_tells_nothing_twice(scene: Scene) -> None:
    allow_passwords(scene)  # certificates are offered first
    scene.gateway.log_in(new_password_client(scene, "wrong", tries=[PASSWORD]))
    told = list_texts(describe_last(scene), "login")
    assert told[:3] == ["PEAP", "TLSv1.3: the tunnel is up", f"inside it the client calls itself '{DAVE}'"]
    assert "inner method eap-mschapv2" in told
    assert len(told) == len(set(told))


def test_a_password_that_was_changed_in_time_is_not_said_to_be_unchanged(scene: Scene) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    inner = InnerMSCHAPv2(DAVE, PASSWORD, new_password="a new password")
    assert scene.gateway.log_in(new_peap(scene, inner, identity=DAVE)).code == radius.ACCEPT
    told = list_texts(describe_last(scene), "login")
    assert "the password must be changed" in told
    assert "the client chose a new password" in told


def test_whose_password_was_guessed_is_told_although_the_identity_is_another(scene: Scene) -> None:
    allow_passwords(scene)
    client = MSCHAPv2Client(InnerMSCHAPv2(DAVE, "wrong"), identity=ALICE)
    assert scene.gateway.log_in(client).code == radius.REJECT
    described = describe_last(scene)
    assert (described["claimed_identity"], described["user"]) == (ALICE, None)
    assert f"the password given for '{DAVE}' was wrong" in list_texts(described, "login")


def test_causes_are_true_of_passwords_as_well(scene: Scene) -> None:
    allow_passwords(scene)
    scene.gateway.log_in(MSCHAPv2Client(InnerMSCHAPv2(DAVE, PASSWORD), identity=ALICE))
    assert "certificate or password" in describe_last(scene)["cause"]
    liar = InnerMSCHAPv2(DAVE, PASSWORD)
    answer = liar.answer
    liar.answer = lambda data: answer(data)[:-3]  # type: ignore[method-assign]
    scene.gateway.log_in(MSCHAPv2Client(liar, identity=DAVE))
    described = describe_last(scene)
    assert (described["reason"], described["tls_version"]) == (Reason.TLS_FAILED, None)
    assert "or the client said something" in described["cause"]
    for _ in range(10):
        scene.gateway.log_in(MSCHAPv2Client(InnerMSCHAPv2(DAVE, "wrong"), identity=DAVE))
    described = describe_last(scene)
    assert (described["reason"], described["nps_reason_code"]) == (Reason.TOO_MANY_FAILURES, 64)
    assert "passwords were tried with this name" in described["cause"]
    assert "one login a second" not in described["fix"]


@pytest.mark.parametrize("framed_mtu", [0, 63])
def test_a_framed_mtu_below_the_least_is_told_as_what_was_made_of_it(scene: Scene, framed_mtu: int) -> None:
    gateway = scene.new_gateway(attributes=[(radius.FRAMED_MTU, framed_mtu.to_bytes(4, "big"))])
    answer = gateway.ask(scene.new_client().answer_identity())
    gateway.ask(b"\x02" + answer.eap[1:2] + b"\x00\x06\x03\x04", answer.state)  # a Nak, which ends it
    assert "Framed-MTU bounds our messages to 60 octets instead of 1390" in list_texts(describe_last(scene), "eap")
