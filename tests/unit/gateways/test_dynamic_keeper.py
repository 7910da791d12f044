"""A gateway that is not ours: we decide its sessions, end them by request, and believe its accounting."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from evertunnel.actions.account import RESTARTED, SILENT, AccountingReport, RestartReport, account, restart
from evertunnel.actions.add_foreign_gateway import ForeignGateway, add_foreign_gateway
from evertunnel.actions.allow import allow
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_silent_sessions import end_silent_sessions
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.gateways import dynamic_client
from evertunnel.gateways.disconnecting import LOST
from evertunnel.gateways.dynamic_keeper import DynamicKeeper, Reach
from evertunnel.model import Gateway, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, gateways, sessions
from evertunnel.storage.tables import AnyRow
from tests.installation import ALICE, Installation
from tests.peers.dynamic import ACCT_SESSION_ID, NAS_IDENTIFIER, SESSION_TIMEOUT, USER_NAME, DynamicGateway
from tests.unit.access.samples import make_document

SECRET = b"of disconnect requests"


class Foreign:
    """A foreign gateway with alice's session on it."""

    def __init__(self, installation: Installation, peer: DynamicGateway | None) -> None:
        self.installation, self.peer = installation, peer
        installation.do(
            add_foreign_gateway,
            ForeignGateway("other", "192.0.2.0/24"),
            seal=lambda secret, context: installation.keystore.seal(secret, context=context),
        )
        with installation.store.read() as connection:
            self.gateway: Gateway = gateways.read_gateway(gateways.get_gateway(connection, "other"))
        self.user_id = installation.add_user()
        certificate_id = installation.issue_user(self.user_id)
        installation.do(add_network_policy, "All", {"permission": "grant"}, position=None)
        session = Session(
            "0123456789abcdef", TunnelKind.USER, SessionState.PENDING, self.gateway.id, 7, installation.now,
            user_id=self.user_id, certificate_id=certificate_id, remote_address="198.51.100.9",
        )  # fmt: skip
        with installation.store.write(installation.now) as tx:
            sessions.insert_sessions(tx, [session])
        reach = None if peer is None else Reach("127.0.0.1", peer.port, (SECRET,))
        self.keeper = DynamicKeeper(installation.store, self.gateway, reach, clock=installation.clock)

    def turn(self) -> None:
        """One in which everything is due."""
        self.keeper._effects_at = self.keeper._look_at = 0.0
        self.keeper._disconnecting._again_at.clear()
        self.keeper.take_turn(changed=True)

    def count(self, **report: Any) -> None:
        """What the gateway says of the session."""
        said = AccountingReport(
            self.gateway, "acct-1", self.installation.now, ("0123456789abcdef",), user_name="alice@other", **report
        )
        with self.installation.store.write(self.installation.now) as tx:
            account(tx, said)

    def deny(self) -> str:
        return str(self.installation.do(deny, SubjectKind.USER, ALICE, reason="left"))

    @property
    def session(self) -> AnyRow:
        with self.installation.store.read() as connection:
            row = sessions.find_session(connection, "0123456789abcdef")
        assert row is not None
        return row

    def find_effect(self, denial_id: str) -> AnyRow:
        with self.installation.store.read() as connection:
            (effect,) = effect_queue.list_of_denial(connection, denial_id)
        return effect


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamicGateway]:
    monkeypatch.setattr(dynamic_client, "_WAITS_SECONDS", (0.3, 0.3))
    made = DynamicGateway(SECRET)
    yield made
    made.close()


@pytest.fixture
def foreign(installation: Installation, peer: DynamicGateway) -> Foreign:
    return Foreign(installation, peer)


