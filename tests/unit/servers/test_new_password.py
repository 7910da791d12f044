"""A password that an administrator replaces ends what came up by the old one, and nothing else."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from evertunnel import clock
from evertunnel.actions.allow import allow
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.model import SubjectKind
from evertunnel.storage import effect_queue
from tests.peers import radius
from tests.peers.gateway import Answer
from tests.peers.peap import InnerMSCHAPv2, MSCHAPv2Client
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import (
    ALICE,
    DAVE,
    PASSWORD,
    allow_passwords,
    change_dave,
    new_certificate_client,
    new_password_client,
)

NEW = "set by the administrator"
CAUSE = "the password was changed"


def log_in(scene: Scene, client: Any) -> None:
    assert scene.gateway.log_in(client).code == radius.ACCEPT


def log_in_alone(scene: Scene, password: str = PASSWORD, **options: Any) -> Answer:
    return scene.gateway.log_in(MSCHAPv2Client(InnerMSCHAPv2(DAVE, password, **options), identity=DAVE))


def list_states(scene: Scene) -> list[tuple[str, str]]:
    return [(row.state, row.end_reason) for row in scene.installation.list_sessions()]


def list_cuts(scene: Scene) -> set[tuple[str, str]]:
    """Sessions that gateways are still to cut, with why."""
    rows = scene.installation.list_sessions()
    with scene.installation.store.read() as connection:
        effects = [each for row in rows for each in effect_queue.list_pending(connection, row.gateway_id)]
    return {(each.subject_id, each.cause) for each in effects if each.subject_id in {row.id for row in rows}}


def in_peap(scene: Scene) -> None:
    log_in(scene, new_password_client(scene))


def alone(scene: Scene) -> None:
    assert log_in_alone(scene).code == radius.ACCEPT


@pytest.mark.parametrize("begin", [in_peap, alone])
@pytest.mark.parametrize("new", [NEW, PASSWORD], ids=["another", "the-same"])
def test_what_the_old_password_opened_ends_with_its_reason(
    scene: Scene, begin: Callable[[Scene], None], new: str
) -> None:
    """The same text is a new password, too: an administrator who sets it means all who came before."""
    allow_passwords(scene)
    begin(scene)
    change_dave(scene, password=new)
    (session,) = scene.installation.list_sessions()
    assert (session.state, session.end_reason) == ("ending", CAUSE)
    assert list_cuts(scene) == {(session.id, CAUSE)}
    assert log_in_alone(scene, new).code == radius.ACCEPT
    assert sorted(list_states(scene)) == [("ending", CAUSE), ("pending", "")], "the new one opens a session that stays"


def test_what_a_certificate_opened_stays(scene: Scene) -> None:
    allow_passwords(scene)
    log_in(scene, new_certificate_client(scene))
    log_in(scene, scene.new_client())
    change_user(
        scene.installation.store, ALICE, password=NEW, seal=scene.seal, actor="t", now=clock.now()
    )  # fmt: skip
    assert list_states(scene) == [("pending", "")] * 2
    assert not list_cuts(scene)


@pytest.mark.parametrize("changes", [{"expire_password": True}, {"enabled": True}, {"sid": ""}])
def test_other_changes_end_nothing(scene: Scene, changes: dict[str, Any]) -> None:
    allow_passwords(scene)
    alone(scene)
    change_dave(scene, **changes)
    assert list_states(scene) == [("pending", "")]


def test_a_password_that_the_user_changes_at_a_login_ends_nothing(scene: Scene) -> None:
    allow_passwords(scene)
    alone(scene)
    change_dave(scene, expire_password=True)
    assert log_in_alone(scene, new_password="a new password").code == radius.ACCEPT
    assert list_states(scene) == [("pending", "")] * 2
    change_dave(scene, password=NEW)
    assert list_states(scene) == [("ending", CAUSE)] * 2, "whichever password it was"


@pytest.mark.parametrize("denied_first", [True, False])
def test_lifting_a_denial_gives_none_of_them_back(scene: Scene, denied_first: bool) -> None:
    allow_passwords(scene)
    alone(scene)
    store = scene.installation.store
    steps: list[Callable[[], Any]] = [
        partial(deny, store, SubjectKind.USER, DAVE, reason="left", actor="t", now=clock.now()),
        partial(change_dave, scene, password=NEW),
    ]
    for step in steps if denied_first else reversed(steps):
        step()
    allow(store, SubjectKind.USER, DAVE, actor="t", now=clock.now())
    (session,) = scene.installation.list_sessions()
    assert session.state == "ending"
    assert list_cuts(scene) == {(session.id, CAUSE)}
