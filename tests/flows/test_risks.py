"""Risks from what was recorded, on either database: two nodes, restarts, locations, what ends and what is dismissed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest

from evertunnel import clock
from evertunnel.access.computed_risks import LIFE, Place
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.dismiss_risk import dismiss_risk
from evertunnel.actions.end_facts import end_facts
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.errors import InvalidInputError
from evertunnel.model import Attempt, AttemptKind, Fact, Outcome, Reason, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.risks import RiskWatch, keep_risks
from evertunnel.storage import facts, sessions
from evertunnel.storage.store import Store, new_id, read_epoch
from tests.installation import ADMIN, ALICE, LAPTOP, Installation
from tests.unit.access.samples import make_document

BERLIN, SYDNEY = "192.0.2.7", "203.0.113.9"
PLACES = {BERLIN: Place(52.52, 13.40, 20), SYDNEY: Place(-33.87, 151.21, 20)}
_SECONDS = 5.0


def find_place(address: IPv4Address | IPv6Address) -> Place | None:
    return PLACES.get(str(address))


class Recorded:
    """Attempts of Alice's as the ledger gets them."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.user_id, self.device_id = installation.add_user(), installation.add_device()
        self.certificate_id = installation.issue_user(self.user_id, device_id=self.device_id)
        self.watch = self.new_watch()

    def new_watch(self) -> RiskWatch:
        return RiskWatch(self.installation.store, find_place)

    def record(self, address: str, *, at: datetime | None = None, **changes: object) -> None:
        attempt = Attempt(
            new_id(), at or self.installation.now, AttemptKind.USER_TUNNEL, Outcome.GRANTED, Reason.GRANTED, "",
            user_id=self.user_id, device_id=self.device_id, certificate_id=self.certificate_id,
            claimed_identity=ALICE, client_address=f"{address}[4500]",
        )  # fmt: skip
        with self.installation.store.write(self.installation.now) as tx:
            tx.record_attempt(replace(attempt, **changes))  # type: ignore[arg-type]

    def travel(self) -> None:
        self.record(BERLIN)
        self.installation.clock.forward(minutes=30)
        self.record(SYDNEY)

    def fail(self, times: int, reason: Reason = Reason.SIGN_IN_FAILED) -> None:
        for _again in range(times):
            self.record(BERLIN, kind=AttemptKind.CERTIFICATE, outcome=Outcome.REFUSED, reason=reason)

    def look(self) -> int:
        return self.watch.look(self.installation.now)

    def list_risks(self) -> list[Fact]:
        with self.installation.store.read() as connection:
            return facts.list_facts(connection, SubjectKind.USER, self.user_id)

    def get_epoch(self) -> int:
        with self.installation.store.read() as connection:
            return read_epoch(connection)


@pytest.fixture
def recorded(installation: Installation) -> Recorded:
    return Recorded(installation)


@pytest.fixture
def other_node(installation: Installation) -> Iterator[Store]:
    store = Store(installation.store.url)
    yield store
    store.close()


def test_the_epoch_rises_only_when_a_level_does(recorded: Recorded) -> None:
    epoch = recorded.get_epoch()
    recorded.record(BERLIN)
    assert recorded.look() == 0
    recorded.installation.clock.forward(minutes=30)
    recorded.record(SYDNEY)
    assert recorded.get_epoch() == epoch
    assert recorded.look() == 1
    assert recorded.get_epoch() == epoch + 1
    recorded.travel()
    assert recorded.look() == 0
    assert recorded.get_epoch() == epoch + 1
    [risk] = recorded.list_risks()
    assert risk.expires_at == risk.observed_at + LIFE


def test_two_nodes_and_a_restart_write_it_once(recorded: Recorded, other_node: Store) -> None:
    recorded.record(BERLIN)
    second = RiskWatch(other_node, find_place)
    assert second.look(recorded.installation.now) == 0
    recorded.travel()
    now = recorded.installation.now
    assert [recorded.look(), second.look(now), recorded.new_watch().look(now)] == [1, 0, 0]


def test_one_place_on_either_side_of_a_restart(recorded: Recorded) -> None:
    recorded.record(BERLIN)
    recorded.look()
    recorded.installation.clock.forward(minutes=30)
    recorded.record(SYDNEY)
    assert recorded.new_watch().look(recorded.installation.now) == 1


