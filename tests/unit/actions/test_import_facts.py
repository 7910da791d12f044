"""Importing facts: all rows or none, only what changed raises the epoch, and a hundred thousand in bounded time."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from evertunnel.access.facts import USER_RISK, find_user_risk
from evertunnel.actions.change_compliance_policies import import_compliance_policies
from evertunnel.actions.import_facts import Imported, import_facts, list_fact_cells
from evertunnel.actions.report_user import report_user
from evertunnel.errors import DomainError, InvalidInputError
from evertunnel.storage import tables
from evertunnel.storage.store import read_epoch
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.actions.posture import GOOD, POLICY, is_compliant, list_said, report_by_import


def do_import(installation: Installation, text: str, source: str = "mdm") -> Imported:
    done: Imported = installation.do(import_facts, text.encode(), source=source)
    return done


def find_epoch(installation: Installation) -> int:
    with installation.store.read() as connection:
        return read_epoch(connection)


def test_rows_are_about_devices_and_users_by_name_in_any_case_or_id(installation: Installation) -> None:
    user_id, device_id = installation.add_user(), installation.add_device()
    text = (
        "device,user,fact,value\n"
        f"{LAPTOP.upper()},,compliant,true\n{device_id},,trustType,azuread\n,{ALICE},user_risk,medium\n"
    )
    assert do_import(installation, text) == Imported(3, 2)
    assert list_said(installation, device_id) == {("compliant", "mdm"): "true", ("trustType", "mdm"): "AzureAD"}
    installation.refresh()
    facts = installation.decider.gather_facts(
        at=installation.now, tunnel=None, user=installation.decider.find_user(user_id)
    )
    assert find_user_risk(facts, USER_RISK) == ("medium", "mdm said medium at 2026-05-04 12:00:00 UTC")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (f"{LAPTOP},compliant,false\nlaptop9,compliant,true\n", "line 3, column device: there is no device 'laptop9'"),
        (f"{LAPTOP},compliant,false\n{LAPTOP},compliant,maybe\n", "line 3, column value"),
        (f"{LAPTOP},compliant,false\n{LAPTOP.upper()},Compliant,true\n", "line 3, column fact: says compliant of the"),
    ],
)
def test_one_wrong_row_and_nothing_is_kept(installation: Installation, rows: str, words: str) -> None:
    device_id = installation.add_device()
    epoch = find_epoch(installation)
    with pytest.raises(DomainError, match=words):
        do_import(installation, "device,fact,value\n" + rows)
    assert list_said(installation, device_id) == {}
    assert find_epoch(installation) == epoch


@pytest.mark.parametrize("source", ["device", "administrator", "compliance policy", "mdm posture", ""])
def test_nobody_imports_as_a_device_an_administrator_or_ourselves(installation: Installation, source: str) -> None:
    with pytest.raises(InvalidInputError, match="choose one of import, script, mdm"):
        do_import(installation, f"device,fact,value\n{LAPTOP},compliant,true\n", source)


def test_only_what_changed_raises_the_epoch(installation: Installation) -> None:
    installation.add_device()
    assert report_by_import(installation, compliant="true").changed == 1
    epoch = find_epoch(installation)
    installation.clock.forward(minutes=1)
    assert report_by_import(installation, compliant="true") == Imported(1, 0)
    assert find_epoch(installation) == epoch
    # Whoever follows must learn of a later end, or would let it run out.
    assert report_by_import(installation, compliant="true", life="1h").changed == 1
    assert find_epoch(installation) == epoch + 1


def test_a_row_older_than_what_its_source_said_before_changes_nothing(installation: Installation) -> None:
    device_id = installation.add_device()
    report_by_import(installation, compliant="false")
    before = (installation.now - timedelta(hours=1)).isoformat()
    text = f"device,fact,value,observed_at\n{LAPTOP},compliant,true,{before}\n"
    assert do_import(installation, text) == Imported(1, 0)
    assert list_said(installation, device_id) == {("compliant", "mdm"): "false"}


def test_a_risk_by_hand_is_a_fact_of_the_administrators(installation: Installation) -> None:
    installation.add_user()
    installation.do(report_user, ALICE, {"sign_in_risk": "HIGH"}, source="administrator", life=timedelta(hours=1))
    [row] = list_fact_cells(installation.store)
    assert (row["user"], row["fact"], row["value"], row["life"], row["source"]) == (
        ALICE, "sign_in_risk", "high", "3600s", "administrator",
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="none, low, medium or high"):
        installation.do(report_user, ALICE, {"user_risk": "huge"}, source="administrator")


def test_what_is_exported_is_what_was_said_and_no_verdict(installation: Installation) -> None:
    installation.do(import_compliance_policies, POLICY)
    installation.add_device()
    report_by_import(installation, life="1h", **GOOD)
    rows = list(list_fact_cells(installation.store))
    assert {row["fact"]: row["value"] for row in rows} == GOOD
    assert {row["life"] for row in rows} == {"3600s"}
    assert list(list_fact_cells(installation.store, source="script")) == []


def test_a_hundred_thousand_rows_take_bounded_time_and_judge_every_device(installation: Installation) -> None:
    installation.do(import_compliance_policies, POLICY)
    devices = [f"d{number}.corp.example" for number in range(25_000)]
    with installation.store.write(installation.now) as tx:
        tx.connection.execute(
            insert(tables.devices),
            [{"id": name, "name": name, "name_key": name, "enabled": True, "created_at": tx.now} for name in devices],
        )
    rows = [f"{name},{fact},{value}\n" for name in devices for fact, value in (GOOD | {"secure_boot": "true"}).items()]
    began = time.process_time()
    assert do_import(installation, "device,fact,value\n" + "".join(rows)) == Imported(100_000, 25_000)
    assert time.process_time() - began < 30
    with installation.store.read() as connection:
        compliant = connection.execute(
            select(func.count()).select_from(tables.facts).where(tables.facts.c.name == "compliant")
        ).scalar_one()
    assert compliant == 25_000
    assert is_compliant(installation, devices[-1]) is True
    began = time.process_time()
    assert do_import(installation, "device,fact,value\n" + "".join(rows)) == Imported(100_000, 0)
    assert time.process_time() - began < 30
