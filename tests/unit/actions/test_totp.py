"""Signing in with a password and a code: asked for only who knows the password, good once, counted when wrong."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.add_totp import add_totp
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_user import change_user
from evertunnel.actions.confirm_totp import confirm_totp
from evertunnel.actions.decide import Decider
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.remove_subject import remove_subject
from evertunnel.actions.remove_totp import remove_totp
from evertunnel.actions.report_device import report_device
from evertunnel.errors import AlreadyExistsError, CodeNeededError, InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import Certificate, CertificateKind, Reason, SubjectKind, TunnelKind
from evertunnel.storage import tables
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow
from tests.installation import ADMIN, ALICE, Installation
from tests.unit.access.samples import make_document
from tests.unit.actions.apps import App
from tests.unit.actions.enrolling import PASSWORD, Ready, make_ready
from tests.unit.pki.samples import make_key


@pytest.fixture
def ready(installation: Installation) -> Ready:
    """Alice may have a certificate on her laptop."""
    return make_ready(installation, make_key("p256", "device"))


@pytest.fixture
def app(ready: Ready) -> App:
    """Alice's, confirmed."""
    return App(ready.installation)


def ask_for_code(ready: Ready, **changes: Any) -> AnyRow:
    """Sign in and be asked for a code; returns the record of it."""
    with pytest.raises(CodeNeededError) as caught:
        ready.issue(ready.ask(**changes))
    row = ready.find_attempt()
    assert (row.id, row.outcome, row.reason) == (caught.value.attempt_id, "failed", Reason.CODE_NEEDED.value)
    return row


def read_methods(row: AnyRow) -> list[str]:
    found: list[str] = json.loads(row.story).get("methods", [])
    return found


def find_certificate(ready: Ready) -> Certificate:
    """The short-lived one, as another process loads it."""
    decider = Decider()
    with ready.installation.store.read() as connection:
        decider.refresh(connection)
        columns = tables.certificates.c
        [row] = connection.execute(select(columns.id).where(columns.kind == CertificateKind.SHORT_LIVED.value))
    found = decider.find_certificate_by_id(row.id)
    assert found is not None
    return found


def test_without_an_app_the_password_is_the_method(ready: Ready) -> None:
    ready.issue()
    assert read_methods(ready.find_attempt()) == ["password"]
    certificate = find_certificate(ready)
    assert (certificate.methods, certificate.signed_in_at) == (("password",), ready.installation.now)


def test_a_code_is_asked_for_and_both_methods_are_kept_with_attempt_and_certificate(ready: Ready, app: App) -> None:
    assert read_methods(ask_for_code(ready)) == ["password"]
    ready.issue(ready.ask(code=app.show()))
    row = ready.find_attempt()
    assert (row.outcome, read_methods(row)) == ("granted", ["password", "totp"])
    assert "the code of the authenticator app is right" in row.story
    certificate = find_certificate(ready)
    assert (certificate.methods, certificate.signed_in_at) == (("password", "totp"), ready.installation.now)


def test_the_decision_about_the_tunnel_knows_how_its_certificate_was_signed_in_for(ready: Ready, app: App) -> None:
    signed_in_at = ready.installation.now
    ready.issue(ready.ask(code=app.show()))
    decider, certificate = ready.installation.decider, find_certificate(ready)
    later = ready.installation.clock.forward(minutes=10)
    facts = decider.gather_facts(at=later, tunnel=TunnelKind.USER, certificate=certificate)
    assert (facts.authentication_methods, facts.signed_in_at) == (("password", "totp"), signed_in_at)


def test_certificates_share_one_tuple_of_methods(ready: Ready) -> None:
    first, second = ready.issue(), ready.issue()
    loaded = {certificate.serial_number: certificate for certificate in (first, second)}
    decider = Decider()
    with ready.installation.store.read() as connection:
        decider.refresh(connection)
        columns = tables.certificates.c
        ids = connection.execute(select(columns.id).where(columns.kind == "short-lived")).scalars().all()
    known = [decider.find_certificate_by_id(certificate_id) for certificate_id in ids]
    assert len(loaded) == len(known) == 2
    assert known[0] is not None and known[1] is not None and known[0].methods is known[1].methods


def test_a_certificate_nobody_signed_in_for_has_no_methods(ready: Ready) -> None:
    found = ready.installation.find_certificate(ready.installation.issue_user(ready.user_id))
    assert (found.methods, found.signed_in_at) == ((), None)


@pytest.mark.parametrize("with_app", [False, True])
def test_who_does_not_know_the_password_does_not_learn_who_has_an_app(ready: Ready, with_app: bool) -> None:
    code = ""
    if with_app:
        code = App(ready.installation).show()
    for given in ("", "000000", code):
        row = ready.refuse(ready.ask(password="a guess", code=given))
        assert (row.reason, row.detail) == (Reason.SIGN_IN_FAILED.value, "user name or password is wrong")
        assert read_methods(row) == []


