"""The certificates of our own TLS servers: renewed in time by their own process, refused after their end."""

import pytest
from cryptography import x509
from sqlalchemy import select

from evertunnel.actions.issue_certificate import Wanted, issue_certificate
from evertunnel.actions.renew_server_certificate import load_server_chain, renew_server_certificate
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.errors import UnavailableError
from evertunnel.model import CertificateKind
from evertunnel.pki.keys import encode_public_key
from evertunnel.server_certificate import ServerCertificate
from evertunnel.signer import LocalSigner
from evertunnel.signer_socket import ALLOWED, RENEWED
from evertunnel.storage import tables
from tests.installation import ADMIN, Installation
from tests.unit.pki.samples import make_key

KEY = make_key()
PUBLIC_KEY = encode_public_key(KEY.public_key())
NAME = "vpn.example.test"


class AsProcess:
    """The signer as a process sees it; it can be away."""

    def __init__(self, signer: LocalSigner, process: str = "radius") -> None:
        self._signer = signer
        self._process = process
        self.away = False

    def sign(self, certificate_id: str) -> bytes:
        """Sign, or be away."""
        if self.away:
            raise UnavailableError("the signer cannot be reached")
        allowed = ALLOWED.get(self._process, frozenset())
        return self._signer.sign_for(certificate_id, allowed, renewed=RENEWED[self._process])


@pytest.fixture
def served(installation: Installation) -> Installation:
    """An installation whose policy server has a certificate of a year."""
    wanted = Wanted(CertificateKind.POLICY_SERVER, NAME, PUBLIC_KEY, dns_names=(NAME,))
    issue_certificate(installation.store, installation.signer, wanted, actor=ADMIN, now=installation.now)
    return installation


def count_rows(installation: Installation) -> int:
    statement = select(tables.certificates.c.id).where(tables.certificates.c.public_key_der == PUBLIC_KEY)
    with installation.store.read() as connection:
        return len(connection.execute(statement).all())


def make(installation: Installation, process: str = "radius") -> tuple[ServerCertificate, AsProcess]:
    signer = AsProcess(installation.signer, process)
    return ServerCertificate(installation.store, signer, KEY, name=process, clock=installation.clock), signer


@pytest.mark.parametrize("process", ["radius", "web-public"])
@pytest.mark.parametrize(("days", "renewed"), [(0, False), (334, False), (335, True), (364, True), (500, True)])
def test_it_is_renewed_thirty_days_before_its_end_and_even_after(
    served: Installation, process: str, days: int, renewed: bool
) -> None:
    certificate, _ = make(served, process)
    first = certificate.load()[0]
    served.clock.forward(days=days)
    again = certificate.renew()
    assert (again is not None) is renewed
    chain = certificate.load()
    assert (chain[0] != first) is renewed
    assert chain[0].not_valid_after_utc > served.now
    assert chain[0].public_key() == KEY.public_key()
    assert chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value == (
        first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    chain[0].verify_directly_issued_by(chain[1])
    assert count_rows(served) == 1 + renewed


def test_while_the_signer_is_away_the_old_one_is_used_to_its_end_and_then_refused(served: Installation) -> None:
    certificate, signer = make(served)
    first = certificate.load()
    signer.away = True
    served.clock.forward(days=364)
    assert certificate.load() == first
    served.clock.forward(days=1)
    with pytest.raises(UnavailableError, match=r"ended at 2027-05-04 12:00:00 UTC.*set the clock.*signer"):
        certificate.load()
    assert certificate.renew() is None
    signer.away = False
    assert certificate.load() != first


def test_a_signer_that_is_away_does_not_fill_the_database(served: Installation) -> None:
    certificate, signer = make(served)
    served.clock.forward(days=350)
    signer.away = True
    for _ in range(100):
        served.clock.forward(seconds=0.4)
        assert certificate.renew() is None
    assert count_rows(served) == 2
    signer.away = False
    assert certificate.renew() is not None
    assert count_rows(served) == 2


def test_a_revoked_one_is_not_renewed(served: Installation) -> None:
    with served.store.read() as connection:
        statement = select(tables.certificates.c.id).where(tables.certificates.c.public_key_der == PUBLIC_KEY)
        certificate_id = connection.execute(statement).scalar_one()
    served.do(revoke_certificate, certificate_id, reason="key compromise")
    served.clock.forward(days=350)
    with pytest.raises(UnavailableError, match="it is revoked"):
        renew_server_certificate(served.store, AsProcess(served.signer), PUBLIC_KEY, actor="radius", now=served.now)
    with pytest.raises(UnavailableError, match="it is revoked"):
        load_server_chain(served.store, PUBLIC_KEY, now=served.now)


def test_the_chain_ends_below_the_root(served: Installation) -> None:
    chain = make(served)[0].load()
    assert [certificate.subject.rfc4514_string() for certificate in chain[1:]] == ["CN=Example Issuing CA 1"]


def test_of_two_processes_with_one_key_one_renews_and_both_use_it(served: Installation) -> None:
    one, other = make(served)[0], make(served)[0]
    first = one.load()[0]
    assert other.load()[0] == first
    assert other.find_newer() is None
    served.clock.forward(days=350)
    renewed = one.find_newer()
    assert renewed is not None
    assert renewed[0] != first
    assert count_rows(served) == 2
    assert other.find_newer() == renewed
    assert count_rows(served) == 2
