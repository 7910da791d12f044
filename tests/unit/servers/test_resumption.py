"""A resumed session is decided like any other login, from its certificate and as things stand now."""

import contextlib
import gc
import json
import os
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from ssl import TLSVersion
from typing import Any

import pytest
from OpenSSL import SSL
from sqlalchemy import update

from evertunnel import clock
from evertunnel.actions.add_group import add_group
from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.change_device import change_device
from evertunnel.actions.change_membership import join_group, leave_group
from evertunnel.actions.change_network_policies import remove_network_policy
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.actions.report_device import report_device
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.model import CertificateKind, Outcome, Reason, SubjectKind
from evertunnel.protocols.eap import tls_server
from evertunnel.servers.ticket_keys import PERIOD_SECONDS, TicketKeys
from evertunnel.storage import tables
from tests.peers import radius
from tests.peers.certificates import build_authority
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.peers.tls_keys import compute_msk
from tests.unit.servers.conftest import Scene
from tests.unit.servers.test_rotation import activate, create, retire

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
ALICE, LAPTOP = "alice@corp.example", "laptop1.corp.example"
ACT = {"actor": "t"}


def resume(scene: Scene, first: Client, **options: Any) -> Client:
    return scene.new_client(context=first.context, resume=first.tls.session, fragment_bytes=4_000, **options)


class Resumer:
    """alice on her laptop with a short-lived certificate, who logged in once."""

    def __init__(self, scene: Scene, version: TLSVersion) -> None:
        self.scene = scene
        store = scene.installation.store
        add_group(store, "Staff", now=clock.now(), **ACT)
        scene.installation.add_policy("Staff", position=1, conditions={"groups": ["Staff"]})
        remove_network_policy(store, "Everybody", now=clock.now(), **ACT)
        join_group(store, "Staff", SubjectKind.USER, ALICE, now=clock.now(), **ACT)
        self.credential = scene.installation.issue(CertificateKind.SHORT_LIVED)
        scene.follow()
        self.first = scene.new_client(self.credential, version=version)
        assert scene.gateway.log_in(self.first).code == radius.ACCEPT

    def return_with_ticket(self, **options: Any) -> Client:
        """The same client again, with the session of the first time."""
        return resume(self.scene, self.first, **options)


@VERSIONS
def test_a_session_is_resumed_and_the_record_says_so(scene: Scene, version: TLSVersion, tmp_path: Path) -> None:
    keys = tmp_path / "keys.log"
    first = scene.new_client(version=version, keylog=keys)
    scene.gateway.log_in(first)
    keys.write_text("")
    second = resume(scene, first)
    scene.gateway.lines.clear()
    accept = scene.gateway.log_in(second)
    assert accept.code == radius.ACCEPT
    assert second.tls.session_reused
    assert accept.session_keys == compute_msk(second, keys)
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.outcome, attempt.user_name) == (Outcome.GRANTED, ALICE)
    assert attempt.certificate_id == scene.installation.find_certificate_id(scene.alice)
    assert json.loads(attempt.story)["login"]["resumed"]
    expected = [
        "gateway: Access-Request, Identity",
        "server: Access-Challenge, TLS start",
        "gateway: Access-Request, TLS handshake",
        "server: Access-Challenge, TLS handshake",
        "gateway: Access-Request, TLS change cipher spec",
    ]
    if version == TLS_13:
        expected += ["server: Access-Challenge, TLS encrypted", "gateway: Access-Request, TLS empty"]
    assert scene.gateway.lines == [*expected, "server: Access-Accept, Success"]
    again = scene.new_client(context=first.context, resume=second.tls.session, fragment_bytes=4_000)
    assert scene.gateway.log_in(again).code == radius.ACCEPT
    assert again.tls.session_reused


def revoke(resumer: Resumer) -> None:
    made = resumer.scene.installation
    revoke_certificate(
        made.store, made.find_certificate_id(resumer.credential), reason="superseded", now=clock.now(), **ACT
    )


def deny_user(resumer: Resumer) -> None:
    deny(resumer.scene.installation.store, SubjectKind.USER, ALICE, reason="left", now=clock.now(), **ACT)


