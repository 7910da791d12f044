"""The access authority is rotated while people log in and tunnels are up."""

from datetime import timedelta
from ssl import TLSVersion

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from evertunnel import clock
from evertunnel.actions.activate_access_authority import activate_access_authority
from evertunnel.actions.create_access_authority import create_access_authority
from evertunnel.actions.end_access_trust import end_access_trust
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.retire_access_authority import retire_access_authority
from evertunnel.model import Authority, CertificateKind, Outcome, Reason
from evertunnel.storage import access_authorities, tables
from tests.peers.certificates import Credential, build_authority, build_leaf
from tests.peers.eap_tls import TLS_12, TLS_13
from tests.unit.servers.conftest import Scene

VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
SHORT_LIVED = CertificateKind.SHORT_LIVED


def create(scene: Scene, common_name: str = "") -> str:
    made = scene.installation
    name: str = create_access_authority(
        made.store, made.maker, lifetime_days=365, common_name=common_name, actor="t", now=clock.now()
    )
    scene.follow()
    return name


def activate(scene: Scene, name: str) -> None:
    made = scene.installation
    keys = made.signer.list_keys()
    activate_access_authority(made.store, name, keys_here=keys, actor="t", now=clock.now())
    scene.follow()


def retire(scene: Scene, name: str, *, distrust: bool) -> None:
    retire_access_authority(scene.installation.store, name, distrust=distrust, actor="t", now=clock.now())
    scene.follow()


def log_in(scene: Scene, credential: Credential, version: TLSVersion = TLS_13) -> str:
    """The reason recorded for this login."""
    scene.follow()
    answer = scene.gateway.log_in(scene.new_client(credential, version=version))
    attempt = scene.installation.list_attempts()[-1]
    assert (attempt.outcome == Outcome.GRANTED) == answer.words.startswith("Access-Accept")
    return str(attempt.reason)


def load(scene: Scene, name: str) -> x509.Certificate:
    with scene.installation.store.read() as connection:
        return access_authorities.get_access_authority(connection, name).certificate


def cut(scene: Scene) -> list[str]:
    """The reasons for which live sessions end when everything is decided again."""
    scene.follow()
    with scene.installation.store.write(clock.now()) as tx:
        scene.decider.refresh(tx.connection, epoch=tx.epoch)
        ended = end_unentitled_sessions(tx, scene.decider, tx.connection.execute(select(tables.sessions)).all())
        rows = tx.connection.execute(select(tables.sessions).where(tables.sessions.c.id.in_(ended))).all()
        return [row.end_reason for row in rows]


@VERSIONS
def test_certificates_of_both_log_in_and_no_tunnel_is_cut(scene: Scene, version: TLSVersion) -> None:
    old = scene.installation.issue(SHORT_LIVED)
    assert log_in(scene, old, version) == Reason.GRANTED
    name = create(scene)
    assert log_in(scene, old, version) == Reason.GRANTED
    activate(scene, name)
    new = scene.installation.issue(SHORT_LIVED)
    assert new.chain == (load(scene, name),)
    assert [log_in(scene, each, version) for each in (old, new, old)] == [Reason.GRANTED] * 3
    assert cut(scene) == []
    assert len(scene.installation.list_sessions()) == 5


def test_a_login_that_began_before_the_rotation_comes_to_its_end(scene: Scene) -> None:
    old = scene.installation.issue(SHORT_LIVED)
    client = scene.new_client(old)
    asked = scene.gateway.ask(client.answer_identity())
    activate(scene, create(scene))
    answer = scene.gateway.ask(client.answer(asked.eap), asked.state)
    while answer.state is not None:
        answer = scene.gateway.ask(client.answer(answer.eap), answer.state)
    assert answer.words == "Access-Accept, Success"


@VERSIONS
def test_what_a_staged_one_signed_is_trusted_before_it_is_active(scene: Scene, version: TLSVersion) -> None:
    """As far as TLS goes: we never issued it, so the decision knows nothing of it."""
    key = scene.installation.authority_keys
    name = create(scene)
    ghost = build_leaf(Credential(load(scene, name), key[name]), "alice@corp.example")
    assert log_in(scene, ghost, version) == Reason.CERTIFICATE_UNKNOWN
    retire(scene, name, distrust=False)
    assert log_in(scene, ghost, version) == Reason.CERTIFICATE_FOREIGN


@VERSIONS
def test_distrust_refuses_the_old_ones_at_once_and_cuts_their_tunnels(scene: Scene, version: TLSVersion) -> None:
    old = scene.installation.issue(SHORT_LIVED)
    assert log_in(scene, old, version) == Reason.GRANTED
    activate(scene, create(scene))
    new = scene.installation.issue(SHORT_LIVED)
    assert log_in(scene, new, version) == Reason.GRANTED
    retire(scene, "access", distrust=True)
    assert log_in(scene, old, version) == Reason.CERTIFICATE_REVOKED
    assert log_in(scene, new, version) == Reason.GRANTED
    # What a thief signs with the key is foreign now, before anybody looks it up.
    stolen = build_leaf(scene.installation.as_issuer(Authority.ACCESS), "alice@corp.example")
    assert log_in(scene, stolen, version) == Reason.CERTIFICATE_FOREIGN
    assert cut(scene) == [Reason.CERTIFICATE_REVOKED]
    assert cut(scene) == []


def test_distrust_between_the_handshake_and_the_record_refuses(scene: Scene) -> None:
    """The handshake was verified when the old one was trusted; the transaction that records sees that it is not."""
    old = scene.installation.issue(SHORT_LIVED)
    activate(scene, create(scene))
    last = scene.gateway.build_last_request(scene.new_client(old))
    verdict = scene.receive_verdict(last)
    store = scene.installation.store
    retire_access_authority(store, "access", distrust=True, actor="t", now=clock.now())
    scene.commit(verdict)
    assert scene.installation.list_attempts()[-1].reason == Reason.CERTIFICATE_REVOKED
    assert scene.installation.list_sessions() == []


@VERSIONS
def test_a_foreign_one_of_the_same_subject_is_refused(scene: Scene, version: TLSVersion) -> None:
    subject = load(scene, "access").subject
    name = str(next(iter(subject)).value)
    foreign = build_leaf(build_authority(name), "alice@corp.example")
    assert log_in(scene, foreign, version) == Reason.CERTIFICATE_FOREIGN
    # Two of ours that share their subject are both found, whichever signed.
    old = scene.installation.issue(SHORT_LIVED)
    activate(scene, create(scene, name))
    new = scene.installation.issue(SHORT_LIVED)
    assert old.certificate.issuer == new.certificate.issuer
    assert [log_in(scene, each, version) for each in (old, new)] == [Reason.GRANTED] * 2
    assert log_in(scene, foreign, version) == Reason.CERTIFICATE_FOREIGN
    retire(scene, "access", distrust=True)
    assert [log_in(scene, each, version) for each in (old, new)] == [Reason.CERTIFICATE_REVOKED, Reason.GRANTED]


def test_trust_ends_with_the_last_certificate_and_new_workers_begin_without_it(scene: Scene) -> None:
    scene.installation.issue(SHORT_LIVED)
    activate(scene, create(scene))
    assert len(scene.decider.list_access_authorities()) == 2
    assert end_access_trust(scene.installation.store, now=clock.now()) == 0
    assert end_access_trust(scene.installation.store, now=clock.now() + timedelta(hours=1)) == 1
    scene.follow()
    (left,) = scene.decider.list_access_authorities()
    assert left.public_bytes(Encoding.DER) == load(scene, "access-2").public_bytes(Encoding.DER)
