"""All network policies as one file: what is exported can be imported, here and elsewhere, all of it or nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from evertunnel.access.documents import PolicyError, PolicyProblemsError
from evertunnel.access.policy_test_results import PolicyTestsError
from evertunnel.actions.add_user import add_user
from evertunnel.actions.change_network_policies import add_network_policy, remove_network_policy
from evertunnel.actions.change_policy_tests import import_policy_tests
from evertunnel.actions.compare_policy_versions import list_changes
from evertunnel.actions.import_network_policies import (
    FORMAT,
    POLICIES_AT_MOST,
    ListChange,
    export_network_policies,
    import_network_policies,
    plan_network_policies,
)
from evertunnel.actions.policy_files import PROBLEMS_AT_MOST, PolicyFile
from evertunnel.actions.remove_group import remove_group
from evertunnel.actions.roll_back_policy import roll_back_policy
from evertunnel.model import LoginMethod
from evertunnel.storage import tables
from evertunnel.storage.verify_chain import verify_chain
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.actions.meeting import Meeting

GROUPS = ("Sales", "Größe", "a/b; drop--", '"\\$.[0]', "<b>&amp;", "日本", "{}", "null")
DENY: dict[str, Any] = {"permission": "deny"}
GRANT: dict[str, Any] = {"permission": "grant"}


def fill(installation: Installation) -> Installation:
    installation.add_user()
    installation.add_device()
    installation.add_gateway()
    for name in GROUPS:
        installation.add_group(name)
    return installation


@pytest.fixture
def office(installation: Installation) -> Installation:
    return fill(installation)


@pytest.fixture
def elsewhere(make_on_sqlite: Callable[[Path], Installation], tmp_path: Path) -> Iterator[Installation]:
    """Another installation, where people of the same names have other ids."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    made = make_on_sqlite(folder)
    made.do(add_user, "first@corp.example", password=None)
    yield fill(made)
    made.store.close()


def make_file(**documents: Any) -> dict[str, Any]:
    return {
        "format": FORMAT, "version": 1,
        "policies": [{"name": name, "document": document} for name, document in documents.items()],
    }  # fmt: skip


def do_import(installation: Installation, data: Any, *, replace: bool = False) -> ListChange:
    done: ListChange = installation.do(import_network_policies, data, replace=replace)
    return done


def export(installation: Installation) -> dict[str, Any]:
    with installation.store.read() as connection:
        return export_network_policies(connection)


def read_rows(installation: Installation) -> list[Any]:
    table = tables.network_policies
    with installation.store.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.position)))


def list_names(installation: Installation) -> list[str]:
    return [row.name for row in read_rows(installation)]


def some(values: Any) -> Any:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8) | st.sampled_from(
    ["x" * 100, "ß", "SS", "İ", "$.policies[0]", "'; --", "a b", "export"]
)
DOCUMENTS = st.fixed_dictionaries(
    {"permission": st.sampled_from(["grant", "deny"])},
    optional={
        "enabled": st.booleans(),
        "conditions": st.fixed_dictionaries(
            {},
            optional={
                "tunnel": st.sampled_from(["user", "device"]),
                "users": st.just([ALICE]),
                "groups": some(GROUPS),
                "user_groups": some(GROUPS),
                "device_groups": some(GROUPS),
                "devices": st.just([LAPTOP]),
                "gateways": st.just(["gw1"]),
                "device_tunnel": st.just(True),
            },
        ),
        "settings": st.fixed_dictionaries(
            {},
            optional={
                "allowed_certificate_oids": some(["1.3.6.1.5.5.7.3.2", "1.3.6.1.4.1.311.87"]),
                "session_timeout_seconds": st.integers(60, 2**31 - 1),
                "authentication_methods": some([method.value for method in LoginMethod]),
                "without_crypto_binding": st.booleans(),
            },
        ),
    },
)
POLICIES = st.lists(
    st.fixed_dictionaries({"name": NAMES, "document": DOCUMENTS}),
    max_size=6,
    unique_by=lambda policy: policy["name"].casefold(),
)


