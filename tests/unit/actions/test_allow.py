"""Allow: what a denial took is given back, unless another denial still holds it."""

from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.allow import allow
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.issue_certificate import Wanted, grant_certificate
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.effects import EffectKind, EffectSubject
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import CertificateKind, CertificateStatus, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, sessions, tables
from tests.installation import ADMIN, ALICE, LAPTOP, Installation
from tests.unit.pki.samples import make_grant

USER, DEVICE = (SubjectKind.USER, ALICE), (SubjectKind.DEVICE, LAPTOP)


@pytest.fixture
def shared(installation: Installation) -> tuple[Installation, str]:
    """Everything is granted; a certificate of Alice on her laptop, which either's denial holds."""
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    user_id, device_id = installation.add_user(), installation.add_device()
    return installation, installation.issue_user(user_id, device_id=device_id)


def test_a_user_who_is_allowed_again_gets_in_again(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    installation.do(deny, *USER, reason="test")
    assert not installation.decide(certificate_id).granted
    installation.do(allow, *USER)
    assert installation.decide(certificate_id).granted
    assert installation.find_certificate(certificate_id).status is CertificateStatus.VALID


@pytest.mark.parametrize("order", [(USER, DEVICE), (DEVICE, USER)])
@pytest.mark.parametrize("back", [(USER, DEVICE), (DEVICE, USER)])
def test_a_certificate_two_denials_hold_is_released_by_the_second_allow(
    shared: tuple[Installation, str],
    order: tuple[tuple[SubjectKind, str], ...],
    back: tuple[tuple[SubjectKind, str], ...],
) -> None:
    installation, certificate_id = shared
    for subject in order:
        installation.do(deny, *subject, reason="test")
    installation.do(allow, *back[0])
    assert installation.find_certificate(certificate_id).status is CertificateStatus.ON_HOLD
    assert not installation.decide(certificate_id).granted
    installation.do(allow, *back[1])
    assert installation.find_certificate(certificate_id).status is CertificateStatus.VALID
    assert installation.decide(certificate_id).granted


def test_a_revoked_certificate_stays_revoked(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    installation.do(deny, *USER, reason="test", revoke=True)
    installation.do(allow, *USER)
    assert installation.find_certificate(certificate_id).status is CertificateStatus.REVOKED


def test_a_certificate_revoked_while_on_hold_stays_revoked(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    installation.do(deny, *USER, reason="test")
    installation.do(revoke_certificate, certificate_id, reason="key compromise")
    installation.do(allow, *USER)
    assert installation.find_certificate(certificate_id).status is CertificateStatus.REVOKED


def test_all_denials_of_a_subject_are_lifted_at_once(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    installation.do(deny, *DEVICE, reason="first")
    installation.do(deny, *DEVICE, reason="second", revoke=True)
    installation.do(allow, *DEVICE)
    with pytest.raises(NotFoundError):
        installation.do(allow, *DEVICE)
    assert installation.decide(certificate_id).reason.value == "certificate_revoked"


def test_a_grant_that_was_never_signed_is_not_signed_after_all(installation: Installation) -> None:
    user_id = installation.add_user()
    wanted = Wanted(CertificateKind.USER, ALICE, make_grant(CertificateKind.USER).public_key_der, user_id=user_id)
    with installation.store.write(installation.now) as tx:
        certificate_id = grant_certificate(tx, wanted, actor=ADMIN)
    installation.do(deny, *USER, reason="test")
    with pytest.raises(InvalidInputError, match="is on hold, not granted"):
        installation.signer.sign(certificate_id)
    installation.do(allow, *USER)
    with pytest.raises(InvalidInputError, match="is revoked, not granted"):
        installation.signer.sign(certificate_id)


def test_what_was_still_to_be_cut_is_dropped_and_gateways_forget(shared: tuple[Installation, str]) -> None:
    installation, _ = shared
    gateway_id = installation.add_gateway()
    denial_id = installation.do(deny, *USER, reason="test")
    installation.do(allow, *USER)
    with installation.store.read() as connection:
        [cut] = effect_queue.list_of_denial(connection, denial_id)
        pending = effect_queue.list_pending(connection, gateway_id)
    assert (cut.state, cut.last_error) == ("dropped", "allowed again")
    assert [effect.kind.value for effect in pending] == ["flush"]


def add_session(installation: Installation, state: SessionState, **columns: Any) -> None:
    made = Session("s1", TunnelKind.USER, state, installation.add_gateway(), 7, installation.now, spis="a:b", **columns)
    with installation.store.write(installation.now) as tx:
        sessions.insert_sessions(tx, [made])


def find_session(installation: Installation) -> tuple[str, str]:
    with installation.store.read() as connection:
        row = connection.execute(select(tables.sessions)).one()
    return row.state, row.end_reason


@pytest.mark.parametrize("state", [SessionState.UP, SessionState.PENDING])
def test_a_tunnel_that_was_not_cut_yet_stays(shared: tuple[Installation, str], state: SessionState) -> None:
    installation, certificate_id = shared
    add_session(installation, state, user_id=installation.find_certificate(certificate_id).user_id)
    installation.do(deny, *USER, reason="test")
    assert find_session(installation) == ("ending", "denied: test")
    installation.do(allow, *USER)
    assert find_session(installation) == (state.value, "")


def test_a_tunnel_that_another_denial_ends_goes_all_the_same(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    certificate = installation.find_certificate(certificate_id)
    add_session(installation, SessionState.UP, user_id=certificate.user_id, device_id=certificate.device_id)
    installation.do(deny, *DEVICE, reason="stolen")
    installation.do(deny, *USER, reason="test")
    installation.do(allow, *USER)
    assert find_session(installation)[0] == "ending"
    installation.do(allow, *DEVICE)
    assert find_session(installation)[0] == "up"


def test_a_tunnel_that_lost_what_entitled_it_goes_all_the_same(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    add_session(installation, SessionState.UP, user_id=installation.find_certificate(certificate_id).user_id)
    with installation.store.write(installation.now) as tx:
        sessions.mark_ending(tx, ["s1"], "device_not_compliant")
        effect_queue.queue_effect(tx, EffectKind.CUT, ["g1"], EffectSubject.SESSION, "s1", cause="not compliant")
    installation.do(deny, *USER, reason="test")
    installation.do(allow, *USER)
    assert find_session(installation)[0] == "ending"


def test_who_is_not_denied_cannot_be_allowed(shared: tuple[Installation, str]) -> None:
    installation, _ = shared
    with pytest.raises(NotFoundError, match=r"alice@corp\.example is not denied"):
        installation.do(allow, *USER)


def test_a_group_cannot_be_allowed(installation: Installation) -> None:
    installation.add_group("staff")
    with pytest.raises(InvalidInputError, match="cannot be denied"):
        installation.do(allow, SubjectKind.GROUP, "staff")


def test_the_audit_says_who_allowed_whom(shared: tuple[Installation, str]) -> None:
    installation, _ = shared
    installation.do(deny, *DEVICE, reason="test")
    installation.do(allow, *DEVICE)
    with installation.store.read() as connection:
        row = connection.execute(select(tables.audit).where(tables.audit.c.name == "device:allow")).one()
    assert (row.actor, row.subject) == ("ann", LAPTOP)
    assert row.details == '{"cause":"allowed again","certificates":1}'


def test_denying_and_allowing_again_and_again_ends_where_it_began(shared: tuple[Installation, str]) -> None:
    installation, certificate_id = shared
    for _ in range(3):
        installation.do(deny, *USER, reason="test")
        assert not installation.decide(certificate_id).granted
        installation.do(allow, *USER)
        assert installation.decide(certificate_id).granted