def test_what_was_found_before_the_database_went_away_is_stored_after_it(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.travel()
    with monkeypatch.context() as patch:
        patch.setattr("evertunnel.risks.store_risks", lambda *_arguments, **_options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recorded.look()
    assert recorded.look() == 1


def test_a_live_tunnel_is_cut_within_a_second_or_so(recorded: Recorded) -> None:
    installation = recorded.installation
    installation.clock.moment = clock.now()
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    document = make_document("block")
    document["conditions"]["signInRiskLevels"] = ["high"]
    installation.do(import_access_policies, document)
    session = Session(
        "s1", TunnelKind.USER, SessionState.UP, installation.add_gateway(), 1, installation.now,
        user_id=recorded.user_id, device_id=recorded.device_id, certificate_id=recorded.certificate_id,
        remote_address=BERLIN,
    )  # fmt: skip
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [session])
    decider, stopped = Decider(find_place=find_place), threading.Event()
    thread = threading.Thread(target=keep_risks, args=(installation.store, find_place, clock.now, stopped))
    thread.start()
    try:
        recorded.record(BERLIN)
        recorded.record(SYDNEY)
        deadline = time.monotonic() + _SECONDS
        ended: list[str] = []
        while not ended and time.monotonic() < deadline:
            with installation.store.write(clock.now()) as tx:
                if decider.refresh(tx.connection).kinds:
                    ended = end_unentitled_sessions(tx, decider, sessions.list_live(tx.connection))
            time.sleep(0.02)
    finally:
        stopped.set()
        thread.join()
    assert ended == ["s1"]


def test_it_ends_by_itself(recorded: Recorded) -> None:
    recorded.travel()
    recorded.look()
    since = recorded.installation.now
    now = recorded.installation.clock.forward(hours=24)
    assert end_facts(recorded.installation.store, since=since, now=now) == 1
    assert recorded.new_watch().look(now) == 0, "nor is it found again after a restart"


def test_what_was_dismissed_stays_so_over_a_restart_and_what_comes_after_is_found(recorded: Recorded) -> None:
    installation = recorded.installation
    recorded.travel()
    recorded.look()
    installation.clock.forward(minutes=1)
    assert installation.do(dismiss_risk, ALICE, reason="a hotel's VPN") == ["sign_in_risk"]
    with pytest.raises(InvalidInputError, match="nothing that we found"):
        installation.do(dismiss_risk, ALICE, reason="")
    [risk] = recorded.list_risks()
    assert (risk.value, risk.detail) == ("none", f"dismissed by {ADMIN}: a hotel's VPN")
    assert recorded.new_watch().look(installation.now) == 0
    installation.clock.forward(minutes=1)
    recorded.record(BERLIN)
    assert recorded.look() == 0, "the other place is from before"
    installation.clock.forward(minutes=1)
    recorded.record(SYDNEY)
    assert recorded.look() == 1


def test_trusted_locations_are_never_counted(recorded: Recorded) -> None:
    recorded.installation.do(add_named_location, "Office", ranges=[f"{SYDNEY}/32"], trusted=True)
    recorded.travel()
    recorded.installation.clock.forward(minutes=1)
    recorded.record(BERLIN)
    assert recorded.look() == 0


def test_failures_on_a_device_of_his_own_count(recorded: Recorded) -> None:
    recorded.fail(20)
    assert recorded.look() == 0, "it is nobody's device: whoever holds one could raise the risk of anybody"
    recorded.installation.do(assign_device, LAPTOP, ALICE)
    recorded.fail(4, Reason.CODE_WRONG)
    assert recorded.look() == 0
    recorded.fail(1)
    assert recorded.look() == 1
    recorded.fail(5)
    assert recorded.look() == 1
    [risk] = recorded.list_risks()
    assert (risk.name, risk.value, risk.source) == ("user_risk", "medium", "failed attempts")
    assert risk.detail == "10 failures after proof of a key within 1 min"


def test_refusals_for_other_reasons_and_unproven_ones_do_not_count(recorded: Recorded) -> None:
    recorded.fail(30, Reason.DEVICE_NOT_COMPLIANT)
    for number in range(30):
        name = f"x{number}"
        recorded.record(BERLIN, outcome=Outcome.REFUSED, reason=Reason.IDENTITY_MISMATCH, claimed_identity=name)
    recorded.record(SYDNEY, outcome=Outcome.REFUSED, reason=Reason.KEY_NOT_PROVEN)
    assert recorded.look() == 0


def test_one_who_was_removed_meanwhile_is_left_alone(recorded: Recorded) -> None:
    recorded.travel()
    recorded.installation.do(remove_subject, SubjectKind.USER, ALICE)
    assert recorded.look() == 0
    assert recorded.list_risks() == []


def test_old_attempts_are_not_gone_over(recorded: Recorded) -> None:
    recorded.travel()
    recorded.installation.clock.forward(hours=24, minutes=1)
    assert recorded.look() == 0


def test_without_places_no_travel_is_found(recorded: Recorded) -> None:
    recorded.travel()
    assert RiskWatch(recorded.installation.store, None).look(recorded.installation.now) == 0


def test_a_risk_is_kept_while_it_goes_on_without_a_write_for_each_attempt(recorded: Recorded) -> None:
    recorded.travel()
    recorded.look()
    recorded.installation.clock.forward(hours=13)
    recorded.travel()
    assert recorded.look() == 1
    [risk] = recorded.list_risks()
    assert risk.observed_at == recorded.installation.now
    assert risk.expires_at is not None
    assert risk.expires_at - recorded.installation.now == timedelta(hours=24)
