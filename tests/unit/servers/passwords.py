"""A scene where MS-CHAPv2 is on and dave has a password, and what logs in through PEAP there."""

from typing import Any

import pytest
from OpenSSL import SSL
from sqlalchemy import select

from evertunnel import clock
from evertunnel.actions.add_user import add_user
from evertunnel.actions.change_user import change_user
from evertunnel.actions.switch_mschapv2 import switch_mschapv2_on
from evertunnel.model import Authority, Reason
from evertunnel.storage import tables
from tests.peers import radius
from tests.peers.certificates import Credential
from tests.peers.gateway import Answer
from tests.peers.peap import InnerMSCHAPv2, InnerTLS, PEAPClient
from tests.unit.servers.conftest import Scene

ALICE, DAVE, PASSWORD = "alice@corp.example", "dave@corp.example", "dave's own password"
TLS_12, TLS_13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
VERSIONS = pytest.mark.parametrize("version", [TLS_12, TLS_13], ids=["tls12", "tls13"])
METHODS = ["eap-tls", "peap-eap-tls", "peap-eap-mschapv2", "eap-mschapv2"]


def allow_passwords(scene: Scene, methods: list[str] | None = None, **settings: Any) -> None:
    """Switch MS-CHAPv2 on, add dave, and let a first policy take every method, or those named."""
    switch_mschapv2_on(scene.installation.store, weakness_accepted=True, actor="t", now=clock.now())
    add_dave(scene)
    given = {"authentication_methods": METHODS if methods is None else methods, **settings}
    scene.installation.add_policy("Weak", position=1, settings=given)
    scene.follow()


def add_dave(scene: Scene, name: str = DAVE) -> str:
    return add_user(scene.installation.store, name, password=PASSWORD, seal=scene.seal, actor="t", now=clock.now())


def change_dave(scene: Scene, **changes: Any) -> None:
    change_user(scene.installation.store, DAVE, seal=scene.seal, actor="t", now=clock.now(), **changes)
    scene.follow()


def new_peap(scene: Scene, inner: InnerTLS | InnerMSCHAPv2, *, identity: str, **options: Any) -> PEAPClient:
    return PEAPClient(scene.installation.authorities[Authority.ROOT], inner, identity=identity, **options)


def new_inner_tls(scene: Scene, credential: Credential | None = None, **options: Any) -> InnerTLS:
    return InnerTLS(scene.installation.authorities[Authority.ROOT], credential or scene.alice, **options)


def new_certificate_client(scene: Scene, credential: Credential | None = None, **options: Any) -> PEAPClient:
    """PEAP with alice's certificate inside."""
    inner = new_inner_tls(scene, credential, version=options.get("version", TLS_13))
    return new_peap(scene, inner, identity=options.pop("identity", ALICE), **options)


def new_password_client(scene: Scene, password: str = PASSWORD, **options: Any) -> PEAPClient:
    """PEAP with dave's password inside."""
    identity = options.pop("identity", DAVE)
    inner = InnerMSCHAPv2(options.pop("name", identity), password, tries=options.pop("tries", ()))
    return new_peap(scene, inner, identity=identity, **options)


def assert_accepted(scene: Scene, answer: Answer, keys: bytes, user: str) -> None:
    assert answer.code == radius.ACCEPT, scene.gateway.lines
    assert answer.session_keys == keys
    assert scene.installation.list_attempts()[-1].user_name == user
    assert len(scene.installation.list_sessions()) == 1


def assert_refused(scene: Scene, answer: Answer, reason: Reason) -> str:
    """Returns the detail."""
    assert answer.code == radius.REJECT, scene.gateway.lines
    assert answer.eap[0] == 4, "no EAP-Failure"
    attempt = scene.installation.list_attempts()[-1]
    assert attempt.reason == reason, attempt.detail
    assert scene.installation.list_sessions() == []
    return str(attempt.detail)


def find_user(scene: Scene, name: str = DAVE) -> Any:
    with scene.installation.store.read() as connection:
        return connection.execute(select(tables.users).where(tables.users.c.name == name)).one()
