"""The responder's key and certificate: in memory, renewed in time, and kept while good when renewing fails."""

import pytest
from cryptography import x509
from sqlalchemy import func, select

from evertunnel.errors import UnavailableError
from evertunnel.model import Authority
from evertunnel.storage import tables
from evertunnel.web.ocsp_signer import OCSPSigner
from tests.installation import Installation


class Signer:
    """Ours, when it is not away."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.away = False

    def sign(self, certificate_id: str) -> bytes:
        """Sign, or be away."""
        if self.away:
            raise UnavailableError("the signer cannot be reached")
        return self._installation.signer.sign(certificate_id)


def make(installation: Installation, authority: Authority = Authority.ISSUING) -> tuple[OCSPSigner, Signer]:
    signer = Signer(installation)
    return OCSPSigner(installation.store, signer, authority, "Evertunnel OCSP", installation.clock), signer


def count(installation: Installation) -> int:
    statement = select(func.count()).select_from(tables.certificates).where(tables.certificates.c.kind == "ocsp-signer")
    with installation.store.read() as connection:
        return connection.execute(statement).scalar_one()


def test_nothing_is_asked_for_before_it_is_needed(installation: Installation) -> None:
    make(installation)
    assert count(installation) == 0


def test_one_certificate_serves_three_days_and_is_renewed_then(installation: Installation) -> None:
    signer, _ = make(installation)
    first = signer.responder()
    installation.clock.forward(days=2, hours=23)
    assert signer.responder() is first
    installation.clock.forward(hours=1)
    assert signer.responder() is not first
    assert count(installation) == 2


@pytest.mark.parametrize("authority", [Authority.ISSUING, Authority.DEVICE])
def test_it_is_issued_by_the_authority_it_answers_for(installation: Installation, authority: Authority) -> None:
    make(installation, authority)[0].responder()
    with installation.store.read() as connection:
        row = connection.execute(select(tables.certificates).where(tables.certificates.c.kind == "ocsp-signer")).one()
    certificate = x509.load_der_x509_certificate(row.certificate_der)
    assert row.authority == authority.value
    assert certificate.subject.rfc4514_string() == "CN=Evertunnel OCSP"


def test_without_a_signer_there_is_no_first_one(installation: Installation) -> None:
    ocsp, signer = make(installation)
    signer.away = True
    with pytest.raises(UnavailableError):
        ocsp.responder()
    signer.away = False
    assert ocsp.responder() is not None


def test_a_good_one_is_kept_while_the_signer_is_away_and_renewed_when_it_is_back(installation: Installation) -> None:
    ocsp, signer = make(installation)
    first = ocsp.responder()
    signer.away = True
    installation.clock.forward(days=4)
    assert ocsp.responder() is first
    signer.away = False
    installation.clock.forward(seconds=59)
    assert ocsp.responder() is first  # not asked for at every question
    installation.clock.forward(seconds=1)
    assert ocsp.responder() is not first


def test_no_answer_outlives_the_certificate_of_its_signer(installation: Installation) -> None:
    ocsp, signer = make(installation)
    ocsp.responder()
    signer.away = True
    installation.clock.forward(days=6, hours=21)
    ocsp.responder()
    installation.clock.forward(hours=1)
    with pytest.raises(UnavailableError):
        ocsp.responder()