def test_what_was_imported_is_exported_here_and_elsewhere(office: Installation, elsewhere: Installation) -> None:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(POLICIES)
    def check(policies: Any) -> None:
        data = {"format": FORMAT, "version": 1, "policies": policies}
        before = read_rows(office)
        done = do_import(office, data, replace=True)
        after = read_rows(office)
        assert export(office) == data
        assert [row.position for row in after] == list(range(1, len(policies) + 1))
        verify_told(done, before, after)
        assert do_import(office, export(office), replace=True) == ListChange([], [], [], [])
        do_import(elsewhere, export(office), replace=True)
        assert export(elsewhere) == data

    check()
    with office.store.read() as connection:
        assert verify_chain(connection).problems == []


def verify_told(done: ListChange, before: list[Any], after: list[Any]) -> None:
    """Every difference is told, and who kept its name kept its id."""
    old, new = ({row.name_key: row for row in rows} for rows in (before, after))
    assert done.added == [row.name for row in after if row.name_key not in old]
    assert done.removed == [row.name for row in before if row.name_key not in new]
    stay = [row for row in after if row.name_key in old]
    assert all(row.id == old[row.name_key].id for row in stay)
    same = [
        row.name for row in stay if (row.name, row.document) == (old[row.name_key].name, old[row.name_key].document)
    ]
    assert done.changed == [row.name for row in stay if row.name not in same]
    rest = [row.name_key for row in stay if row.name not in done.moved]
    assert rest == [row.name_key for row in before if row.name_key in rest], "who did not move kept its order"


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([], "$"),
        ({}, "$.format"),
        ({"format": "x", "version": 1}, "$.format"),
        ({"format": FORMAT}, "$.version"),
        ({"format": FORMAT, "version": True, "policies": []}, "$.version"),
        ({"format": FORMAT, "version": 2, "policies": []}, "$.version"),
        ({"format": FORMAT, "version": 1}, "$.policies"),
        ({"format": FORMAT, "version": 1, "policies": {}}, "$.policies"),
        ({"format": FORMAT, "version": 1, "policies": [], "x" * 9999: 1}, f"$.{'x' * 80}..."),
        ({"format": FORMAT, "version": 1, "policies": [None] * (POLICIES_AT_MOST + 1)}, "$.policies"),
        (make_file(a=GRANT, b={"permission": "allow"}), "$.policies[1].document.permission"),
        (make_file(a=GRANT, A=GRANT), "$.policies[1].name"),
        (make_file(**{"a\u202eb": GRANT}), "$.policies[0].name"),
        (make_file(**{"\ud800": GRANT}), "$"),
        (make_file(a=GRANT | {"conditions": {"users": ["a\0b"]}}), "$.policies[0].document.conditions.users[0]"),
        (make_file(a=GRANT | {"conditions": {"users": []}}), "$.policies[0].document.conditions.users"),
        (make_file(a=GRANT | {"settings": {"x": 1}}), "$.policies[0].document.settings.x"),
        (make_file(a=None), "$.policies[0].document"),
        (make_file(a=GRANT) | {"policies": [{"name": "a"}]}, "$.policies[0].document"),
        (make_file(a=GRANT) | {"policies": [{"name": 1, "document": GRANT}]}, "$.policies[0].name"),
        (make_file(a=GRANT) | {"policies": [{"name": "a", "document": GRANT, "id": "x"}]}, "$.policies[0].id"),
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "backslashreplace").decode(),
)
@pytest.mark.parametrize("replace", [False, True])
def test_a_wrong_file_is_refused_at_its_place(office: Installation, data: Any, path: str, *, replace: bool) -> None:
    office.do(add_network_policy, "first", GRANT)
    before = read_rows(office)
    with pytest.raises(PolicyError) as caught:
        do_import(office, data, replace=replace)
    assert caught.value.path == path
    assert len(str(caught.value)) < 500
    assert read_rows(office) == before


def test_everything_that_is_wrong_is_said_with_what_helps(office: Installation) -> None:
    office.do(add_network_policy, "there", GRANT)
    data = make_file(
        a=DENY | {"conditions": {"users": ["bob"], "groups": ["Sales", "Buyers"]}},
        There=GRANT,
        b=DENY | {"conditions": {"gateways": ["gw2"]}},
    )
    with pytest.raises(PolicyProblemsError) as caught:
        do_import(office, data)
    assert [place for place, _problem in caught.value.problems] == [
        "$.policies[0].document.conditions.users[0]", "$.policies[0].document.conditions.groups[1]",
        "$.policies[1].name", "$.policies[2].document.conditions.gateways[0]",
    ]  # fmt: skip
    problems = [problem for _place, problem in caught.value.problems]
    assert "evertunnel user add" in problems[0] and "evertunnel gateway add" in problems[3]
    assert "--replace" in problems[2]
    assert list_names(office) == ["there"]