def deny_device(resumer: Resumer) -> None:
    deny(resumer.scene.installation.store, SubjectKind.DEVICE, LAPTOP, reason="stolen", now=clock.now(), **ACT)


def disable_user(resumer: Resumer) -> None:
    change_user(resumer.scene.installation.store, ALICE, enabled=False, now=clock.now(), **ACT)


def disable_device(resumer: Resumer) -> None:
    change_device(resumer.scene.installation.store, LAPTOP, enabled=False, now=clock.now(), **ACT)


def distrust(resumer: Resumer) -> None:
    activate(resumer.scene, create(resumer.scene))
    retire(resumer.scene, "access", distrust=True)


def lose_group(resumer: Resumer) -> None:
    leave_group(resumer.scene.installation.store, "Staff", SubjectKind.USER, ALICE, now=clock.now(), **ACT)


def lose_policy(resumer: Resumer) -> None:
    remove_network_policy(resumer.scene.installation.store, "Staff", now=clock.now(), **ACT)


def lose_compliance(resumer: Resumer) -> None:
    store = resumer.scene.installation.store
    report_device(store, LAPTOP, "compliant", value=False, source="manual", now=clock.now(), **ACT)


def expire(resumer: Resumer) -> None:
    made = resumer.scene.installation
    with made.store.write(clock.now()) as tx:
        tx.connection.execute(update(tables.certificates).values(not_after=clock.now() - timedelta(seconds=1)))
        tx.raise_epoch("certificate", made.find_certificate_id(resumer.credential))


CHANGES: dict[Callable[[Resumer], None], Reason] = {
    revoke: Reason.CERTIFICATE_REVOKED,
    deny_user: Reason.USER_DENIED,
    deny_device: Reason.DEVICE_DENIED,
    disable_user: Reason.USER_DISABLED,
    disable_device: Reason.DEVICE_DISABLED,
    distrust: Reason.CERTIFICATE_REVOKED,  # which distrust does to all of it
    lose_group: Reason.NO_NETWORK_POLICY,
    lose_policy: Reason.NO_NETWORK_POLICY,
    lose_compliance: Reason.DEVICE_NOT_COMPLIANT,
    expire: Reason.CERTIFICATE_EXPIRED,
}
ALERTS = {
    revoke: "SSLV3_ALERT_CERTIFICATE_REVOKED",
    deny_user: "SSLV3_ALERT_CERTIFICATE_REVOKED",  # a denial puts certificates on hold
    deny_device: "SSLV3_ALERT_CERTIFICATE_REVOKED",
    distrust: "TLSV1_ALERT_UNKNOWN_CA",
}


def demand_compliance(scene: Scene) -> None:
    store = scene.installation.store
    report_device(store, LAPTOP, "compliant", value=True, source="manual", now=clock.now(), **ACT)
    add_template_policy(store, "require-compliant-device", on=True, now=clock.now(), **ACT)
    scene.follow()


@VERSIONS
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changed_since_refuses_with_its_own_reason_and_alert(
    scene: Scene, version: TLSVersion, change: Callable[[Resumer], None]
) -> None:
    resumer = Resumer(scene, version)
    demand_compliance(scene)
    assert scene.gateway.log_in(resumer.return_with_ticket()).code == radius.ACCEPT
    change(resumer)
    scene.follow()
    client = resumer.return_with_ticket()
    assert scene.gateway.log_in(client).words == "Access-Reject, Failure"
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.outcome, attempt.reason) == (Outcome.REFUSED, CHANGES[change])
    assert client.alert == ALERTS.get(change, "TLSV1_ALERT_ACCESS_DENIED")
    # It had to prove its key, or the alert could not have been sent.
    assert "resumed" not in json.loads(attempt.story)["login"]


