"""Who fails too often: a stranger harms his own address only, and no name, certificate or other gateway."""

import os

import pytest

from evertunnel.model import Authority, Reason
from evertunnel.rate_limit import name_source
from evertunnel.servers.sources import FAILURES_PER_MINUTE
from tests.peers import radius
from tests.peers.certificates import build_leaf, build_stolen_pem
from tests.peers.eap_tls import NAK, build_response
from tests.peers.gateway import Gateway
from tests.unit.servers.conftest import Scene

ATTACKER, HOME = b"203.0.113.66[4500]", b"192.0.2.7[4500]"


def at(scene: Scene, address: bytes, secret: bytes | None = None, source: str = "127.0.0.1") -> Gateway:
    """A gateway that carries for a client at this address."""
    return Gateway(
        secret or scene.secret,
        lambda data: scene.carry(data, (source, 40_000)),
        attributes=[(radius.CALLING_STATION_ID, address)],
    )


def fail(gateway: Gateway, times: int) -> None:
    """Say that one is alice, and then want another method."""
    for _ in range(times):
        started = gateway.ask(build_response(0, 1, b"alice@corp.example"))
        if started.code == radius.CHALLENGE:
            gateway.ask(build_response(started.eap[1], NAK, b"\x1a"), started.state)


def list_reasons(scene: Scene) -> list[str]:
    return [attempt.reason for attempt in scene.installation.list_attempts()]


def test_nobody_locks_alice_out_by_her_name(scene: Scene) -> None:
    fail(at(scene, ATTACKER), 3 * FAILURES_PER_MINUTE)
    assert at(scene, HOME).log_in(scene.new_client()).code == radius.ACCEPT


def test_nobody_locks_alice_out_by_showing_her_certificate(scene: Scene) -> None:
    thief = at(scene, ATTACKER)
    for _ in range(FAILURES_PER_MINUTE):
        assert thief.log_in(scene.new_client(pem=build_stolen_pem(scene.alice))).code == radius.REJECT
    assert set(list_reasons(scene)) == {Reason.KEY_NOT_PROVEN}
    assert thief.log_in(scene.new_client()).code == radius.REJECT, "from there nobody is looked at now"
    assert at(scene, HOME).log_in(scene.new_client()).code == radius.ACCEPT


