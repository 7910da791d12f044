"""Certificates in the database: found by id or serial, signed once, and on lists as long as anybody may ask."""

from datetime import timedelta

import pytest
from cryptography import x509

from evertunnel.errors import NotFoundError
from evertunnel.model import Authority, CertificateKind, CertificateStatus
from evertunnel.pki.keys import encode_public_key, generate_key
from evertunnel.storage import authorities, certificates
from tests.installation import Installation


def find_status(installation: Installation, certificate_id: str) -> str:
    with installation.store.read() as connection:
        row = certificates.find_certificate(connection, certificate_id)
    assert row is not None
    return str(row.status)


def change(installation: Installation, certificate_id: str, status: CertificateStatus) -> None:
    with installation.store.write(installation.now) as tx:
        certificates.change_status(tx, [certificate_id], status, reason="superseded")


def test_a_certificate_is_found_by_id_and_by_serial_as_tools_print_it(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    with installation.store.read() as connection:
        row = certificates.get_certificate(connection, certificate_id)
        serial = row.serial.upper().rjust(40, "0")
        colons = ":".join(serial[place : place + 2] for place in range(0, 40, 2))
        for text in (row.serial, row.serial.upper(), serial, colons):
            assert certificates.get_certificate(connection, text).id == certificate_id


@pytest.mark.parametrize("text", ["", "0", "0000", ":", "%", "zz"])
def test_nothing_else_finds_a_certificate(installation: Installation, text: str) -> None:
    installation.issue_user(installation.add_user())
    with installation.store.read() as connection, pytest.raises(NotFoundError, match="there is no certificate"):
        certificates.get_certificate(connection, text)


def test_a_serial_belongs_to_one_authority(installation: Installation) -> None:
    issued = installation.issue(CertificateKind.USER, "alice@corp.example")
    serial = x509.load_der_x509_certificate(issued.certificate_der).serial_number
    with installation.store.read() as connection:
        found = certificates.find_by_serial(connection, Authority.ISSUING, serial)
        assert found is not None and found.id == issued.id
        assert certificates.find_by_serial(connection, Authority.DEVICE, serial) is None


def test_a_grant_that_was_taken_back_does_not_become_valid_by_signing(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    change(installation, certificate_id, CertificateStatus.REVOKED)
    with installation.store.write(installation.now) as tx:
        certificates.store_signed(tx, certificate_id, b"other")
    assert find_status(installation, certificate_id) == "revoked"


def test_a_change_of_status_counts_for_the_lists_of_its_authority_only(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    with installation.store.read() as connection:
        before = authorities.list_revocation_counts(connection)
    change(installation, certificate_id, CertificateStatus.ON_HOLD)
    with installation.store.read() as connection:
        after = authorities.list_revocation_counts(connection)
    assert {name for name in after if after[name] != before[name]} == {Authority.ISSUING}


def test_no_certificates_to_change_changes_no_list(installation: Installation) -> None:
    with installation.store.write(installation.now) as tx:
        before = authorities.list_revocation_counts(tx.connection)
        certificates.change_status(tx, [], CertificateStatus.REVOKED, reason="superseded")
        assert authorities.list_revocation_counts(tx.connection) == before


def test_any_number_can_be_changed_at_once(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    others = [f"{number:016x}" for number in range(70_000)]  # more than PostgreSQL takes in a statement
    with installation.store.write(installation.now) as tx:
        certificates.change_status(tx, [*others, certificate_id], CertificateStatus.ON_HOLD, reason="superseded")
    assert find_status(installation, certificate_id) == "on hold"


def test_held_and_revoked_are_listed_until_a_day_after_their_end(installation: Installation) -> None:
    ids = [
        installation.issue_user(installation.add_user(f"u{number}@x.y"), name=f"u{number}@x.y") for number in range(3)
    ]
    change(installation, ids[0], CertificateStatus.ON_HOLD)
    change(installation, ids[1], CertificateStatus.REVOKED)
    end = installation.now + timedelta(days=365)

    def count(moment_after_end: timedelta) -> int:
        with installation.store.read() as connection:
            return len(certificates.list_revoked(connection, Authority.ISSUING, end + moment_after_end))

    assert [count(timedelta(days=days)) for days in (-300, 0, 0.99, 1, 30)] == [2, 2, 2, 0, 0]
    with installation.store.read() as connection:
        assert certificates.list_revoked(connection, Authority.DEVICE, installation.now) == []


def test_released_certificates_are_on_no_list_and_have_no_reason(installation: Installation) -> None:
    certificate_id = installation.issue_user(installation.add_user())
    change(installation, certificate_id, CertificateStatus.ON_HOLD)
    with installation.store.write(installation.now) as tx:
        certificates.change_status(tx, [certificate_id], CertificateStatus.VALID, reason=None)
        row = certificates.get_certificate(tx.connection, certificate_id)
        assert (row.revoked_at, row.revocation_reason) == (None, None)
        assert certificates.list_revoked(tx.connection, Authority.ISSUING, installation.now) == []


def test_the_newest_valid_certificate_of_a_key_is_found(installation: Installation) -> None:
    key = generate_key()
    public_key_der = encode_public_key(key.public_key())
    first = installation.issue(CertificateKind.USER, "alice@corp.example", key=key)
    installation.clock.forward(days=1)
    second = installation.issue(CertificateKind.USER, "alice@corp.example", key=key)

    def find() -> str | None:
        with installation.store.read() as connection:
            row = certificates.find_valid_for_key(connection, public_key_der)
        return row.id if row else None

    assert find() == second.id
    change(installation, second.id, CertificateStatus.REVOKED)
    assert find() == first.id
    change(installation, first.id, CertificateStatus.ON_HOLD)
    assert find() is None


def test_only_signed_certificates_of_a_kind_within_the_time_are_counted(installation: Installation) -> None:
    began = installation.now
    installation.issue_user(installation.add_user())
    installation.issue_device(installation.add_device())
    installation.clock.forward(minutes=30)
    installation.issue_user(installation.add_user("bob@corp.example"), name="bob@corp.example")
    with installation.store.read() as connection:
        counted = [
            certificates.count_signed_since(connection, CertificateKind.USER, began + timedelta(minutes=minutes))
            for minutes in (-1, 0, 29, 31)
        ]
    assert counted == [2, 1, 1, 0]
