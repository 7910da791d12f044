"""Denials in the database: standing, ended, lifted."""

from datetime import timedelta

import pytest

from evertunnel.errors import NotFoundError
from evertunnel.model import SubjectKind
from evertunnel.storage import denials
from tests.installation import Installation


def deny(installation: Installation, *, minutes: int | None = None, subject_id: str = "u1") -> str:
    until = None if minutes is None else installation.now + timedelta(minutes=minutes)
    with installation.store.write(installation.now) as tx:
        return denials.insert_denial(tx, SubjectKind.USER, subject_id, reason="test", actor="ann", until=until)


@pytest.mark.parametrize(("minutes", "after", "stands"), [(None, 10**6, True), (5, 4.9, True), (5, 5, False)])
def test_a_denial_stands_until_its_end(
    installation: Installation, minutes: int | None, after: float, stands: bool
) -> None:
    deny(installation, minutes=minutes)
    moment = installation.clock.forward(minutes=after)
    with installation.store.read() as connection:
        assert (denials.find_standing(connection, "u1", moment) is not None) == stands
        assert bool(denials.list_standing(connection, moment)) == stands
        assert bool(denials.list_ended(connection, moment)) == (not stands)


def test_a_lifted_denial_neither_stands_nor_ends(installation: Installation) -> None:
    deny(installation, minutes=5)
    with installation.store.write(installation.now) as tx:
        assert denials.lift_denials(tx, "u1", actor="ann") == 1
        assert denials.lift_denials(tx, "u1", actor="ann") == 0
        assert denials.find_standing(tx.connection, "u1", installation.now) is None
        assert denials.list_ended(tx.connection, installation.now + timedelta(days=1)) == []


def test_lifting_one_leaves_the_others(installation: Installation) -> None:
    first, second = deny(installation, minutes=5), deny(installation)
    with installation.store.write(installation.now) as tx:
        denials.lift_denial(tx, first, actor="ann")
        standing = denials.list_standing(tx.connection, installation.now)
    assert [row.id for row in standing] == [second]


def test_lifting_again_does_not_change_who_lifted_it_first(installation: Installation) -> None:
    denial_id = deny(installation)
    with installation.store.write(installation.now) as tx:
        denials.lift_denial(tx, denial_id, actor="ann")
        denials.lift_denial(tx, denial_id, actor="bob")
        assert denials.get_denial(tx.connection, denial_id).lifted_by == "ann"


def test_a_denial_of_one_is_none_of_another(installation: Installation) -> None:
    deny(installation, subject_id="u2")
    with installation.store.read() as connection:
        assert denials.find_standing(connection, "u1", installation.now) is None


def test_an_unknown_denial_is_told(installation: Installation) -> None:
    with installation.store.read() as connection, pytest.raises(NotFoundError):
        denials.get_denial(connection, "nothing")
