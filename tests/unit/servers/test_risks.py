"""Risks from real logins: a key in two places is found before the next login, and who has no key raises nobody's."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from evertunnel import clock
from evertunnel.access.computed_risks import Place
from evertunnel.actions.dismiss_risk import dismiss_risk
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.model import Authority, Fact, Reason, SubjectKind
from evertunnel.risks import RiskWatch
from evertunnel.storage import facts, people
from tests.peers import radius
from tests.peers.certificates import build_leaf, build_stolen_pem
from tests.unit.access.samples import make_document
from tests.unit.servers.conftest import Scene
from tests.unit.servers.test_lockout import at

ALICE = "alice@corp.example"
BERLIN, SYDNEY, NOWHERE = b"192.0.2.7[4500]", b"203.0.113.9[4500]", b"10.1.2.3[4500]"
PLACES = {"192.0.2.7": Place(52.52, 13.40, 20), "203.0.113.9": Place(-33.87, 151.21, 20)}


def find_place(address: IPv4Address | IPv6Address) -> Place | None:
    return PLACES.get(str(address))


@pytest.fixture
def watched(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Sign-ins of high risk and users of any are blocked; places are known."""
    monkeypatch.setattr(scene.decider, "_find_place", find_place)
    for name, conditions in (("Travel", {"signInRiskLevels": ["high"]}), ("Failures", {"userRiskLevels": ["low"]})):
        document = make_document("block", name=name)
        document["conditions"] |= conditions
        import_access_policies(scene.installation.store, document, actor="test", now=clock.now())
    scene.follow()
    return scene


def log_in(scene: Scene, address: bytes) -> int:
    return at(scene, address).log_in(scene.new_client()).code


def list_risks(scene: Scene) -> list[Fact]:
    with scene.installation.store.read() as connection:
        row = people.get_subject(connection, SubjectKind.USER, ALICE)
        return facts.list_facts(connection, SubjectKind.USER, row.id)


def look(scene: Scene) -> int:
    return RiskWatch(scene.installation.store, find_place).look(clock.now())


def test_a_key_in_two_places_is_refused_at_the_next_login(watched: Scene) -> None:
    assert log_in(watched, BERLIN) == radius.ACCEPT
    assert look(watched) == 0
    assert log_in(watched, SYDNEY) == radius.ACCEPT
    assert look(watched) == 1
    watched.follow()
    assert log_in(watched, BERLIN) == radius.REJECT
    assert watched.installation.list_attempts()[-1].reason == Reason.BLOCKED_BY_ACCESS_POLICY
    [risk] = list_risks(watched)
    assert (risk.name, risk.value, risk.source) == ("sign_in_risk", "high", "impossible travel")
    dismiss_risk(watched.installation.store, ALICE, reason="a test", actor="ann", now=clock.now())
    assert look(watched) == 0
    watched.follow()
    assert log_in(watched, BERLIN) == radius.ACCEPT


def test_where_no_place_is_known_the_risk_is_not_known_to_be_none(watched: Scene) -> None:
    assert log_in(watched, NOWHERE) == radius.REJECT
    assert log_in(watched, BERLIN) == radius.ACCEPT
    assert look(watched) == 0, "and nothing is claimed"


def test_whoever_has_no_key_raises_nobodys_risk(watched: Scene) -> None:
    assert log_in(watched, BERLIN) == radius.ACCEPT
    thief = at(watched, SYDNEY)
    ghost = build_leaf(watched.installation.as_issuer(Authority.ISSUING), ALICE)
    for number in range(7):
        assert thief.log_in(watched.new_client(pem=build_stolen_pem(watched.alice))).code == radius.REJECT
        assert thief.log_in(watched.new_client(ghost, identity=f"x{number}@corp.example")).code == radius.REJECT
    assert Reason.KEY_NOT_PROVEN in {row.reason for row in watched.installation.list_attempts()}
    assert look(watched) == 0
    assert list_risks(watched) == []


def test_a_key_under_many_names_is_a_risk_and_one_wrong_name_for_ever_is_none(watched: Scene) -> None:
    gateway = at(watched, BERLIN)
    for _again in range(7):
        assert gateway.log_in(watched.new_client(identity="bob@corp.example")).code == radius.REJECT
    assert look(watched) == 0
    for number in range(4):
        assert gateway.log_in(watched.new_client(identity=f"bob{number}@corp.example")).code == radius.REJECT
    assert look(watched) == 1
    assert [(risk.name, risk.value) for risk in list_risks(watched)] == [("user_risk", "low")]
    watched.follow()
    assert log_in(watched, BERLIN) == radius.REJECT
    assert look(watched) == 0, "what policies refuse feeds nothing"


def test_what_policies_refuse_is_no_failure(watched: Scene) -> None:
    watched.installation.add_policy("First", "deny", position=1)
    watched.follow()
    for _again in range(25):
        assert log_in(watched, BERLIN) == radius.REJECT
    assert look(watched) == 0