def test_a_code_tried_with_a_wrong_password_is_not_used_up(ready: Ready, app: App) -> None:
    ready.refuse(ready.ask(password="a guess", code=app.show()))
    ready.issue(ready.ask(code=app.show()))


def test_without_proof_of_the_device_no_code_is_asked_for(ready: Ready, app: App) -> None:
    row = ready.refuse(ready.ask(device_signature=b"noise", code=app.show()))
    assert row.reason == Reason.DEVICE_PROOF_FAILED.value
    ready.issue(ready.ask(code=app.show()))


def test_a_code_is_good_once_and_an_older_one_not_after_it(ready: Ready, app: App) -> None:
    codes = [app.show(steps=steps) for steps in (-1, 0, 1)]
    ready.issue(ready.ask(code=codes[1]))
    for used in codes[:2]:
        row = ready.refuse(ready.ask(code=used))
        assert (row.reason, read_methods(row)) == (Reason.CODE_WRONG.value, ["password"])
        assert "was used before" in row.detail
    ready.issue(ready.ask(code=codes[2]))
    ready.refuse(ready.ask(code=codes[2]))


def test_a_used_code_stays_used_for_another_process(ready: Ready, app: App) -> None:
    ready.issue(ready.ask(code=app.show()))
    store = Store(ready.installation.store.url)
    restarted = replace(ready, installation=replace(ready.installation, store=store, decider=Decider()))
    restarted.refuse(restarted.ask(code=app.show()))
    store.close()


def test_the_code_of_the_confirmation_is_used(ready: Ready) -> None:
    app = App(ready.installation, confirm=False)
    code = app.show()
    app.confirm(code)
    ready.refuse(ready.ask(code=code))


def test_a_code_is_used_up_although_a_policy_refuses(ready: Ready, app: App) -> None:
    ready.installation.do(import_access_policies, make_document("block", name="block"))
    row = ready.refuse(ready.ask(code=app.show()))
    assert (row.reason, read_methods(row)) == (Reason.BLOCKED_BY_ACCESS_POLICY.value, ["password", "totp"])
    assert "was used before" in ready.refuse(ready.ask(code=app.show())).detail


@pytest.mark.parametrize("steps", [-2, 2])
def test_a_code_from_outside_the_window_is_wrong(ready: Ready, app: App, steps: int) -> None:
    assert ready.refuse(ready.ask(code=app.show(steps=steps))).detail == "the password is right, the code is wrong"


@pytest.mark.parametrize("tries", [["code"] * 5, ["code", "password", "code", "password", "code"]])
def test_wrong_codes_lock_out_as_wrong_passwords_do(ready: Ready, app: App, tries: list[str]) -> None:
    for what in tries:
        wrong = {"password": "a guess"} if what == "password" else {"code": app.guess()}
        reason = Reason.SIGN_IN_FAILED if what == "password" else Reason.CODE_WRONG
        assert ready.refuse(ready.ask(**wrong)).reason == reason.value
    assert ready.refuse(ready.ask(code=app.show())).reason == Reason.TOO_MANY_SIGN_INS.value
    ready.installation.clock.forward(minutes=5, seconds=1)
    ready.issue(ready.ask(code=app.show()))


def test_being_asked_for_a_code_is_no_failure(ready: Ready, app: App) -> None:
    for _ in range(6):
        ask_for_code(ready)
    ready.issue(ready.ask(code=app.show()))


def test_an_app_counts_from_its_first_right_code_on(ready: Ready) -> None:
    app = App(ready.installation, confirm=False)
    ready.issue()
    with pytest.raises(InvalidInputError, match="the code is wrong"):
        app.confirm(app.guess())
    ready.issue()
    app.confirm()
    ask_for_code(ready)


def test_a_code_that_is_not_asked_for_counts_for_nothing(ready: Ready) -> None:
    app = App(ready.installation, confirm=False)
    ready.issue(ready.ask(code=app.show()))
    assert read_methods(ready.find_attempt()) == ["password"]


def test_one_that_was_not_confirmed_is_forgotten_for_a_new_one(ready: Ready) -> None:
    lost, app = App(ready.installation, confirm=False), App(ready.installation, confirm=False)
    with pytest.raises(InvalidInputError, match="the code is wrong"):
        lost.confirm()
    app.confirm()


def test_one_that_counts_is_not_replaced_but_removed(ready: Ready, app: App) -> None:
    do = ready.installation.do
    with pytest.raises(AlreadyExistsError, match="totp remove"):
        App(ready.installation)
    with pytest.raises(AlreadyExistsError, match="confirmed already"):
        app.confirm()
    do(remove_totp, ALICE)
    ready.issue()
    with pytest.raises(NotFoundError, match="has no authenticator app"):
        do(remove_totp, ALICE)
    with pytest.raises(NotFoundError, match="has no authenticator app"):
        app.confirm()