def test_there_is_an_end_to_what_is_listed(office: Installation) -> None:
    data = make_file(a=DENY | {"conditions": {"users": [f"u{number}" for number in range(PROBLEMS_AT_MOST + 10)]}})
    with pytest.raises(PolicyProblemsError) as caught:
        do_import(office, data)
    assert len(caught.value.problems) == PROBLEMS_AT_MOST + 1


def test_without_replace_they_stand_behind_the_others(office: Installation) -> None:
    office.do(add_network_policy, "first", GRANT)
    assert do_import(office, make_file(b=DENY, a=GRANT)) == ListChange(["b", "a"], [], [], [])
    assert list_names(office) == ["first", "b", "a"]


def test_each_keeps_its_id_and_has_its_history(office: Installation) -> None:
    do_import(office, make_file(a=DENY, b=GRANT, c=GRANT, d=GRANT))
    ids = {row.name: row.id for row in read_rows(office)}
    data = make_file(c=GRANT, a=GRANT, B=GRANT, e=DENY)
    with office.store.read() as connection:
        planned = plan_network_policies(connection, data, replace=True)
    done = do_import(office, data, replace=True)
    assert done == planned == ListChange(["e"], ["a", "B"], ["c"], ["d"])
    assert {row.name: row.id for row in read_rows(office) if row.name != "e"} == {
        "c": ids["c"], "a": ids["a"], "B": ids["b"],
    }  # fmt: skip
    words = {name: [each.words for each in list_changes(office.store, name, limit=9)][::-1] for name in "abcde"}
    assert words == {
        "a": ["added", "changed"], "b": ["added", "changed"], "c": ["added", "moved to 1"], "d": ["added", "removed"],
        "e": ["added"],
    }  # fmt: skip
    office.do(roll_back_policy, "d", 1)
    assert list_names(office) == ["c", "a", "B", "d", "e"]


def test_an_import_that_fails_a_test_changes_nothing(office: Installation) -> None:
    do_import(office, make_file(deny=DENY, all=GRANT))
    office.do(import_policy_tests, [PolicyFile("", {"name": "alice", "user": ALICE, "expect": "block"})])
    before = read_rows(office)
    for data in (make_file(all=GRANT, deny=DENY), make_file(all=GRANT)):
        with pytest.raises(PolicyTestsError, match="alice"):
            do_import(office, data, replace=True)
    assert read_rows(office) == before


def test_the_order_that_was_imported_decides(office: Installation) -> None:
    with office.store.read() as connection:
        user_id = connection.execute(select(tables.users.c.id)).scalar_one()
    certificate_id = office.issue_user(user_id)
    do_import(office, make_file(grant=GRANT, deny=DENY))
    assert office.decide(certificate_id).granted
    do_import(office, make_file(deny=DENY, grant=GRANT), replace=True)
    assert not office.decide(certificate_id).granted
    do_import(office, make_file(), replace=True)
    assert not office.decide(certificate_id).granted, "no policy is no"


def test_what_another_did_meanwhile_is_seen_and_told(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    installation.do(add_network_policy, "a", GRANT)
    done: list[ListChange] = []
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: done.append(do_import(installation, make_file(a=DENY, b=GRANT), replace=True)))
    installation.do(remove_network_policy, "a")
    installation.do(add_network_policy, "other", DENY)
    assert meeting.finish() is None
    assert done == [ListChange(["a", "b"], [], [], ["other"])]
    assert list_names(installation) == ["a", "b"]


def test_whom_another_removed_meanwhile_is_not_named(
    either_installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = either_installation
    installation.add_group("Sales")
    meeting = Meeting(monkeypatch)
    meeting.begin(lambda: do_import(installation, make_file(a=DENY | {"conditions": {"groups": ["Sales"]}})))
    installation.do(remove_group, "Sales")
    error = meeting.finish()
    assert isinstance(error, PolicyError) and error.path == "$.policies[0].document.conditions.groups[0]"
    assert read_rows(installation) == []
