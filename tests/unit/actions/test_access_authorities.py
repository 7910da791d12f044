"""The life of an access authority: staged, active, retired, distrusted; on either kind of database."""

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import select

from evertunnel.actions.activate_access_authority import Activated, activate_access_authority
from evertunnel.actions.create_access_authority import create_access_authority
from evertunnel.actions.end_access_trust import end_access_trust
from evertunnel.actions.issue_certificate import Wanted, fetch_certificate, grant_certificate
from evertunnel.actions.retire_access_authority import Retired, retire_access_authority
from evertunnel.errors import InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import AccessAuthorityState, Authority, CertificateKind, Reason
from evertunnel.pki.keys import PublicKey, encode_public_key, find_key_type, generate_key
from evertunnel.storage import access_authorities, authorities, tables
from evertunnel.storage.access_authorities import AccessAuthority
from evertunnel.storage.snapshot import Snapshot, follow
from tests.installation import ADMIN, ALICE, Installation

STAGED, ACTIVE, RETIRED = AccessAuthorityState.STAGED, AccessAuthorityState.ACTIVE, AccessAuthorityState.RETIRED


@pytest.fixture
def installation(either_installation: Installation) -> Installation:
    return either_installation


def create(installation: Installation, *, days: int = 730, **options: Any) -> str:
    name: str = installation.do(create_access_authority, installation.maker, lifetime_days=days, **options)
    return name


def activate(installation: Installation, name: str) -> Activated:
    keys = installation.signer.list_keys()
    done: Activated = installation.do(activate_access_authority, name, keys_here=keys)
    return done


def retire(installation: Installation, name: str, *, distrust: bool = False) -> Retired:
    done: Retired = installation.do(retire_access_authority, name, distrust=distrust)
    return done


def load(installation: Installation, name: str) -> AccessAuthority:
    with installation.store.read() as connection:
        return access_authorities.get_access_authority(connection, name)


def find_states(installation: Installation) -> dict[str, tuple[AccessAuthorityState, bool]]:
    with installation.store.read() as connection:
        return {
            each.name: (each.state, each.trusted) for each in access_authorities.list_access_authorities(connection)
        }


def list_audit(installation: Installation) -> list[tuple[str, str, dict[str, Any]]]:
    with installation.store.read() as connection:
        rows = connection.execute(
            select(tables.audit)
            .where(tables.audit.c.name.startswith("access-authority:"))
            .order_by(tables.audit.c.batch)
        )
        return [(row.name, row.subject, json.loads(row.details)) for row in rows]


def issue(installation: Installation) -> tuple[str, x509.Certificate]:
    """A short-lived certificate of alice's, its id first."""
    with installation.store.read() as connection:
        known = connection.execute(select(tables.users.c.id)).scalars().all()
    if known:
        with installation.store.read() as connection:
            device_id = connection.execute(select(tables.devices.c.id)).scalars().one()
        owners = {"user_id": known[0], "device_id": device_id}
    else:
        owners = {"user_id": installation.add_user(), "device_id": installation.add_device()}
    issued = installation.issue(CertificateKind.SHORT_LIVED, ALICE, **owners)
    return issued.id, x509.load_der_x509_certificate(issued.certificate_der)


def find_issuer(certificate: x509.Certificate) -> str:
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert found is not None
    return found.hex()


def test_a_new_installation_has_one_that_signs(installation: Installation) -> None:
    assert find_states(installation) == {"access": (ACTIVE, True)}
    assert (
        load(installation, "access").certificate
        == load(installation, load(installation, "access").key_identifier).certificate
    )


def test_one_is_staged_then_signs_then_retires_then_is_trusted_no_more(installation: Installation) -> None:
    _, before = issue(installation)
    name = create(installation)
    assert name == "access-2"
    assert find_states(installation) == {"access": (ACTIVE, True), "access-2": (STAGED, True)}
    assert find_issuer(issue(installation)[1]) == load(installation, "access").key_identifier
    installation.clock.forward(minutes=10)
    _, last = issue(installation)
    done = activate(installation, name)
    assert done == Activated("access-2", "access", last.not_valid_after_utc)
    assert find_states(installation) == {"access": (RETIRED, True), "access-2": (ACTIVE, True)}
    _, after = issue(installation)
    assert find_issuer(after) == load(installation, "access-2").key_identifier != find_issuer(before)
    after.verify_directly_issued_by(load(installation, "access-2").certificate)
    installation.clock.forward(minutes=59, seconds=59)
    assert end_access_trust(installation.store, now=installation.now) == 0
    installation.clock.forward(seconds=1)
    assert end_access_trust(installation.store, now=installation.now) == 1
    assert find_states(installation) == {"access": (RETIRED, False), "access-2": (ACTIVE, True)}
    assert end_access_trust(installation.store, now=installation.now) == 0
    assert [(audited, subject) for audited, subject, _ in list_audit(installation)] == [
        ("access-authority:create", "access-2"),
        ("access-authority:activate", "access-2"),
        ("access-authority:end", "access"),
    ]


