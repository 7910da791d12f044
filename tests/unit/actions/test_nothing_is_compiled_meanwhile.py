"""Compiling thousands of ranges takes its time: nobody who writes waits for a draft, a trial or an import."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from evertunnel.actions import policy_names
from evertunnel.actions.add_template_policy import add_template_policy
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.count_cuts import count_cuts
from evertunnel.actions.decide import Decider
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_policy_objects import add_named_location
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.remove_policy_object import remove_policy_object
from evertunnel.actions.rename_subject import rename_subject
from evertunnel.actions.replay_attempts import Draft, build_draft
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store, Transaction
from tests.installation import ADMIN, ALICE, Installation
from tests.unit.access.samples import make_document

OFFICE = "192.0.2.0/24"


class Watched:
    """When locations were compiled: while this process held the ledger, or not."""

    def __init__(self) -> None:
        self.writing = False
        self.compiled: list[bool] = []

    def take(self) -> list[bool]:
        found, self.compiled = self.compiled, []
        return found


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made, write, compile_one = Watched(), Store.write, policy_names.compile_location

    @contextmanager
    def watch_write(store: Store, now: datetime, *, fixed: bool = False) -> Iterator[Transaction]:
        with write(store, now, fixed=fixed) as tx:
            made.writing = True
            try:
                yield tx
            finally:
                made.writing = False

    def watch_compile(*arguments: Any) -> Any:
        made.compiled.append(made.writing)
        return compile_one(*arguments)

    monkeypatch.setattr(Store, "write", watch_write)
    for module in ("plan_access_policies", "import_policy_objects", "decide", "compile_policies", "policy_names"):
        monkeypatch.setattr(f"evertunnel.actions.{module}.compile_location", watch_compile)
    return made


def make_policy(name: str) -> dict[str, Any]:
    document = make_document("block", name=name)
    document["conditions"]["locations"] = {"includeLocations": ["All"], "excludeLocations": ["Office"]}
    return document


def test_no_location_is_compiled_while_the_ledger_is_held(installation: Installation, watched: Watched) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})

    def replace_office(store: Store) -> None:
        add_named_location(store, "Office", ranges=["198.51.100.0/24"], replace=True, actor=ADMIN, now=installation.now)

    for act in (
        lambda: installation.do(add_named_location, "Office", ranges=[OFFICE]),
        lambda: installation.do(import_access_policies, make_policy("Away")),
        lambda: installation.do(add_template_policy, "block-countries", location="Office"),
        lambda: build_draft(installation.store, Draft([PolicyFile("", make_policy("Draft"))], states={"Away": "off"})),
        lambda: count_cuts(installation.store, replace_office, Decider(), now=installation.now),
    ):
        act()
        assert set(watched.take()) == {False}


@pytest.mark.parametrize("change", ["removed", "renamed"])
def test_what_changed_after_it_was_compiled_is_seen(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Between plan and transaction somebody takes away what the policy names."""
    installation.add_user()
    installation.do(add_named_location, "Office", ranges=[OFFICE])
    document = make_policy("Away")
    document["conditions"]["users"] = {"includeUsers": [ALICE]}
    write, done = Store.write, False

    @contextmanager
    def be_late(store: Store, now: datetime, *, fixed: bool = False) -> Iterator[Transaction]:
        nonlocal done
        if not done:
            done = True
            if change == "removed":
                installation.do(remove_policy_object, ObjectKind.LOCATION, "Office")
            else:
                installation.do(rename_subject, SubjectKind.USER, ALICE, "alice.new@corp.example")
        with write(store, now, fixed=fixed) as tx:
            yield tx

    monkeypatch.setattr(Store, "write", be_late)
    with pytest.raises(InvalidInputError) as caught:
        installation.do(import_access_policies, document)
    assert ("there is no location" if change == "removed" else "there is no user") in str(caught.value)
