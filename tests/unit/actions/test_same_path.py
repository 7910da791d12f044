"""Who guesses learns nothing by how long it takes: the same statements, hashes and words whatever was wrong.

Compared is the path and not the clock, so that no busy machine makes it fail.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import event

from evertunnel import passwords
from evertunnel.actions.add_user import add_user
from evertunnel.actions.deny import deny
from evertunnel.actions.issue_short_lived import issue_short_lived
from evertunnel.errors import AccessDeniedError
from evertunnel.model import SubjectKind
from evertunnel.protocols.radius import packet
from evertunnel.protocols.radius.packet import PacketError, decode_access_request
from tests.installation import ALICE, Installation
from tests.peers import radius
from tests.unit.actions.enrolling import Ready, make_ready
from tests.unit.pki.samples import make_key
from tests.unit.servers.conftest import Scene, original, scene  # noqa: F401

BOB, CAROL, NOBODY = "bob@corp.example", "carol@corp.example", "nobody@corp.example"


@dataclass
class Path:
    """What was done: statements of SQL in their order, and how often a password was hashed."""

    statements: list[str] = field(default_factory=list)
    hashes: Counter[str] = field(default_factory=Counter)
    said: str = ""


class CountingHasher:
    """argon2 as it is, counted."""

    def __init__(self, inner: PasswordHasher, path: Path) -> None:
        self._inner, self._path = inner, path

    def hash(self, password: str) -> str:
        self._path.hashes["hash"] += 1
        return self._inner.hash(password)

    def verify(self, stored: str, password: str) -> bool:
        parameters = "$".join(stored.split("$")[:4])
        self._path.hashes[parameters] += 1
        return self._inner.verify(stored, password)


@contextmanager
def followed(engine: Any, path: Path) -> Iterator[None]:
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        path.statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def ready(installation: Installation) -> Ready:
    """Alice and Carol have passwords, Bob has none, and Carol is denied."""
    made = make_ready(installation, make_key("p256", "device"))
    installation.do(add_user, BOB)
    installation.do(add_user, CAROL, password="the password of carol")
    installation.do(deny, SubjectKind.USER, CAROL, reason="left")
    with installation.store.read() as connection:
        installation.decider.refresh(connection)
    return made


def refuse(ready: Ready, monkeypatch: pytest.MonkeyPatch, user: str, password: str) -> Path:
    path = Path()
    request = ready.ask(user_name=user, password=password)
    store = ready.installation.store
    with monkeypatch.context() as patched, followed(store.engine, path):
        patched.setattr(passwords, "_HASHER", CountingHasher(passwords._HASHER, path))
        with pytest.raises(AccessDeniedError) as caught:
            issue_short_lived(
                store, ready.installation.signer, ready.installation.decider, request,
                unseal=ready.installation.unseal_sign_in, now=ready.installation.now,
            )  # fmt: skip
    path.said = caught.value.public
    return path


def test_a_wrong_user_and_a_wrong_password_go_the_same_way(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    first = refuse(ready, monkeypatch, NOBODY, "a wrong password")
    assert first.hashes.total() == 1, "the first who asks for nobody is told no other way than the next"
    for user in (ALICE, BOB, CAROL):
        assert refuse(ready, monkeypatch, user, "a wrong password") == first, user
    assert refuse(ready, monkeypatch, ALICE, "x" * 5_000).hashes == first.hashes


def test_a_wrong_secret_costs_the_same_wherever_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[int] = []
    sign = packet.sign
    monkeypatch.setattr(packet, "sign", lambda secret, data: signed.append(len(data)) or sign(secret, data))
    request = radius.build_request(b"the right secret", [*radius.split_eap(bytes(300))])
    for secret in (b"", b"the right secreT", b"The right secret", b"x" * 200):
        with pytest.raises(PacketError, match="Message-Authenticator is wrong"):
            decode_access_request(request, secret)
    assert signed == [len(request)] * 4


def test_an_identity_is_asked_about_nowhere_before_a_key_is_proven(scene: Scene) -> None:  # noqa: F811
    path = Path()
    with followed(scene.installation.store.engine, path):
        said = [scene.gateway.ask(scene.new_client(identity=name).answer_identity()) for name in (ALICE, NOBODY, "")]
    assert path.statements == []
    assert len({answer.eap for answer in said}) == 1
    assert len({len(answer.data) for answer in said}) == 1