def test_a_user_without_a_password_here_gets_none(installation: Installation) -> None:
    installation.add_user()
    with pytest.raises(InvalidInputError, match="has no password here"):
        installation.do(add_totp, ALICE, seal=installation.seal_sign_in)


@pytest.mark.parametrize("action", [add_totp, confirm_totp, remove_totp])
def test_a_user_nobody_knows_is_told(installation: Installation, action: Any) -> None:
    more: dict[Any, Any] = {
        add_totp: {"seal": installation.seal_sign_in},
        confirm_totp: {"unseal": installation.unseal_sign_in, "code": "123456"},
        remove_totp: {},
    }
    with pytest.raises(NotFoundError, match="there is no user"):
        action(installation.store, name="bob", actor=ADMIN, now=installation.now, **more[action])


def test_a_new_password_leaves_the_app_as_it_is(ready: Ready, app: App) -> None:
    ready.installation.do(change_user, ALICE, password="another password")
    assert ready.refuse().reason == Reason.SIGN_IN_FAILED.value
    ask_for_code(ready, password="another password")
    ready.issue(ready.ask(password="another password", code=app.show()))


def test_a_removed_user_takes_the_app_along(ready: Ready, app: App) -> None:
    ready.installation.do(remove_subject, SubjectKind.USER, ALICE)
    ready.installation.add_user(password=PASSWORD)
    with ready.installation.store.read() as connection:
        assert connection.execute(select(tables.totp)).all() == []


def test_a_secret_that_does_not_open_lets_nobody_in(ready: Ready, app: App) -> None:
    (key,) = ready.installation.keystore._folder.glob("secrets.key")
    key.write_bytes(b"x" * 32)
    with pytest.raises(UnavailableError, match="does not open"):
        ready.issue(ready.ask(code=app.show()))


def test_a_secret_copied_to_another_user_does_not_open(ready: Ready, app: App) -> None:
    user_id = ready.installation.add_user("bob@corp.example", password=PASSWORD)
    with ready.installation.store.write(ready.installation.now) as tx:
        tx.connection.execute(tables.totp.update().values(user_id=user_id))
    with pytest.raises(UnavailableError, match="does not open"):
        ready.issue(ready.ask(user_name="bob@corp.example", code=app.show()))


def test_the_audit_says_who_did_what_and_holds_no_secret(ready: Ready, app: App) -> None:
    ready.installation.do(remove_totp, ALICE)
    with ready.installation.store.read() as connection:
        audit = connection.execute(select(tables.audit).where(tables.audit.c.name.like("user:totp-%"))).all()
    assert sorted((row.name, row.actor, row.subject, row.details) for row in audit) == [
        ("user:totp-add", ADMIN, ALICE, "{}"),
        ("user:totp-confirm", ADMIN, ALICE, "{}"),
        ("user:totp-remove", ADMIN, ALICE, "{}"),
    ]


def test_guesses_are_counted_against_the_user_over_all_devices(ready: Ready, app: App) -> None:
    """Whoever has the password and several devices has five guesses, not five on each."""
    devices = [ready, *(add_device(ready, f"laptop{number}.corp.example") for number in (2, 3))]
    for number in range(5):
        device = devices[number % 3]
        assert device.refuse(device.ask(code=app.guess())).reason == Reason.CODE_WRONG.value
    for device in devices:
        row = device.refuse(device.ask(code=app.show()))
        assert (row.reason, "of this user" in row.detail) == (Reason.TOO_MANY_SIGN_INS.value, True)
        assert read_methods(row) == ["password"]
    ready.installation.clock.forward(minutes=5, seconds=1)
    ready.issue(ready.ask(code=app.show()))


def test_without_password_or_device_key_nobody_uses_up_a_users_guesses(ready: Ready, app: App) -> None:
    other = add_device(ready, "laptop2.corp.example")
    for _ in range(6):
        other.refuse(other.ask(password="a guess", code=app.guess()))
        ready.refuse(ready.ask(device_signature=b"noise", code=app.guess()))
    ready.issue(ready.ask(code=app.show()))


def add_device(ready: Ready, name: str) -> Ready:
    """Another device of Alice's, which proves a key of its own."""
    installation, key = ready.installation, make_key("p256", name)
    device_id = installation.add_device(name)
    issued = installation.issue(CertificateKind.DEVICE, name, key=key, device_id=device_id)
    installation.do(assign_device, name, ALICE)
    installation.do(report_device, name, "compliant", value=True, source="administrator")
    return replace(
        ready,
        device_id=device_id,
        device_certificate_id=issued.id,
        device_certificate_der=issued.certificate_der,
        device_key=key,
    )