@VERSIONS
@pytest.mark.parametrize("change", [deny_user, revoke, lose_compliance], ids=lambda change: change.__name__)
def test_what_changes_during_the_handshake_refuses_too(
    scene: Scene, version: TLSVersion, change: Callable[[Resumer], None]
) -> None:
    resumer = Resumer(scene, version)
    demand_compliance(scene)
    client = resumer.return_with_ticket()
    sessions = len(scene.installation.list_sessions())
    answer = scene.gateway.log_in(client, rounds=1)  # our Finished is on its way
    change(resumer)
    scene.follow()
    while answer.code == radius.CHALLENGE:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.words == "Access-Reject, Failure"
    assert client.tls.session_reused
    assert not client.committed
    assert client.alert == ("TLSV1_ALERT_ACCESS_DENIED" if version == TLS_13 else "")
    assert len(scene.installation.list_sessions()) == sessions


@VERSIONS
def test_what_changes_after_the_last_packet_refuses_too(scene: Scene, version: TLSVersion) -> None:
    resumer = Resumer(scene, version)
    client = resumer.return_with_ticket()
    answer = scene.gateway.log_in(client, rounds=1 if version == TLS_12 else 2)
    last = scene.gateway.build(client.answer(answer.eap), answer.state)
    assert client.tls.session_reused
    verdict = scene.receive_verdict(last)
    deny_user(resumer)
    (reply,) = scene.commit(verdict)
    assert reply[0] == radius.REJECT


@VERSIONS
def test_another_name_does_not_come_with_the_ticket(scene: Scene, version: TLSVersion) -> None:
    resumer = Resumer(scene, version)
    scene.installation.add_user("bob@corp.example")
    client = resumer.return_with_ticket(identity="bob@corp.example")
    assert scene.gateway.log_in(client).code == radius.REJECT
    assert scene.installation.list_attempts()[-1].reason == Reason.IDENTITY_MISMATCH


@VERSIONS
def test_a_session_without_a_certificate_opens_nothing(scene: Scene, version: TLSVersion) -> None:
    """Made with our own ticket keys, as a server would that asks for none."""
    context = scene.tls.contexts.tls
    assert context.tickets is not None
    mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.tickets._used = False  # type: ignore[attr-defined]
    context.tickets.set_verify(SSL.VERIFY_NONE)
    first = scene.new_client(pem=None, version=version)
    handshake = context.new_handshake()
    for _ in range(2):
        first._advance()
        with contextlib.suppress(tls_server.TLSError):  # it finds that nobody was proven
            first._in.write(handshake.receive(first._out.read()))
    first._in.write(handshake._connection.take())
    first._advance()
    assert first.handshake_done
    tls_server.openssl.use_verify_callback(context.tickets, context._verify)
    assert context.tickets.get_verify_mode() == mode
    second = resume(scene, first)
    assert scene.gateway.log_in(second).code == radius.REJECT
    assert scene.installation.list_attempts()[-1].reason == Reason.CERTIFICATE_MISSING
    assert not second.tls.session_reused


@VERSIONS
def test_certificate_and_authorities_change_and_tickets_stay_good(scene: Scene, version: TLSVersion) -> None:
    resumer = Resumer(scene, version)
    activate(scene, create(scene))
    scene.tls.use_chain([scene.installation.renew_server_certificate(), *scene.tls._chain[1:]])
    scene.tls.take_turn(time.monotonic())
    client = resumer.return_with_ticket()
    assert scene.gateway.log_in(client).code == radius.ACCEPT
    assert client.tls.session_reused
    fresh = scene.new_client(resumer.credential, version=version)
    assert scene.gateway.log_in(fresh).code == radius.ACCEPT
    assert fresh.server_certificate() == scene.tls._chain[0]


