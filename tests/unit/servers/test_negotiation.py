"""Which methods are offered, in which order, and how often a client may ask for another."""

import struct

import pytest

from evertunnel.actions.change_network_policies import remove_network_policy
from evertunnel.clock import now
from evertunnel.model import Reason
from tests.peers import radius
from tests.peers.eap_tls import IDENTITY, NAK, TLS, build_response
from tests.peers.gateway import Answer
from tests.peers.peap import MSCHAPV2, PEAP
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import ALICE, METHODS, allow_passwords, assert_refused


def begin(scene: Scene) -> Answer:
    return scene.gateway.ask(build_response(0, IDENTITY, ALICE.encode()))


def refuse(scene: Scene, answer: Answer, *wanted: int) -> Answer:
    return scene.gateway.ask(build_response(answer.eap[1], NAK, bytes(wanted)), answer.state)


def build_expanded_nak(*wanted: tuple[int, int]) -> bytes:
    """Vendor and type of each."""
    return bytes((0, 0, 0, 0, 0, 0, NAK)) + b"".join(
        struct.pack("!B3sI", 254, vendor.to_bytes(3, "big"), number) for vendor, number in wanted
    )


@pytest.mark.parametrize(
    ("methods", "first"),
    [
        (["eap-tls"], TLS),
        (["peap-eap-tls", "eap-tls"], PEAP),
        (["peap-eap-mschapv2"], PEAP),
        (["eap-mschapv2", "eap-tls"], MSCHAPV2),
        (None, TLS),
    ],
)
def test_what_the_first_policy_names_first_is_offered_first(
    scene: Scene, methods: list[str] | None, first: int
) -> None:
    allow_passwords(scene, methods or METHODS)
    assert begin(scene).eap[4] == first


def test_policies_of_other_gateways_and_tunnels_offer_nothing(scene: Scene) -> None:
    allow_passwords(scene, ["eap-tls"])
    remove_network_policy(scene.installation.store, "Everybody", actor="t", now=now())
    scene.installation.add_gateway("gw2", "192.0.2.99")
    settings = {"authentication_methods": ["eap-mschapv2"]}
    scene.installation.add_policy("Other", settings=settings, conditions={"gateways": ["gw2"]})
    scene.installation.add_policy("Device", settings=settings, conditions={"tunnel": "device"})
    scene.installation.add_policy("Denies", "deny", settings=settings)
    scene.installation.add_policy("Off", settings=settings, enabled=False)
    scene.follow()
    detail = assert_refused(scene, refuse(scene, begin(scene), MSCHAPV2), Reason.METHOD_REFUSED)
    assert detail == "the client wants EAP type 26 and not 13"


def test_each_method_is_offered_once(scene: Scene) -> None:
    allow_passwords(scene)
    answer = begin(scene)
    for wanted, offered in ((PEAP, PEAP), (TLS, None)):
        answer = refuse(scene, answer, wanted)
        assert (answer.eap[4] if answer.code == radius.CHALLENGE else None) == offered
    assert_refused(scene, answer, Reason.METHOD_REFUSED)


def test_a_client_that_wants_them_all_is_asked_three_times_and_no_more(scene: Scene) -> None:
    allow_passwords(scene)
    answer, asked = begin(scene), 1
    while answer.code == radius.CHALLENGE and asked < 10:
        answer, asked = refuse(scene, answer, TLS, PEAP, MSCHAPV2), asked + 1
    assert asked == 4
    assert_refused(scene, answer, Reason.METHOD_REFUSED)


def test_the_first_known_type_of_a_nak_is_taken(scene: Scene) -> None:
    allow_passwords(scene)
    assert refuse(scene, begin(scene), 21, 254, MSCHAPV2, PEAP).eap[4] == MSCHAPV2


def test_an_expanded_nak_is_understood(scene: Scene) -> None:
    allow_passwords(scene)
    answer = begin(scene)
    nak = build_expanded_nak((311, PEAP), (0, MSCHAPV2))
    assert scene.gateway.ask(build_response(answer.eap[1], 254, nak), answer.state).eap[4] == MSCHAPV2


@pytest.mark.parametrize("nak", [build_expanded_nak(), build_expanded_nak((311, MSCHAPV2))])
def test_an_expanded_nak_without_a_type_of_ours_ends_it(scene: Scene, nak: bytes) -> None:
    allow_passwords(scene)
    answer = begin(scene)
    answer = scene.gateway.ask(build_response(answer.eap[1], 254, nak), answer.state)
    assert_refused(scene, answer, Reason.METHOD_REFUSED)


@pytest.mark.parametrize("data", [b"", build_expanded_nak((0, MSCHAPV2))[:-1], b"\0\0\0\0\0\0\x0d\0"])
def test_another_expanded_type_is_an_error(scene: Scene, data: bytes) -> None:
    allow_passwords(scene)
    answer = begin(scene)
    answer = scene.gateway.ask(build_response(answer.eap[1], 254, data), answer.state)
    assert_refused(scene, answer, Reason.TLS_FAILED)


def test_what_is_offered_says_nothing_of_who_may(scene: Scene) -> None:
    allow_passwords(scene, ["peap-eap-tls"])
    for name in (ALICE, "nobody@corp.example", "anonymous@corp.example", ""):
        assert scene.gateway.ask(build_response(0, IDENTITY, name.encode())).eap[4] == PEAP
