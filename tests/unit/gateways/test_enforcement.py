"""A change of everybody: all are decided again, only those it touches end, each with the reason it has by itself."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import NoReturn

import pytest
from sqlalchemy import select

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.actions.end_unentitled_sessions import list_unentitled
from evertunnel.actions.import_access_policies import import_access_policies, switch_access_policy
from evertunnel.actions.import_facts import import_facts
from evertunnel.errors import UnavailableError
from evertunnel.gateways import enforcement as module
from evertunnel.gateways.enforcement import Enforcement
from evertunnel.model import Gateway, Reason, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import sessions, snapshot, tables
from evertunnel.storage.store import Transaction
from tests.installation import Installation
from tests.unit.access.samples import make_document

PEOPLE = 12
DENIED = "user0@corp.example"
DENIAL = "denied: left"


def name(number: int) -> str:
    return f"user{number}@corp.example"


def import_risks(installation: Installation, levels: dict[int, str]) -> None:
    rows = [f"{name(number)},user_risk,{level}" for number, level in levels.items()]
    data = "\n".join(["user,fact,value", *rows]).encode()
    import_facts(installation.store, data, source="mdm", actor="test", now=installation.now)


@pytest.fixture(params=["few", "many"])
def crowd(
    request: pytest.FixtureRequest, either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> tuple[Installation, Enforcement]:
    """Users with a session each, one of them denied by name. As many at once as are read one way, and the other."""
    if request.param == "many":
        monkeypatch.setattr(sessions, "NAMED_AT_MOST", 1)
        monkeypatch.setattr(snapshot, "_FOLLOW_AT_MOST", 1)
    installation = either_installation
    installation.do(add_network_policy, "everybody", {"permission": "grant"})
    document = make_document("block", name="risk", state="enabledForReportingButNotEnforced")
    document["conditions"]["userRiskLevels"] = ["high"]
    installation.do(import_access_policies, document)
    gateway_id = installation.add_gateway()
    made = []
    for number in range(PEOPLE):
        user_id = installation.add_user(name(number))
        certificate_id = installation.issue_user(user_id, name=name(number))
        made.append(
            Session(f"s{number}", TunnelKind.USER, SessionState.UP, gateway_id, number, installation.now,
                    user_id=user_id, spis=f"{number}:{number}", certificate_id=certificate_id)
        )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, made)
    import_risks(installation, {number: "high" if number < 5 else "low" for number in range(PEOPLE)})
    installation.do(deny, SubjectKind.USER, DENIED, reason="left")
    gateway = Gateway(gateway_id, "gw1", "127.0.0.1")
    enforcement = Enforcement(installation.store, gateway, Decider(), installation.clock)
    refresh(installation, enforcement)
    enforcement.enforce()
    assert list_ending(installation) == {"s0": DENIAL}
    return installation, enforcement


def refresh(installation: Installation, enforcement: Enforcement) -> None:
    with installation.store.read() as connection:
        enforcement.refresh(connection)


def list_ending(installation: Installation) -> dict[str, str]:
    """Why those end that do."""
    found = tables.sessions.c
    with installation.store.read() as connection:
        rows = connection.execute(select(found.id, found.end_reason).where(found.state == "ending")).all()
    return {row.id: row.end_reason for row in rows}


def list_causes(installation: Installation) -> dict[str, str]:
    """Whose cut is wanted, and what was recorded of why."""
    found = tables.effects.c
    with installation.store.read() as connection:
        rows = connection.execute(select(found.subject_id, found.cause).where(found.subject_kind == "session")).all()
    assert len({row.subject_id for row in rows}) == len(rows), "each is cut once"
    return {row.subject_id: row.cause for row in rows}


def enforce(installation: Installation, enforcement: Enforcement) -> dict[str, str]:
    """Decide again. Returns the reasons that deciding each by itself has for those that were up."""
    decider = Decider()
    with installation.store.read() as connection:
        decider.refresh(connection)
        rows = sessions.list_live(connection)
    expected = list_unentitled(decider, rows, now=installation.now)
    refresh(installation, enforcement)
    assert enforcement.is_due
    assert not enforcement.enforce(), "no gateway changed"
    assert not enforcement.is_due
    causes = list_causes(installation)
    assert {row.id: causes[row.id] for row, _ in expected} == {row.id: decision.detail for row, decision in expected}
    return {row.id: decision.reason.value for row, decision in expected}


def test_a_policy_and_then_a_fact_of_everybody_end_those_they_touch(crowd: tuple[Installation, Enforcement]) -> None:
    installation, enforcement = crowd
    installation.do(switch_access_policy, "risk", "on")
    blocked = Reason.BLOCKED_BY_ACCESS_POLICY.value
    assert enforce(installation, enforcement) == dict.fromkeys(("s1", "s2", "s3", "s4"), blocked)
    import_risks(installation, {number: "high" if number < 8 else "none" for number in range(PEOPLE)})
    assert enforce(installation, enforcement) == dict.fromkeys(("s5", "s6", "s7"), blocked)
    # Who was denied by name ends for that, whatever else would end him.
    ended = dict.fromkeys((f"s{number}" for number in range(1, 8)), blocked)
    assert list_ending(installation) == {"s0": DENIAL} | ended
    assert list_causes(installation).keys() == ended.keys()


def test_a_policy_that_nobody_is_touched_by_writes_nothing(
    crowd: tuple[Installation, Enforcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, enforcement = crowd
    import_risks(installation, dict.fromkeys(range(PEOPLE), "low"))
    installation.do(switch_access_policy, "risk", "on")
    refresh(installation, enforcement)
    monkeypatch.setattr(enforcement._store, "write", fail_to_write)
    enforcement.enforce()
    assert list_ending(installation).keys() == {"s0"}


def test_what_could_not_be_written_is_due_until_it_is(
    crowd: tuple[Installation, Enforcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, enforcement = crowd
    installation.do(switch_access_policy, "risk", "on")
    refresh(installation, enforcement)
    with monkeypatch.context() as broken:
        broken.setattr(enforcement._store, "write", fail_to_write)
        with pytest.raises(UnavailableError):
            enforcement.enforce()
    assert enforcement.is_due
    enforcement.enforce()
    assert list_ending(installation).keys() == {f"s{number}" for number in range(5)}


def test_very_many_end_in_parts_and_what_failed_between_them_is_due(
    crowd: tuple[Installation, Enforcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, enforcement = crowd
    monkeypatch.setattr(module, "_ENDED_AT_ONCE", 2)
    installation.do(switch_access_policy, "risk", "on")
    refresh(installation, enforcement)
    write, left = installation.store.write, [1]

    def write_once(now: datetime) -> AbstractContextManager[Transaction]:
        return write(now) if left and left.pop() else fail_to_write()

    with monkeypatch.context() as broken:
        broken.setattr(enforcement._store, "write", write_once)
        with pytest.raises(UnavailableError):
            enforcement.enforce()
    assert len(list_ending(installation)) == 1 + 2
    assert enforcement.is_due
    enforcement.enforce()
    assert list_ending(installation).keys() == {f"s{number}" for number in range(5)}
    assert list_causes(installation).keys() == {f"s{number}" for number in range(1, 5)}


def test_what_is_taken_back_meanwhile_ends_nobody_any_more(
    crowd: tuple[Installation, Enforcement], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, enforcement = crowd
    monkeypatch.setattr(module, "_ENDED_AT_ONCE", 2)
    installation.do(switch_access_policy, "risk", "on")
    refresh(installation, enforcement)
    end = enforcement._end

    def end_and_switch_off(refused: frozenset[str]) -> list[str]:
        ended = end(refused)
        if ended:
            installation.do(switch_access_policy, "risk", "off")
        return ended

    monkeypatch.setattr(enforcement, "_end", end_and_switch_off)
    enforcement.enforce()
    assert len(list_ending(installation)) == 1 + 2
    assert enforcement.is_due, "what was seen between the parts is decided as well"
    enforcement.enforce()
    assert len(list_ending(installation)) == 1 + 2


def fail_to_write(*_: object) -> NoReturn:
    raise UnavailableError("the disk is full")
