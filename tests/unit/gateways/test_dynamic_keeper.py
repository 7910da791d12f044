"""A gateway that is not ours: we decide its sessions, end them by request, and believe its accounting."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from evertunnel.actions.account import AccountingReport, account
from evertunnel.actions.add_foreign_gateway import ForeignGateway, add_foreign_gateway
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_silent_sessions import end_silent_sessions
from evertunnel.gateways import dynamic_client
from evertunnel.gateways.dynamic_keeper import DynamicKeeper, Reach
from evertunnel.model import Gateway, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, gateways, sessions
from evertunnel.storage.tables import AnyRow
from tests.installation import ALICE, Installation
from tests.peers.dynamic import ACCT_SESSION_ID, NAS_IDENTIFIER, SESSION_TIMEOUT, USER_NAME, DynamicGateway

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
        reach = None if peer is None else Reach("127.0.0.1", peer.port, SECRET)
        self.keeper = DynamicKeeper(installation.store, self.gateway, reach, clock=installation.clock)

    def turn(self) -> None:
        self.keeper._effects_at = 0.0
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


def test_a_session_nobody_counted_is_given_up_after_a_day(foreign: Foreign) -> None:
    foreign.installation.clock.forward(hours=23)
    foreign.turn()
    assert foreign.session.state == "pending"
    foreign.installation.clock.forward(hours=2)
    foreign.turn()
    assert (foreign.session.state, foreign.session.end_reason) == ("ended", "its gateway never said anything of it")


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
    reach = Reach("127.0.0.1", peer.port, SECRET)
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
