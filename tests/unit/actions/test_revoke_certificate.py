"""Revoking one certificate: for good, with a reason RFC 5280 knows."""

import pytest

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import CertificateStatus, Reason
from tests.installation import Installation


def test_a_revoked_certificate_is_refused_and_another_of_the_same_user_is_not(installation: Installation) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    user_id = installation.add_user()
    first, second = installation.issue_user(user_id), installation.issue_user(user_id)
    installation.do(revoke_certificate, first, reason="key compromise")
    assert installation.decide(first).reason is Reason.CERTIFICATE_REVOKED
    assert installation.decide(second).granted


@pytest.mark.parametrize("reason", ["", "certificate hold", "keyCompromise", "stolen"])
def test_a_reason_that_is_none_is_refused_with_those_that_are(installation: Installation, reason: str) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    with pytest.raises(InvalidInputError, match="known are unspecified, key compromise"):
        installation.do(revoke_certificate, certificate_id, reason=reason)
    assert installation.find_certificate(certificate_id).status is CertificateStatus.VALID


def test_revoking_twice_is_told(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    installation.do(revoke_certificate, certificate_id, reason="superseded")
    with pytest.raises(InvalidInputError, match="is revoked already, since 2026-05-04 12:00:00 UTC"):
        installation.do(revoke_certificate, certificate_id, reason="superseded")


def test_a_certificate_nobody_has_is_told(installation: Installation) -> None:
    with pytest.raises(NotFoundError):
        installation.do(revoke_certificate, "nothing", reason="superseded")
