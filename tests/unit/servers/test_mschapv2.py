"""EAP-MSCHAPv2, alone and inside PEAP: who gets in, who is refused and what is kept."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel import clock
from evertunnel.access.facts import Facts
from evertunnel.actions.decide import Decider
from evertunnel.actions.end_unentitled_sessions import find_refusal
from evertunnel.actions.switch_mschapv2 import switch_mschapv2_off, switch_mschapv2_on
from evertunnel.errors import AlreadyExistsError, ConfirmationNeededError, InvalidInputError, NotFoundError
from evertunnel.model import Decision, Reason
from evertunnel.passwords import check_password
from evertunnel.protocols.eap.methods.mschapv2 import StoredPassword
from evertunnel.protocols.eap.methods.progress import PasswordPeer
from evertunnel.protocols.eap.mschapv2_keys import hash_password_nt
from evertunnel.storage import tables
from tests.peers import radius
from tests.peers.eap_tls import build_response
from tests.peers.gateway import Answer
from tests.peers.peap import MSCHAPV2, InnerMSCHAPv2, MSCHAPv2Client
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import (
    DAVE,
    PASSWORD,
    add_dave,
    allow_passwords,
    assert_accepted,
    assert_refused,
    change_dave,
    find_user,
    new_password_client,
    new_peap,
)


def new_client(password: str = PASSWORD, *, name: str = DAVE, **options: Any) -> MSCHAPv2Client:
    return MSCHAPv2Client(InnerMSCHAPv2(name, password, **options), identity=name)


def test_a_password_alone_gets_in(scene: Scene) -> None:
    allow_passwords(scene)
    client = new_client()
    assert_accepted(scene, scene.gateway.log_in(client), client.inner.key, DAVE)
    attempt = scene.installation.list_attempts()[-1]
    story = json.loads(attempt.story)
    assert story["methods"] == ["password"]
    assert "EAP-MSCHAPv2, which is weak" in attempt.story
    assert "weak: MS-CHAPv2" in attempt.story


def test_who_is_granted_in_one_go_is_decided_about_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_passwords(scene)
    decided: list[Facts] = []
    decide_tunnel = Decider.decide_tunnel

    def decide(decider: Decider, facts: Facts) -> Decision:
        decided.append(facts)
        return decide_tunnel(decider, facts)

    monkeypatch.setattr(Decider, "decide_tunnel", decide)
    assert scene.gateway.log_in(new_client()).code == radius.ACCEPT
    assert len(decided) == 1


def test_off_it_is_not_offered_whatever_a_policy_names(scene: Scene) -> None:
    add_dave(scene)
    scene.installation.add_policy("Weak", position=1, settings={"authentication_methods": ["eap-mschapv2"]})
    scene.follow()
    assert_refused(scene, scene.gateway.log_in(new_client()), Reason.METHOD_REFUSED)


def test_on_it_is_not_offered_where_no_policy_names_it(scene: Scene) -> None:
    switch_mschapv2_on(scene.installation.store, weakness_accepted=True, actor="t", now=clock.now())
    add_dave(scene)
    scene.follow()
    assert_refused(scene, scene.gateway.log_in(new_client()), Reason.METHOD_REFUSED)


def test_a_policy_that_names_it_for_others_does_not_let_dave_in(scene: Scene) -> None:
    switch_mschapv2_on(scene.installation.store, weakness_accepted=True, actor="t", now=clock.now())
    add_dave(scene)
    settings = {"authentication_methods": ["eap-mschapv2"]}
    scene.installation.add_policy("Weak", position=1, settings=settings, conditions={"users": ["alice@corp.example"]})
    scene.follow()
    client = new_client()
    assert_refused(scene, scene.gateway.log_in(client), Reason.METHOD_NOT_ALLOWED)
    assert "E=649 R=0" in client.inner.failures[-1]


def test_a_compliant_device_is_demanded_and_a_password_has_none(scene: Scene) -> None:
    allow_passwords(scene, allowed_certificate_oids=["1.3.6.1.4.1.311.87"])
    assert_refused(scene, scene.gateway.log_in(new_client()), Reason.CERTIFICATE_USAGE_DEMANDED)


def test_a_wrong_password_may_be_tried_twice_more(scene: Scene) -> None:
    allow_passwords(scene)
    client = new_client("wrong", tries=["wrong too", PASSWORD])
    assert_accepted(scene, scene.gateway.log_in(client), client.inner.key, DAVE)
    assert [failure[:9] for failure in client.inner.failures] == ["E=691 R=1"] * 2
    challenges = {failure.split("C=")[1][:32] for failure in client.inner.failures}
    assert len(challenges) == 2, "a challenge was used twice"


def test_and_then_it_is_over(scene: Scene) -> None:
    allow_passwords(scene)
    client = new_client("wrong", tries=["2", "3", PASSWORD])
    assert_refused(scene, scene.gateway.log_in(client), Reason.PASSWORD_WRONG)
    assert [failure[:9] for failure in client.inner.failures] == ["E=691 R=1", "E=691 R=1", "E=691 R=0"]
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.user_name, attempt.claimed_identity) == (None, DAVE), "who failed is nobody we know"


def test_a_client_that_says_nothing_after_a_refusal_is_recorded_with_its_reason(scene: Scene) -> None:
    """As strongSwan's and Windows' do in IKEv2."""
    allow_passwords(scene)
    client = new_client("wrong")
    answer = scene.gateway.ask(client.answer_identity())
    while b"E=691" not in answer.eap:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    scene.uptime += 31
    scene.expire()
    assert scene.installation.list_attempts()[-1].reason == Reason.PASSWORD_WRONG


def test_a_right_password_after_a_wrong_one_that_has_ended_is_recorded_as_ended(scene: Scene) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    assert_refused(scene, scene.gateway.log_in(new_client("wrong", tries=[PASSWORD])), Reason.PASSWORD_EXPIRED)


@pytest.mark.parametrize("who", ["nobody@corp.example", "alice@corp.example", DAVE])
def test_nobody_and_no_hash_and_wrong_look_the_same(scene: Scene, who: str) -> None:
    """alice exists without a password; dave has another one."""
    allow_passwords(scene)
    client = new_client("wrong", name=who)
    assert_refused(scene, scene.gateway.log_in(client), Reason.PASSWORD_WRONG)
    lengths = [len(answer.data) for answer in scene.gateway.answers]
    assert client.inner.failures[0].startswith("E=691 R=1 C=")
    assert len(client.inner.failures[0]) == len("E=691 R=1 C=") + 32 + len(" V=3 M=Refused")
    assert len(lengths) == 4  # nak, challenge, failure, reject


def test_a_disabled_user_is_told_after_the_password_only(scene: Scene) -> None:
    allow_passwords(scene)
    change_dave(scene, enabled=False)
    assert_refused(scene, scene.gateway.log_in(new_client("wrong")), Reason.PASSWORD_WRONG)
    client = new_client()
    assert_refused(scene, scene.gateway.log_in(client), Reason.USER_DISABLED)
    assert "E=649 R=0" in client.inner.failures[-1]


def test_passwords_set_before_the_switch_are_not_kept(scene: Scene) -> None:
    add_dave(scene)
    scene.installation.add_policy("Weak", position=1, settings={"authentication_methods": ["eap-mschapv2"]})
    assert find_user(scene).nt_hash_sealed is None
    switch_mschapv2_on(scene.installation.store, weakness_accepted=True, actor="t", now=clock.now())
    scene.follow()
    assert_refused(scene, scene.gateway.log_in(new_client()), Reason.PASSWORD_WRONG)
    change_dave(scene, password="another password")
    client = new_client("another password")
    assert_accepted(scene, scene.gateway.log_in(client), client.inner.key, DAVE)


def test_switching_off_erases_hashes_and_ends_sessions(scene: Scene) -> None:
    allow_passwords(scene)
    store = scene.installation.store
    assert scene.gateway.log_in(new_client()).code == radius.ACCEPT
    (row,) = scene.installation.list_sessions()
    assert find_refusal(scene.decider, row, now=clock.now()) is None
    sealed = find_user(scene).nt_hash_sealed
    assert sealed is not None
    assert len(sealed) > 16
    with pytest.raises(ConfirmationNeededError, match="ends 1 live sessions"):
        switch_mschapv2_off(store, confirmed=False, actor="t", now=clock.now())
    assert switch_mschapv2_off(store, confirmed=True, actor="t", now=clock.now()) == 1
    assert find_user(scene).nt_hash_sealed is None
    scene.follow()
    refusal = find_refusal(scene.decider, row, now=clock.now())
    assert refusal is not None
    assert refusal.reason is Reason.MSCHAPV2_SWITCHED_OFF
    assert scene.gateway.log_in(new_client()).code == radius.REJECT
    with pytest.raises(NotFoundError):
        switch_mschapv2_off(store, confirmed=True, actor="t", now=clock.now())


def test_the_weakness_has_to_be_accepted(scene: Scene) -> None:
    store = scene.installation.store
    with pytest.raises(InvalidInputError, match="MS-CHAPv2 is weak"):
        switch_mschapv2_on(store, weakness_accepted=False, actor="t", now=clock.now())
    switch_mschapv2_on(store, weakness_accepted=True, actor="t", now=clock.now())
    with pytest.raises(AlreadyExistsError):
        switch_mschapv2_on(store, weakness_accepted=True, actor="t", now=clock.now())


def test_switched_off_between_promise_and_accept(scene: Scene) -> None:
    allow_passwords(scene)
    request = build_last_request(scene, new_client())
    switch_mschapv2_off(scene.installation.store, confirmed=True, actor="t", now=clock.now())
    answer = scene.gateway.send(request)
    assert answer is not None
    assert_refused(scene, answer, Reason.MSCHAPV2_SWITCHED_OFF)


def build_last_request(scene: Scene, client: MSCHAPv2Client) -> bytes:
    """The packet that gets the Accept."""
    answer = scene.gateway.ask(client.answer_identity())
    while True:
        eap = client.answer(answer.eap)
        if eap[5:] == b"\x03":
            return scene.gateway.build(eap, answer.state)
        answer = scene.gateway.ask(eap, answer.state)


# Passwords that must be changed.


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in-peap"])
def test_an_expired_password_is_changed_at_the_login(scene: Scene, inside: bool) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    inner = InnerMSCHAPv2(DAVE, PASSWORD, new_password="a new password")
    client = new_peap(scene, inner, identity=DAVE) if inside else MSCHAPv2Client(inner, identity=DAVE)
    answer = scene.gateway.log_in(client)  # type: ignore[arg-type]
    assert_accepted(scene, answer, client.keys if inside else inner.key, DAVE)  # type: ignore[union-attr]
    assert inner.failures[0].startswith("E=648 R=0 C=")
    row = find_user(scene)
    assert not row.password_expired
    assert check_password(row.password_hash, "a new password")
    scene.follow()
    assert scene.gateway.log_in(new_client("a new password")).code == radius.ACCEPT
    assert scene.gateway.log_in(new_client()).code == radius.REJECT


@pytest.mark.parametrize("changes", [{"password": "set by the administrator"}, {"expire_password": True}])
def test_a_password_that_is_changed_during_the_login_opens_nothing_any_more(
    scene: Scene, changes: dict[str, Any]
) -> None:
    allow_passwords(scene)
    client = new_client()
    answer = scene.gateway.log_in(client, rounds=2)
    assert answer.code == radius.CHALLENGE
    last = client.answer(answer.eap)
    assert client.inner.key, "the password is proven"
    change_dave(scene, **changes)
    answer = scene.gateway.ask(last, answer.state)
    assert "changed during the login" in assert_refused(scene, answer, Reason.PASSWORD_WRONG)


def test_a_password_that_an_administrator_sets_is_not_replaced_by_a_login_that_began_before(scene: Scene) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    client = new_client(new_password="a new password")
    answer = scene.gateway.log_in(client, rounds=3)
    assert answer.code == radius.CHALLENGE
    last = client.answer(answer.eap)
    change_dave(scene, password="set by the administrator")
    answer = scene.gateway.ask(last, answer.state)
    assert_refused(scene, answer, Reason.PASSWORD_WRONG)
    assert check_password(find_user(scene).password_hash, "set by the administrator")


def test_an_expired_password_opens_nothing(scene: Scene) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    assert_refused(scene, scene.gateway.log_in(new_client()), Reason.PASSWORD_EXPIRED)
    assert find_user(scene).password_expired


@pytest.mark.parametrize(
    ("new", "why"), [(PASSWORD, "the new password is the old one"), ("short", "a password is 8 to 1,024 characters")]
)
def test_a_new_password_that_is_none_is_refused_and_the_record_says_why(scene: Scene, new: str, why: str) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    client = new_client(new_password=new)
    assert why in assert_refused(scene, scene.gateway.log_in(client), Reason.PASSWORD_CHANGE_FAILED)
    assert "E=709" in client.inner.failures[-1]
    assert check_password(find_user(scene).password_hash, PASSWORD)


@pytest.mark.parametrize("new", ["", "short"], ids=["not changed", "not taken"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in-peap"])
def test_whose_password_has_ended_stands_in_the_record(scene: Scene, new: str, inside: bool) -> None:
    """The old one was right, so `attempt list --user` has to find it."""
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    inner = InnerMSCHAPv2(DAVE, PASSWORD, new_password=new)
    client = new_peap(scene, inner, identity=DAVE) if inside else MSCHAPv2Client(inner, identity=DAVE)
    assert scene.gateway.log_in(client).code == radius.REJECT
    assert scene.installation.list_attempts()[-1].user_name == DAVE


def test_a_wrong_password_changes_nothing(scene: Scene) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    client = new_client("wrong", new_password="a new password")
    assert_refused(scene, scene.gateway.log_in(client), Reason.PASSWORD_WRONG)
    assert scene.installation.list_attempts()[-1].user_name is None
    assert check_password(find_user(scene).password_hash, PASSWORD)


def test_who_has_no_hash_cannot_be_told_to_change(scene: Scene) -> None:
    add_dave(scene)
    with pytest.raises(InvalidInputError, match="cannot log in with MS-CHAPv2"):
        change_dave(scene, expire_password=True)


# Order and replay.


def begin(scene: Scene) -> Answer:
    """Up to the challenge."""
    client = new_client()
    answer = scene.gateway.ask(client.answer_identity())
    while answer.eap[4] != MSCHAPV2:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    return answer


@pytest.mark.parametrize(
    "data",
    [b"\x03", b"\x03\x01\x00\x04", b"\x04", b"\x07" + bytes(585), b"\x01", b"", b"\x02", b"\x02\x01\xff\xff"],
    ids=["success", "long success", "failure", "change", "challenge", "nothing", "bare", "length"],
)
def test_nothing_but_a_response_answers_a_challenge(scene: Scene, data: bytes) -> None:
    allow_passwords(scene)
    answer = begin(scene)
    answer = scene.gateway.ask(build_response(answer.eap[1], MSCHAPV2, data), answer.state)
    assert_refused(scene, answer, Reason.TLS_FAILED)


def change(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda response: response[:at] + bytes((value,)) + response[at + 1 :]


@pytest.mark.parametrize(
    "lie",
    [change(1, 9), change(2, 1), change(4, 48), change(21, 1), lambda response: response[:54]],
    ids=["number", "length", "value size", "reserved", "without a name"],
)
def test_a_response_with_a_lie_is_refused(scene: Scene, lie: Callable[[bytes], bytes]) -> None:
    allow_passwords(scene)
    answer = begin(scene)
    client = InnerMSCHAPv2(DAVE, PASSWORD)
    data = lie(client.answer(answer.eap[5:]))
    assert_refused(
        scene, scene.gateway.ask(build_response(answer.eap[1], MSCHAPV2, data), answer.state), Reason.TLS_FAILED
    )


def test_a_response_of_another_login_is_worth_nothing(scene: Scene) -> None:
    allow_passwords(scene)
    first = new_client()
    assert scene.gateway.log_in(first).code == radius.ACCEPT
    answer = begin(scene)
    response = build_response(answer.eap[1], MSCHAPV2, first.inner.last_response)
    answer = scene.gateway.ask(response, answer.state)
    assert b"E=691" in answer.eap
    # And neither is the same response to the next challenge of this login.
    answer = scene.gateway.ask(build_response(answer.eap[1], MSCHAPV2, first.inner.last_response), answer.state)
    assert b"E=691" in answer.eap


def test_too_many_passwords_for_a_name_are_not_looked_at_from_there(scene: Scene) -> None:
    allow_passwords(scene)
    gateway = scene.new_gateway(attributes=[(31, b"192.0.2.7")])
    for _ in range(10):
        assert gateway.log_in(new_client("wrong")).code == radius.REJECT
    client = new_client()
    assert gateway.log_in(client).code == radius.REJECT, "the right one is not looked at, either"
    assert client.inner.failures[0].startswith("E=691 R=1"), "nobody is told"
    assert scene.installation.list_attempts()[-1].reason == Reason.TOO_MANY_FAILURES
    elsewhere = scene.new_gateway(attributes=[(31, b"198.51.100.9")])
    assert elsewhere.log_in(new_client()).code == radius.ACCEPT, "a stranger locked dave out"


def test_no_record_and_no_log_has_a_password_or_its_hash(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    allow_passwords(scene)
    change_dave(scene, expire_password=True)
    new = "a new password"
    assert scene.gateway.log_in(new_client("a wrong password")).code == radius.REJECT
    assert scene.gateway.log_in(new_client(new_password=new)).code == radius.ACCEPT
    with scene.installation.store.read() as connection:
        rows = [str(row) for table in (tables.attempts, tables.audit) for row in connection.execute(select(table))]
    said = "".join([*rows, *capfd.readouterr()])
    assert DAVE in said
    for password in (PASSWORD, new, "a wrong password"):
        nt_hash = hash_password_nt(password)
        for secret in (password, nt_hash.hex(), nt_hash.hex().upper(), repr(nt_hash)):
            assert secret not in said
    assert PASSWORD not in repr(StoredPassword("1", hash_password_nt(PASSWORD)))
    assert new not in repr(PasswordPeer("1", new_password=new))


def test_a_password_is_no_second_factor(scene: Scene) -> None:
    allow_passwords(scene)
    client = new_password_client(scene)
    request = scene.gateway.log_in(client)
    assert request.code == radius.ACCEPT
    (row,) = scene.installation.list_sessions()
    from evertunnel.access.decision import build_sign_in
    from evertunnel.actions.end_unentitled_sessions import gather_session_facts

    sign_in = build_sign_in(gather_session_facts(scene.decider, row, now=clock.now()))
    assert [use.name for use in sign_in.methods] == ["password"]
    assert sign_in.device is None
    assert sign_in.compliant.value is None