def test_it_is_of_the_chosen_length_and_below_the_root_with_a_name_and_key_of_its_own(
    installation: Installation,
) -> None:
    made = load(installation, create(installation, days=365)).certificate
    before = load(installation, "access").certificate
    assert made.not_valid_after_utc == installation.now + timedelta(days=365)
    assert made.subject.rfc4514_string() == "CN=Example Conditional Access CA 2"
    with installation.store.read() as connection:
        root = authorities.load_authorities(connection)[Authority.ROOT]
    made.verify_directly_issued_by(root)
    assert made.public_key() != before.public_key()
    assert [extension.oid for extension in made.extensions] == [extension.oid for extension in before.extensions]
    key, own = made.public_key(), before.public_key()
    assert isinstance(key, PublicKey) and isinstance(own, PublicKey)
    assert find_key_type(key) == find_key_type(own)


def test_two_of_the_same_subject_are_told_apart_by_their_keys(installation: Installation) -> None:
    subject = load(installation, "access").certificate.subject
    name = create(installation, common_name="Example Conditional Access CA 1")
    made = load(installation, name)
    assert made.certificate.subject == subject
    assert made.key_identifier != load(installation, "access").key_identifier
    for text in (made.name, made.key_identifier, made.key_identifier.upper()):
        assert load(installation, text).name == name
    activate(installation, name)
    assert find_issuer(issue(installation)[1]) == made.key_identifier


