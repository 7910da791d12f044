"""A new installation: its authorities, and the certificates its own servers may have."""

from cryptography import x509
from sqlalchemy import select

from evertunnel.model import Authority
from evertunnel.storage import authorities, tables
from tests.installation import Installation


def test_the_authorities_hold_together(installation: Installation) -> None:
    with installation.store.read() as connection:
        known = authorities.load_authorities(connection)
    for authority in (Authority.ISSUING, Authority.ACCESS):
        known[authority].verify_directly_issued_by(known[Authority.ROOT])
    known[Authority.DEVICE].verify_directly_issued_by(known[Authority.DEVICE])
    assert len({certificate.serial_number for certificate in known.values()}) == 4


def test_its_servers_are_granted_certificates_for_their_own_keys_and_public_name(installation: Installation) -> None:
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.certificates)).all()
    assert {row.kind for row in rows} == {"policy-server"}
    assert len({bytes(row.public_key_der) for row in rows}) == 2
    for row in rows:
        certificate = x509.load_der_x509_certificate(installation.signer.sign(row.id))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.DNSName("vpn.example.test")]


def test_its_making_is_the_first_record(installation: Installation) -> None:
    with installation.store.read() as connection:
        rows = connection.execute(select(tables.audit).where(tables.audit.c.batch == 1)).all()
    assert sorted(row.name for row in rows) == ["certificate:grant", "certificate:grant", "installation:create"]