def test_a_worker_allows_its_part_while_others_are_awake(scene: Scene) -> None:
    scene.server._sources.share_with(3)
    fail(at(scene, ATTACKER), FAILURES_PER_MINUTE // 3)
    assert at(scene, ATTACKER).log_in(scene.new_client()).code == radius.REJECT
    scene.server._sources.share_with(1)
    assert at(scene, ATTACKER).log_in(scene.new_client()).code == radius.REJECT, "what was used up stays so"


def test_who_fails_too_often_is_refused_before_tls_and_told_why(scene: Scene) -> None:
    gateway = at(scene, ATTACKER)
    fail(gateway, FAILURES_PER_MINUTE)
    reject = gateway.ask(build_response(9, 1, b"alice@corp.example"))
    assert (reject.code, reject.eap) == (radius.REJECT, bytes((4, 9, 0, 4)))
    assert list_reasons(scene)[-1] == Reason.TOO_MANY_FAILURES


def test_such_refusals_are_recorded_once_a_minute(scene: Scene) -> None:
    gateway = at(scene, ATTACKER)
    fail(gateway, 2 * FAILURES_PER_MINUTE)
    assert list_reasons(scene).count(Reason.TOO_MANY_FAILURES) == 1


def test_it_ends_by_itself_although_he_goes_on(scene: Scene) -> None:
    gateway = at(scene, ATTACKER)
    fail(gateway, 2 * FAILURES_PER_MINUTE)
    assert gateway.log_in(scene.new_client()).code == radius.REJECT
    scene.uptime += 60 / FAILURES_PER_MINUTE
    assert gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_another_port_or_half_of_an_address_is_the_same_source(scene: Scene) -> None:
    for number in range(FAILURES_PER_MINUTE):
        fail(at(scene, f"2001:db8:1:2::{number:x}[{4500 + number}]".encode()), 1)
    assert at(scene, b"2001:db8:1:2:ffff::1[9]").log_in(scene.new_client()).code == radius.REJECT
    assert at(scene, b"2001:db8:1:3::1[9]").log_in(scene.new_client()).code == radius.ACCEPT


def test_what_one_gateway_says_of_an_address_counts_on_no_other(scene: Scene) -> None:
    other = scene.installation.add_gateway("gw2", "127.0.0.2")
    scene.follow()
    fail(at(scene, HOME, other, "127.0.0.2"), 2 * FAILURES_PER_MINUTE)
    assert at(scene, HOME).log_in(scene.new_client()).code == radius.ACCEPT


def test_a_gateway_that_names_no_address_is_not_locked_out_as_a_whole(scene: Scene) -> None:
    fail(scene.gateway, 2 * FAILURES_PER_MINUTE)
    assert scene.gateway.log_in(scene.new_client()).code == radius.ACCEPT


def test_silence_counts_as_well(scene: Scene) -> None:
    gateway = at(scene, ATTACKER)
    for _ in range(FAILURES_PER_MINUTE):
        gateway.ask(build_response(0, 1, b"alice@corp.example"))
    scene.uptime += 30.1
    scene.expire()
    assert gateway.log_in(scene.new_client()).code == radius.REJECT


def test_logins_that_had_to_make_room_do_not_count(scene: Scene) -> None:
    gateway = at(scene, HOME)
    attributes = radius.encode_attributes([*gateway.attributes, *radius.split_eap(build_response(0, 1, b"x"))])
    for _ in range(10_000 + FAILURES_PER_MINUTE):
        scene.receive(radius.sign(scene.secret, attributes, authenticator=os.urandom(16)))
    scene.expire()
    assert gateway.log_in(scene.new_client()).code == radius.ACCEPT


@pytest.mark.parametrize("refused", ["by policy", "for another name"])
def test_who_proved_a_key_and_is_refused_is_never_locked_out(scene: Scene, refused: str) -> None:
    # A key cannot be guessed, so waiting protects nothing; and whoever mended the policy would have to wait.
    bob = "bob@corp.example" if refused == "for another name" else "alice@corp.example"
    if refused == "by policy":
        scene.installation.add_policy("First", "deny", position=1)
        scene.follow()
    gateway = at(scene, HOME)
    for _ in range(FAILURES_PER_MINUTE + 20):
        assert gateway.log_in(scene.new_client(identity=bob)).code == radius.REJECT
    assert Reason.TOO_MANY_FAILURES not in list_reasons(scene)
    assert len(list_reasons(scene)) == FAILURES_PER_MINUTE + 20, "each is on record: its owner is known"


def test_a_certificate_of_ours_that_is_not_on_record_proves_nothing(scene: Scene) -> None:
    ghost = build_leaf(scene.installation.as_issuer(Authority.ISSUING), "alice@corp.example")
    gateway = at(scene, ATTACKER)
    for _ in range(FAILURES_PER_MINUTE):
        gateway.log_in(scene.new_client(ghost))
    gateway.log_in(scene.new_client(ghost))
    assert list_reasons(scene)[-1] == Reason.TOO_MANY_FAILURES


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ("192.0.2.7[4500]", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"), ("2001:DB8::1[500]", "2001:db8::/64"),
        ("02-00-00-00-00-01", "02-00-00-00-00-01"), ("AA-BB", "aa-bb"), ("", ""), ("[4500]", ""), (" ", ""),
        ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::/64"),
    ],
)  # fmt: skip
def test_the_name_of_a_source(said: str, source: str) -> None:
    assert name_source(said) == source
