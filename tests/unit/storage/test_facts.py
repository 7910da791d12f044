"""Facts in the database: the last word of each source, old ones included."""

from datetime import timedelta

from evertunnel.model import Fact, SubjectKind
from evertunnel.storage.facts import list_facts, store_fact
from tests.installation import BEGINNING, Installation


def test_a_source_replaces_its_own_word_and_no_other_sources(installation: Installation) -> None:
    later = BEGINNING + timedelta(hours=1)
    with installation.store.write(installation.now) as tx:
        store_fact(tx, SubjectKind.DEVICE, "d1", Fact("compliant", "true", "intune", BEGINNING, later))
        store_fact(tx, SubjectKind.DEVICE, "d1", Fact("compliant", "true", "scanner", BEGINNING))
        store_fact(tx, SubjectKind.DEVICE, "d1", Fact("compliant", "false", "intune", later))
        store_fact(tx, SubjectKind.DEVICE, "d2", Fact("compliant", "false", "scanner", BEGINNING))
        store_fact(tx, SubjectKind.USER, "d1", Fact("compliant", "false", "scanner", BEGINNING))
        assert list_facts(tx.connection, SubjectKind.DEVICE, "d1") == [
            Fact("compliant", "false", "intune", later),
            Fact("compliant", "true", "scanner", BEGINNING),
        ]


def test_nothing_is_known_of_nobody(installation: Installation) -> None:
    with installation.store.read() as connection:
        assert list_facts(connection, SubjectKind.DEVICE, "d1") == []