def test_an_ack_is_acknowledged_and_a_stop_is_confirmed(foreign: Foreign, peer: DynamicGateway) -> None:
    foreign.count(begins=True)
    assert foreign.session.state == "up"
    denial = foreign.deny()
    foreign.turn()
    (request,) = peer.requests
    assert (request.code, request[USER_NAME], request[ACCT_SESSION_ID]) == (40, [b"alice@other"], [b"acct-1"])
    effect = foreign.find_effect(denial)
    assert (effect.state, effect.acknowledged_at is not None) == ("pending", True)
    assert "has not yet said that the session is over" in effect.last_error
    foreign.count(end_cause="an administrator ended it")
    foreign.turn()
    assert foreign.find_effect(denial).state == "confirmed"


def test_a_no_is_told_in_words_and_asked_again(foreign: Foreign, peer: DynamicGateway) -> None:
    foreign.count(begins=True)
    peer.answer = lambda request, _data: [peer.say(request, yes=False, cause=504)]
    denial = foreign.deny()
    foreign.turn()
    effect = foreign.find_effect(denial)
    assert (effect.state, effect.acknowledged_at) == ("pending", None)
    assert effect.last_error == "the gateway refused: the session is there and cannot be ended (Error-Cause 504)"
    foreign.turn()
    assert len(peer.requests) == 2


def test_no_such_session_is_no_proof_that_it_is_gone(foreign: Foreign, peer: DynamicGateway) -> None:
    foreign.count(begins=True)
    peer.answer = lambda request, _data: [peer.say(request, yes=False, cause=503)]
    denial = foreign.deny()
    foreign.turn()
    assert (foreign.find_effect(denial).state, foreign.session.state) == ("pending", "ending")


def test_a_gateway_that_went_silent_confirms_nothing(foreign: Foreign, peer: DynamicGateway) -> None:
    foreign.count(begins=True)
    peer.answer = lambda _request, _data: []
    denial = foreign.deny()
    foreign.turn()
    assert "does not answer Disconnect-Requests" in foreign.find_effect(denial).last_error
    foreign.installation.clock.forward(minutes=30)
    with foreign.installation.store.write(foreign.installation.now) as tx:
        assert end_silent_sessions(tx, silence=timedelta(minutes=15)) == 1
    foreign.turn()
    effect = foreign.find_effect(denial)
    assert (effect.state, foreign.session.state) == ("pending", "ended")
    assert "went silent" in effect.last_error


def test_without_a_way_to_end_sessions_that_is_said(installation: Installation) -> None:
    foreign = Foreign(installation, None)
    foreign.count(begins=True)
    denial = foreign.deny()
    foreign.turn()
    assert "--disconnect" in foreign.find_effect(denial).last_error
    foreign.count(end_cause="the user ended it")
    foreign.turn()
    assert foreign.find_effect(denial).state == "confirmed"


def test_a_session_that_lost_what_entitled_it_is_ended(foreign: Foreign, peer: DynamicGateway) -> None:
    foreign.count(begins=True)
    foreign.turn()
    assert not peer.requests
    foreign.installation.do(add_network_policy, "None", {"permission": "deny"}, position=1)
    foreign.turn()
    assert [request.code for request in peer.requests] == [40]
    assert foreign.session.state == "ending"


def test_a_policy_that_became_shorter_is_told_and_kept_whatever_the_gateway_says(
    foreign: Foreign, peer: DynamicGateway
) -> None:
    foreign.count(begins=True)
    peer.answer = lambda request, _data: [peer.say(request, yes=False, cause=405)]
    foreign.turn()
    foreign.installation.clock.forward(minutes=5)
    document = {"permission": "grant", "settings": {"session_timeout_seconds": 600}}
    foreign.installation.do(add_network_policy, "Short", document, position=1)
    foreign.turn()
    (request,) = peer.requests
    assert (request.code, int.from_bytes(request[SESSION_TIMEOUT][0], "big")) == (43, 300)
    foreign.turn()
    assert len(peer.requests) == 1, "once"
    foreign.installation.clock.forward(minutes=5, seconds=1)
    peer.answer = lambda request, _data: [peer.say(request, yes=True)]
    foreign.turn()
    assert [each.code for each in peer.requests] == [43, 40]
    assert foreign.session.end_reason == "the lifetime of its policy is over"


