"""What gateways count, in every order, twice, late and across restarts: it comes to the same."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from evertunnel.actions.account import SILENT
from evertunnel.actions.end_silent_sessions import end_silent_sessions
from evertunnel.model import SessionState, TunnelKind
from tests.peers import accounting as peer
from tests.unit.servers.accounting import OTHER, OURS, SECRETS, SESSION, Accounts

TUNNEL: dict[str, Any] = {"class_": SESSION, "nas_port": 7, "user": "alice@corp.example", "address": b"\x0a\x1f\0\1"}
COUNTED = {"octets_in": 1_000, "octets_out": 2_000}


def test_a_session_is_counted_from_start_to_stop(accounts: Accounts) -> None:
    accounts.open_session()
    accounts.say(peer.START, **TUNNEL)
    assert (accounts.record.session_id, accounts.record.ended_at) == (SESSION, None)
    accounts.say(peer.INTERIM, **TUNNEL, octets_in=10, octets_out=20, session_time=5)
    assert (accounts.get_session().bytes_in, accounts.get_session().bytes_out) == (10, 20)
    accounts.say(peer.STOP, **TUNNEL, **COUNTED, cause=5)
    record = accounts.record
    assert (record.bytes_in, record.bytes_out, record.end_cause) == (1_000, 2_000, "its time was over")
    assert record.ended_at == accounts.installation.now
    assert (accounts.get_session().state, accounts.get_session().end_reason) == ("ending", "its time was over")


def test_a_session_whose_tunnel_was_never_seen_ends_at_once(accounts: Accounts) -> None:
    accounts.open_session(state=SessionState.PENDING, spis="")
    accounts.say(peer.STOP, **TUNNEL, cause=1)
    assert accounts.get_session().state == "ended"


def test_counting_brings_no_tunnel_up(accounts: Accounts) -> None:
    accounts.open_session(state=SessionState.PENDING, spis="")
    accounts.say(peer.START, **TUNNEL)
    accounts.say(peer.INTERIM, **TUNNEL, **COUNTED)
    assert accounts.get_session().state == "pending"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_any_order_it_comes_to_the_same(accounts: Accounts, order: tuple[int, ...]) -> None:
    accounts.open_session()
    begun = accounts.stamp(seconds=60)
    said = [
        (peer.START, {"stamp": begun}),
        (peer.INTERIM, {"stamp": begun + 30, "session_time": 30, "octets_in": 10}),
        (peer.STOP, {"stamp": begun + 50, "session_time": 50, "cause": 1, **COUNTED}),
    ]
    for number in order:
        status, values = said[number]
        accounts.say(status, **TUNNEL, **values)
    record = accounts.record
    assert (record.began_at, record.ended_at) == (accounts.at(begun), accounts.at(begun + 50))
    assert (record.bytes_in, record.bytes_out) == (1_000, 2_000)
    assert accounts.get_session().state == "ending"


def test_an_interim_update_after_the_stop_wakes_nothing(accounts: Accounts) -> None:
    accounts.open_session()
    accounts.say(peer.STOP, **TUNNEL, **COUNTED)
    before = accounts.record
    accounts.say(peer.INTERIM, **TUNNEL, octets_in=9_999)
    assert accounts.record == before
    assert accounts.get_session().state == "ending"


def test_a_repeated_request_gets_the_same_answer_and_is_counted_once(accounts: Accounts) -> None:
    accounts.open_session()
    request = peer.build(SECRETS[OURS], peer.STOP, **TUNNEL, **COUNTED)
    first = accounts.carry(request)
    before = accounts.list_records()
    assert first is not None
    assert accounts.carry(request) == first
    accounts.restart()
    assert accounts.carry(request) == first, "our memory is gone, the answer is not"
    accounts.uptime += 60
    assert accounts.carry(request) == first
    assert accounts.list_records() == before


def test_said_again_with_another_delay_it_is_counted_once(accounts: Accounts) -> None:
    accounts.open_session()
    accounts.say(peer.STOP, **TUNNEL, **COUNTED)
    accounts.say(peer.STOP, **TUNNEL, **COUNTED, delay=5)
    assert accounts.record.bytes_in == 1_000


def test_what_was_not_stored_is_not_answered_and_may_be_said_again(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = peer.build(SECRETS[OURS], peer.START, **TUNNEL)
    with monkeypatch.context() as patched:
        patched.setattr("evertunnel.servers.accounting_server.account", lambda *_: 1 / 0)
        assert accounts.carry(request) is None
    assert accounts.carry(request) is not None
    assert accounts.record.acct_session_id == "1-1"


def test_one_bad_report_takes_no_other_with_it(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    from evertunnel.actions.account import account

    def fail_for_one(tx: Any, report: Any) -> None:
        assert report.acct_session_id != "bad"
        account(tx, report)

    monkeypatch.setattr("evertunnel.servers.accounting_server.account", fail_for_one)
    now = accounts.installation.now
    waiting: list[Any] = [
        accounts.server.receive(peer.build(SECRETS[OURS], peer.START, name), (OURS, 1), now=now, uptime=1.0)
        for name in ("a", "bad", "b")
    ]
    assert len(accounts.server.commit(waiting, now)) == 2
    assert [record.acct_session_id for record in accounts.list_records()] == ["a", "b"]


def test_four_gigabytes_and_more_are_counted(accounts: Accounts) -> None:
    accounts.open_session()
    accounts.say(peer.INTERIM, **TUNNEL, octets_in=1, giga_in=3, octets_out=2, giga_out=1)
    assert (accounts.record.bytes_in, accounts.record.bytes_out) == (3 * 2**32 + 1, 2**32 + 2)


def test_delay_and_the_gateways_clock_say_when_it_was(accounts: Accounts) -> None:
    now = accounts.installation.now
    accounts.say(peer.STOP, "delayed", delay=30)
    accounts.say(peer.STOP, "stamped", stamp=accounts.stamp(minutes=5), delay=30)
    accounts.say(peer.STOP, "tomorrow", stamp=accounts.stamp(days=-1), delay=30)
    accounts.say(peer.STOP, "long ago", stamp=accounts.stamp(days=2))
    ended = {record.acct_session_id: now - record.ended_at for record in accounts.list_records()}
    assert ended == {
        "delayed": timedelta(seconds=30),
        "stamped": timedelta(minutes=5),
        "tomorrow": timedelta(seconds=30),
        "long ago": timedelta(0),
    }


def test_it_stays_joined_through_a_rekey(accounts: Accounts) -> None:
    accounts.open_session()
    accounts.say(peer.START, nas_port=7, address=TUNNEL["address"])
    accounts.say(peer.INTERIM, nas_port=9, address=TUNNEL["address"], octets_in=5)
    assert (accounts.record.session_id, accounts.record.unique_id) == (SESSION, 9)
    assert accounts.get_session().bytes_in == 5


def test_a_device_tunnel_joins_by_number_and_address(accounts: Accounts) -> None:
    accounts.open_session(kind=TunnelKind.DEVICE, user_id=None, device_id="d1")
    accounts.say(peer.START, "a", nas_port=7, address=b"\x0a\x1f\0\1")
    accounts.say(peer.START, "b", nas_port=7, address=b"\x0a\x1f\0\2")
    accounts.say(peer.START, "c", nas_port=8, address=b"\x0a\x1f\0\1")
    joined = {record.acct_session_id: record.session_id for record in accounts.list_records()}
    assert joined == {"a": SESSION, "b": None, "c": None}


def test_what_we_never_granted_is_recorded_as_such(accounts: Accounts) -> None:
    accounts.say(peer.START, user="mallory", client="198.51.100.9", nas_port=3)
    accounts.say(peer.STOP, user="mallory", **COUNTED, cause=2)
    assert accounts.record.session_id is None
    assert (accounts.record.user_name, accounts.record.bytes_in) == ("mallory", 1_000)
    assert accounts.record.end_cause == "the connection was lost"


def test_an_id_given_anew_is_another_record(accounts: Accounts) -> None:
    accounts.say(peer.STOP, "1", **COUNTED)
    accounts.installation.clock.forward(minutes=1)
    accounts.say(peer.START, "1")
    assert [bool(record.ended_at) for record in accounts.list_records()] == [True, False]


@pytest.mark.parametrize(
    ("status", "reason"), [(peer.ON, "the gateway restarted"), (peer.OFF, "the gateway was shut down")]
)
def test_a_restart_ends_that_gateways_sessions_only(accounts: Accounts, status: int, reason: str) -> None:
    accounts.open_session()
    accounts.open_session("waiting", state=SessionState.PENDING, spis="")
    accounts.open_session("elsewhere", source=OTHER)
    accounts.say(peer.START, **TUNNEL, stamp=accounts.stamp(seconds=30))
    accounts.say(status, "")
    found = {name: accounts.get_session(name) for name in (SESSION, "waiting", "elsewhere")}
    assert {name: (row.state, row.end_reason) for name, row in found.items()} == {
        SESSION: ("ending", reason),
        "waiting": ("ended", reason),
        "elsewhere": ("up", ""),
    }
    assert accounts.record.end_cause == reason


def test_what_began_after_the_restart_stays(accounts: Accounts) -> None:
    accounts.open_session(created_at=accounts.installation.now - timedelta(seconds=10))
    accounts.say(peer.ON, stamp=accounts.stamp(seconds=20))
    assert accounts.get_session().state == "up"


def test_a_session_being_denied_keeps_its_reason(accounts: Accounts) -> None:
    from evertunnel.storage import sessions

    accounts.open_session()
    with accounts.installation.store.write(accounts.installation.now) as tx:
        sessions.mark_ending(tx, [SESSION], "denied: left")
    accounts.say(peer.STOP, **TUNNEL)
    accounts.say(peer.ON)
    assert (accounts.get_session().state, accounts.get_session().end_reason) == ("ending", "denied: left")


def end_silent(accounts: Accounts) -> int:
    with accounts.installation.store.write(accounts.installation.now) as tx:
        return end_silent_sessions(tx, silence=timedelta(minutes=15))


def test_a_session_nobody_speaks_of_is_closed_with_a_reason(accounts: Accounts) -> None:
    accounts.open_session()
    accounts.say(peer.START, **TUNNEL)
    accounts.say(peer.START, "foreign")
    accounts.installation.clock.forward(minutes=14)
    assert end_silent(accounts) == 0
    accounts.installation.clock.forward(minutes=2)
    assert end_silent(accounts) == 1
    assert (accounts.get_session().state, accounts.get_session().end_reason) == ("ended", SILENT)
    assert {record.end_cause for record in accounts.list_records()} == {SILENT}


def test_a_session_the_gateway_lists_is_not_silent(accounts: Accounts) -> None:
    from evertunnel.storage import sessions

    accounts.open_session()
    accounts.say(peer.START, **TUNNEL)
    accounts.installation.clock.forward(minutes=20)
    with accounts.installation.store.write(accounts.installation.now) as tx:
        sessions.store_traffic(tx, {SESSION: (1, 2)})
    assert end_silent(accounts) == 0
    assert accounts.get_session().state == "up"
    assert accounts.record.ended_at is None


def test_servers_behind_one_gateway_that_count_alike_have_a_record_each(accounts: Accounts) -> None:
    accounts.open_session()
    other = "fedcba9876543210"
    accounts.open_session(other, unique_id=8)
    for _ in range(3):
        accounts.say(peer.INTERIM, "1", class_=SESSION, octets_in=10)
        accounts.say(peer.INTERIM, "1", class_=other, octets_in=20)
    accounts.say(peer.STOP, "1", class_=SESSION, octets_in=11, cause=1)
    found = {record.session_id: (record.bytes_in, bool(record.ended_at)) for record in accounts.list_records()}
    assert (len(accounts.list_records()), found) == (2, {SESSION: (11, True), other: (20, False)})