@VERSIONS
def test_an_authority_that_is_not_trusted_any_more_resumes_nothing(
    scene: Scene, version: TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else the ledger says of the certificate."""
    resumer = Resumer(scene, version)
    assert scene.gateway.log_in(resumer.return_with_ticket()).code == radius.ACCEPT
    monkeypatch.setattr(scene.decider, "list_access_authorities", list)
    scene.tls.use_authorities()
    client = resumer.return_with_ticket()
    assert scene.gateway.log_in(client).code == radius.REJECT
    assert (client.tls.session_reused, client.alert) == (False, "TLSV1_ALERT_UNKNOWN_CA")


class Splitter(Client):
    """Its ClientHello comes in two messages, so that the ticket is opened when the second is there."""

    def _answer_tls(self, flags: int, body: bytes) -> bytes:
        rest, self._rest = getattr(self, "_rest", b""), b""
        if rest:
            assert (flags, body) == (0, b""), "nothing is answered before the whole of it came"
            return b"\0" + rest
        data = super()._answer_tls(flags, body)
        if not self.first_flight or self.first_flight == body:
            data, self._rest = data[:101], data[101:]
        return data


@VERSIONS
def test_a_ticket_in_the_second_half_of_a_hello_is_not_taken(
    scene: Scene, version: TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumer = Resumer(scene, version)
    monkeypatch.setattr(scene.decider, "list_access_authorities", list)
    scene.tls.use_authorities()
    client = Splitter(
        root_pem=scene.installation.root_pem,
        pem=None,
        context=resumer.first.context,
        resume=resumer.first.tls.session,
        fragment_bytes=4_000,
    )
    assert scene.gateway.log_in(client).code == radius.REJECT
    assert not client.tls.session_reused


@VERSIONS
def test_other_issuers_begin_anew(scene: Scene, version: TLSVersion) -> None:
    resumer = Resumer(scene, version)
    leaf, *issuers = scene.tls._chain
    scene.tls.use_chain([leaf, *issuers, build_authority("Another").certificate])
    scene.tls.take_turn(time.monotonic())
    client = resumer.return_with_ticket()
    assert scene.gateway.log_in(client).code == radius.ACCEPT
    assert not client.tls.session_reused


@VERSIONS
def test_ticket_keys_change_and_old_tickets_prove_nothing(scene: Scene, version: TLSVersion) -> None:
    resumer = Resumer(scene, version)
    scene.tls.take_turn(time.monotonic() + PERIOD_SECONDS)
    client = resumer.return_with_ticket()
    assert scene.gateway.log_in(client).code == radius.ACCEPT
    assert not client.tls.session_reused
    again = resume(scene, client)
    scene.gateway.log_in(again)
    assert again.tls.session_reused


@VERSIONS
def test_a_ticket_ends(scene: Scene, version: TLSVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_server, "RESUMABLE_SECONDS", 1)
    scene.tls.take_turn(time.monotonic() + PERIOD_SECONDS)
    resumer = Resumer(scene, version)
    deadline = time.monotonic() + 20
    while True:
        client = resumer.return_with_ticket()
        scene.gateway.log_in(client)
        if not client.tls.session_reused:
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)


@VERSIONS
def test_workers_open_each_others_tickets(scene: Scene, version: TLSVersion) -> None:
    """As after the fork that makes them."""
    resumer = Resumer(scene, version)
    child = os.fork()
    if not child:
        client = resumer.return_with_ticket()
        answer = scene.gateway.log_in(client, rounds=2)
        os._exit(0 if client.tls.session_reused and answer.code in (radius.CHALLENGE, radius.ACCEPT) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_keys_are_forgotten() -> None:
    keys = TicketKeys(uptime=0.0, periods=3)
    held = [weakref.ref(context) for context in keys._contexts.values()]
    assert keys.find_context(PERIOD_SECONDS) is held[1]()
    gc.collect()
    assert [each() is None for each in held] == [True, False, False]
    keys.forget()
    gc.collect()
    assert all(each() is None for each in held)
    assert keys.find_context(9 * PERIOD_SECONDS) is not None, "after the last one, one of its own"


def test_without_ticket_keys_nothing_is_resumed(scene: Scene) -> None:
    context = scene._build_tls(scene.tls._chain).tls
    assert context.tickets is None
    scene.server.use_tls(scene._build_tls(scene.tls._chain))
    first = scene.new_client(version=TLS_12)
    scene.gateway.log_in(first)
    second = resume(scene, first)
    assert scene.gateway.log_in(second).code == radius.ACCEPT
    assert not second.tls.session_reused