def test_others_who_log_in_are_no_reason_to_decide_sessions_again(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each login is a commit; a policy is one too, and is taken up at the next turn."""
    foreign.count(begins=True)
    foreign.turn()
    looks: list[datetime] = []
    look = foreign.keeper._look
    monkeypatch.setattr(foreign.keeper, "_look", lambda: (looks.append(foreign.installation.now), look()))
    for octets in range(3):
        foreign.count(bytes_in=octets)
        foreign.keeper.take_turn(changed=True)
    assert not looks
    foreign.installation.do(add_network_policy, "None", {"permission": "deny"}, position=1)
    foreign.keeper.take_turn(changed=True)
    assert len(looks) == 1
    assert foreign.session.state == "ending"


def test_a_session_that_wakes_is_decided_at_once(foreign: Foreign, peer: DynamicGateway) -> None:
    """Not only at the look that comes every few seconds: whoever was denied meanwhile would be up until then."""
    foreign.count(begins=True, remote_address="198.51.100.9")
    foreign.installation.clock.forward(minutes=30)
    with foreign.installation.store.write(foreign.installation.now) as tx:
        assert end_silent_sessions(tx, silence=timedelta(minutes=15)) == 1
    foreign.deny()
    foreign.turn()
    foreign.count(session_seconds=1800)
    assert foreign.session.state == "up"
    foreign.keeper.take_turn(changed=True)
    assert foreign.session.state == "ending"


def test_a_session_that_moves_is_decided_at_once(foreign: Foreign) -> None:
    ranges = {"includeLocations": ["Far"]}
    foreign.installation.do(add_named_location, "Far", ranges=["203.0.113.0/24"])
    document = make_document("block", name="Far")
    document["conditions"]["locations"] = ranges
    foreign.installation.do(import_access_policies, document)
    foreign.count(begins=True, remote_address="198.51.100.9")
    foreign.turn()
    assert foreign.session.state == "up"
    foreign.count(session_seconds=60, remote_address="203.0.113.5")
    foreign.keeper.take_turn(changed=True)
    assert foreign.session.state == "ending"


def test_a_session_nobody_counted_is_given_up_after_a_day(foreign: Foreign) -> None:
    foreign.installation.clock.forward(hours=23)
    foreign.turn()
    assert foreign.session.state == "pending"
    foreign.installation.clock.forward(hours=2)
    foreign.turn()
    assert (foreign.session.state, foreign.session.end_reason) == ("ended", "its gateway never said anything of it")


def test_one_that_is_denied_meanwhile_is_given_up_too_and_nothing_is_confirmed(
    foreign: Foreign, peer: DynamicGateway
) -> None:
    denial = foreign.deny()
    foreign.installation.clock.forward(hours=23)
    foreign.turn()
    assert (foreign.session.state, len(peer.requests)) == ("ending", 1)
    foreign.installation.clock.forward(hours=2)
    foreign.turn()
    asked = len(peer.requests)
    foreign.turn()
    assert (foreign.session.state, len(peer.requests)) == ("ended", asked)
    effect = foreign.find_effect(denial)
    assert (effect.state, effect.last_error) == ("pending", LOST)


def test_a_restart_and_silence_after_it_confirm_no_denial(foreign: Foreign) -> None:
    foreign.count(begins=True)
    denial = foreign.deny()
    now = foreign.installation.clock.forward(seconds=5)
    with foreign.installation.store.write(now) as tx:
        restart(tx, RestartReport(foreign.gateway, bytes(16), now, RESTARTED))
    now = foreign.installation.clock.forward(minutes=16)
    with foreign.installation.store.write(now) as tx:
        assert end_silent_sessions(tx, silence=timedelta(minutes=15)) == 1
    foreign.turn()
    assert foreign.session.state == "ended"
    assert (foreign.find_effect(denial).state, foreign.find_effect(denial).last_error) == ("pending", LOST)


def test_a_session_that_nothing_names_is_not_asked_for(foreign: Foreign, peer: DynamicGateway) -> None:
    """A request that names none could end all of them there."""
    with foreign.installation.store.write(foreign.installation.now) as tx:
        sessions.update_session(tx, "0123456789abcdef", unique_id=0)
    denial = foreign.deny()
    foreign.turn()
    assert not peer.requests
    assert "nothing that it would know the session by" in foreign.find_effect(denial).last_error


def test_where_there_is_a_control_socket_it_goes_first(foreign: Foreign, peer: DynamicGateway) -> None:
    """The same gateway as one of ours: asked a second later, and confirmed by the listing alone."""
    foreign.count(begins=True)
    ours = Gateway(foreign.gateway.id, foreign.gateway.name, "")
    reach = Reach("127.0.0.1", peer.port, (SECRET,))
    foreign.keeper = DynamicKeeper(foreign.installation.store, ours, reach, clock=foreign.installation.clock)
    denial = foreign.deny()
    foreign.turn()
    assert not peer.requests
    foreign.installation.clock.forward(seconds=2)
    foreign.turn()
    (request,) = peer.requests
    assert request[NAS_IDENTIFIER] == [b"other"]
    foreign.count(end_cause="an administrator ended it")
    foreign.turn()
    effect = foreign.find_effect(denial)
    assert (effect.state, effect.acknowledged_at is not None) == ("pending", True)


def test_a_denial_by_a_clock_that_is_ahead_is_late_as_well(foreign: Foreign, peer: DynamicGateway) -> None:
    """Said on another node, or before this one's clock was set back: it would wait for as long as they differ."""
    foreign.count(begins=True)
    ours = Gateway(foreign.gateway.id, foreign.gateway.name, "")
    reach = Reach("127.0.0.1", peer.port, (SECRET,))
    foreign.keeper = DynamicKeeper(foreign.installation.store, ours, reach, clock=foreign.installation.clock)
    foreign.installation.clock.forward(minutes=5)
    foreign.deny()
    foreign.installation.clock.forward(minutes=-5)
    foreign.turn()
    assert len(peer.requests) == 1


def test_a_session_the_gateway_speaks_of_again_after_a_silence_can_be_cut(
    foreign: Foreign, peer: DynamicGateway
) -> None:
    """Its way to us was down; its tunnels were not. A session that stayed ended is one that no denial finds."""
    foreign.count(begins=True)
    foreign.installation.clock.forward(minutes=30)
    with foreign.installation.store.write(foreign.installation.now) as tx:
        assert end_silent_sessions(tx, silence=timedelta(minutes=15)) == 1
    foreign.count(session_seconds=1800)
    assert (foreign.session.state, foreign.session.ended_at, foreign.session.end_reason) == ("up", None, "")
    denial = foreign.deny()
    foreign.turn()
    assert [request.code for request in peer.requests] == [40]
    assert foreign.find_effect(denial).state == "pending"


def test_a_restart_that_another_server_behind_the_gateway_told_takes_no_session_off_the_list(
    foreign: Foreign, peer: DynamicGateway
) -> None:
    """A proxy, or a network of addresses, speaks for several servers; only one of them restarted."""
    foreign.count(begins=True)
    foreign.installation.clock.forward(minutes=1)
    with foreign.installation.store.write(foreign.installation.now) as tx:
        assert restart(tx, RestartReport(foreign.gateway, b"1" * 16, foreign.installation.now, RESTARTED)) == 1
    foreign.count(session_seconds=30)
    assert foreign.session.state == "ended", "of the moment of the restart, or before"
    foreign.installation.clock.forward(minutes=5)
    foreign.count(session_seconds=360)
    assert foreign.session.state == "up"
    foreign.deny()
    foreign.turn()
    assert [(each.code, each[ACCT_SESSION_ID]) for each in peer.requests] == [(40, [b"acct-1"])]


@pytest.mark.parametrize("spared_by", ["a denial", "a clock"])
def test_a_session_that_a_restart_spared_is_given_up_when_nobody_speaks_of_it(foreign: Foreign, spared_by: str) -> None:
    installation = foreign.installation
    if spared_by == "a denial":
        foreign.count(begins=True)
        foreign.deny()
        told_at = installation.clock.forward(seconds=5)
    else:  # the gateway's is two minutes slow: its restart, a minute after the session began, was before that
        with installation.store.write(installation.now) as tx:
            account(tx, AccountingReport(foreign.gateway, "acct-1", installation.now - timedelta(minutes=2),
                                         ("0123456789abcdef",), begins=True))  # fmt: skip
        told_at = installation.clock.forward(minutes=1) - timedelta(minutes=2)
    with installation.store.write(installation.now) as tx:
        restart(tx, RestartReport(foreign.gateway, bytes(16), told_at, RESTARTED))
    if spared_by == "a denial":
        installation.do(allow, SubjectKind.USER, ALICE)
    assert foreign.session.state == "up"
    installation.clock.forward(minutes=14)
    with installation.store.write(installation.now) as tx:
        assert end_silent_sessions(tx, silence=timedelta(minutes=15)) == 0
    installation.clock.forward(minutes=2)
    with installation.store.write(installation.now) as tx:
        assert end_silent_sessions(tx, silence=timedelta(minutes=15)) == 1
    assert (foreign.session.state, foreign.session.end_reason) == ("ended", SILENT)
    foreign.count(session_seconds=960)
    assert foreign.session.state == "up", "another server behind the gateway has it"


def test_a_session_that_was_given_up_and_is_counted_after_all_is_up(foreign: Foreign) -> None:
    foreign.installation.clock.forward(hours=25)
    foreign.turn()
    assert foreign.session.state == "ended"
    foreign.count(session_seconds=90_000)
    assert foreign.session.state == "up"


def test_a_session_that_was_stopped_or_cut_stays_over(foreign: Foreign) -> None:
    foreign.count(begins=True)
    foreign.count(end_cause="the user ended it")
    foreign.installation.clock.forward(minutes=5)
    foreign.count(session_seconds=300)
    assert (foreign.session.state, foreign.session.end_reason) == ("ended", "the user ended it")


def test_a_session_that_goes_on_from_another_address_is_decided_from_there(
    foreign: Foreign, peer: DynamicGateway
) -> None:
    """Interim updates say so, as `ike-update` does of a gateway with our strongSwan."""
    foreign.count(begins=True, remote_address="198.51.100.9")
    for said in ("", "00-11-22-33-44-55", "198.51.100.9"):
        foreign.count(session_seconds=60, remote_address=said)
        assert foreign.session.remote_address == "198.51.100.9"
    foreign.count(session_seconds=120, remote_address="203.0.113.5")
    assert foreign.session.remote_address == "203.0.113.5"
    foreign.count(session_seconds=60, end_cause="the user ended it", remote_address="192.0.2.99")
    assert foreign.session.remote_address == "203.0.113.5"


def test_who_gets_the_number_and_address_of_a_session_that_is_over_does_not_wake_it(foreign: Foreign) -> None:
    foreign.count(begins=True, unique_id=7, virtual_addresses="10.9.0.1")
    foreign.count(end_cause="the user ended it", unique_id=7)
    now = foreign.installation.now
    other = AccountingReport(foreign.gateway, "acct-2", now, unique_id=7, virtual_addresses="10.9.0.1", begins=True)
    for report in (other, replace(other, begins=False, session_seconds=60)):
        with foreign.installation.store.write(now) as tx:
            account(tx, report)
        assert foreign.session.state == "ended"
