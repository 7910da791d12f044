"""Authorities and their lists in the database."""

from datetime import timedelta

from evertunnel.model import Authority
from evertunnel.storage import authorities
from tests.installation import Installation


def test_all_authorities_are_kept_with_no_key_among_them(installation: Installation) -> None:
    with installation.store.read() as connection:
        known = authorities.load_authorities(connection)
        assert set(known) == set(Authority)
        columns = {column.name for column in authorities.tables.authorities.columns}
    assert columns == {"name", "certificate_der", "created_at", "revocations"}


def test_a_list_replaces_the_one_before(installation: Installation) -> None:
    now = installation.now
    with installation.store.write(now) as tx:
        assert authorities.find_revocation_list(tx.connection, Authority.ISSUING) is None
        for number in (1, 2):
            authorities.store_revocation_list(
                tx, Authority.ISSUING, number=number, revocations=number, this_update=now,
                next_update=now + timedelta(days=1), der=b"list",
            )  # fmt: skip
        row = authorities.find_revocation_list(tx.connection, Authority.ISSUING)
        assert row is not None and row.number == 2
        assert authorities.find_revocation_list(tx.connection, Authority.DEVICE) is None