def test_what_is_wrong_with_a_new_one_is_told_and_leaves_nothing(installation: Installation) -> None:
    for options, words in (
        ({"days": 0}, "lasts from 1 to 3650 days, not 0"),
        ({"days": 3651}, "not 3651"),
        ({"common_name": " x"}, "is printable"),
        ({"common_name": "a\nb"}, "is printable"),
        ({"common_name": "x" * 65}, "at most 64 bytes"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            create(installation, **options)
    installation.clock.forward(days=19 * 365)
    with pytest.raises(InvalidInputError, match="the root, which signs it, ends before"):
        create(installation, days=3650)
    assert find_states(installation) == {"access": (ACTIVE, True)}
    assert list_audit(installation) == []


def test_without_the_roots_key_none_is_made_and_none_is_left_over(installation: Installation) -> None:
    root = installation.keys.pop(Authority.ROOT)  # type: ignore[attr-defined]
    with pytest.raises(UnavailableError, match="offline: bring it here first"):
        create(installation)
    with installation.store.read() as connection:
        assert access_authorities.find_next_generation(connection) == 2
    installation.keys[Authority.ROOT.value] = root  # type: ignore[index]
    assert create(installation) == "access-2"


def test_another_roots_key_makes_none(installation: Installation) -> None:
    installation.keys[Authority.ROOT.value] = generate_key()  # type: ignore[index]
    with pytest.raises(UnavailableError, match="is not that of the root's certificate"):
        create(installation)
    assert find_states(installation) == {"access": (ACTIVE, True)}
    assert "access-2" not in installation.keys


def test_no_more_than_eight_are_trusted(installation: Installation) -> None:
    for _ in range(7):
        create(installation)
    with pytest.raises(InvalidInputError, match="8 access authorities are trusted at once"):
        create(installation)
    retire(installation, "access-8")
    assert create(installation) == "access-9"


def test_a_wrong_step_is_refused_in_words(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match="there is no access authority 'access-2'"):
        activate(installation, "access-2")
    with pytest.raises(InvalidInputError, match="access is the active access authority already"):
        activate(installation, "access")
    for distrust in (False, True):
        with pytest.raises(
            InvalidInputError, match="access is the active access authority: activate another one first"
        ):
            retire(installation, "access", distrust=distrust)
    create(installation)
    activate(installation, "access-2")
    with pytest.raises(InvalidInputError, match="access is retired and signs no more"):
        activate(installation, "access")
    with pytest.raises(InvalidInputError, match="is retired already; --distrust refuses its certificates at once"):
        retire(installation, "access")
    retire(installation, "access", distrust=True)
    with pytest.raises(InvalidInputError, match="access is retired already and distrusted"):
        retire(installation, "access", distrust=True)
    with pytest.raises(InvalidInputError, match="access is retired and signs no more"):
        activate(installation, "access")


def test_one_without_its_key_or_near_its_end_is_not_activated(installation: Installation) -> None:
    create(installation, days=1)
    with pytest.raises(InvalidInputError, match="does not have the key of access-2"):
        installation.do(activate_access_authority, "access-2", keys_here=["access"])
    installation.clock.forward(hours=23, minutes=1)
    with pytest.raises(InvalidInputError, match=r"access-2 ends at .* UTC, before what it would sign"):
        activate(installation, "access-2")
    assert find_states(installation)["access"] == (ACTIVE, True)


def test_one_that_is_staged_can_be_given_up(installation: Installation) -> None:
    create(installation)
    assert retire(installation, "access-2") == Retired("access-2", installation.now, 0)
    assert find_states(installation)["access-2"] == (RETIRED, False)


def test_who_was_granted_a_certificate_before_gets_it_from_the_new_one(installation: Installation) -> None:
    owners = {"user_id": installation.add_user(), "device_id": installation.add_device()}
    wanted = Wanted(CertificateKind.SHORT_LIVED, ALICE, encode_public_key(generate_key().public_key()), **owners)
    with installation.store.write(installation.now) as tx:
        certificate_id = grant_certificate(tx, wanted, actor=ADMIN)
    activate(installation, create(installation))
    issued = fetch_certificate(installation.store, installation.signer, certificate_id)
    made = load(installation, "access-2")
    assert find_issuer(x509.load_der_x509_certificate(issued.certificate_der)) == made.key_identifier
    assert x509.load_der_x509_certificate(issued.chain_der[0]) == made.certificate


def test_distrust_refuses_every_certificate_at_once_and_says_whose_sessions_are_concerned(
    installation: Installation,
) -> None:
    held, _ = issue(installation)
    unsigned = Wanted(CertificateKind.SHORT_LIVED, ALICE, encode_public_key(generate_key().public_key()))
    create(installation)
    activate(installation, "access-2")
    kept, _ = issue(installation)
    with installation.store.write(installation.now) as tx:
        waiting = grant_certificate(tx, unsigned, actor=ADMIN)
        tx.connection.execute(
            tables.certificates.update().where(tables.certificates.c.id == waiting).values(authority="access")
        )
    snapshot = Snapshot()
    with installation.store.read() as connection:
        follow(connection, snapshot)
    assert retire(installation, "access", distrust=True) == Retired("access", installation.now, 2)
    with installation.store.read() as connection:
        changes = follow(connection, snapshot)
    assert {held, waiting} <= changes.ids
    assert kept not in changes.ids
    assert len(snapshot.access_authorities) == 1
    assert installation.decide(held).reason is Reason.CERTIFICATE_REVOKED
    assert installation.decide(held, established=True).reason is Reason.CERTIFICATE_REVOKED
    assert installation.decide(kept).reason is not Reason.CERTIFICATE_REVOKED
    with pytest.raises(InvalidInputError, match="is revoked, not granted"):
        installation.signer.sign(waiting)
    assert list_audit(installation)[-1][2]["certificates"] == 2
    assert end_access_trust(installation.store, now=installation.now + timedelta(days=1)) == 0


def test_an_active_one_about_to_end_gives_no_certificate_that_ends_at_once(installation: Installation) -> None:
    activate(installation, create(installation, days=1))
    installation.clock.forward(hours=23, minutes=30)
    _, certificate = issue(installation)
    assert certificate.not_valid_after_utc == load(installation, "access-2").certificate.not_valid_after_utc
    installation.clock.forward(minutes=29)
    with pytest.raises(UnavailableError, match=r"access-2 ends at .*: create and activate another"):
        issue(installation)


def test_each_that_is_trusted_has_a_revocation_list_of_its_own(installation: Installation) -> None:
    create(installation)
    assert set(installation.signer.publish_revocations()) == {*Authority, "access-2"}
    activate(installation, "access-2")
    retire(installation, "access", distrust=True)
    installation.clock.forward(days=2)
    assert set(installation.signer.publish_revocations()) == {"access-2", "issuing", "device"}
