"""Devices as the API lists them."""

from typing import Any

from sqlalchemy import event

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.report_device import report_device
from tests.installation import ALICE, LAPTOP, Installation
from tests.unit.web.api.clients import build_client


def list_devices(installation: Installation) -> tuple[list[dict[str, Any]], int]:
    """What is listed, and how many statements that took."""
    statements: list[str] = []
    with build_client(installation) as client:
        client.get("/v1/devices")
        event.listen(installation.store.engine, "before_cursor_execute", lambda *each: statements.append(each[2]))
        answer = client.get("/v1/devices")
    assert answer.status_code == 200, answer.text
    return answer.json(), len(statements)


def test_each_has_its_users_by_name_and_its_facts(installation: Installation) -> None:
    for user in ("zoe@corp.example", ALICE):
        installation.add_user(user)
    for device in (LAPTOP, "laptop0.corp.example", "laptop9.corp.example"):
        installation.add_device(device)
    for user, device in (("zoe@corp.example", LAPTOP), (ALICE, LAPTOP), (ALICE, "laptop9.corp.example")):
        installation.do(assign_device, device, user)
    installation.do(report_device, LAPTOP, "compliant", value=True, source="administrator")
    found, _ = list_devices(installation)
    assert [(row["name"], row["users"], [fact["name"] for fact in row["facts"]]) for row in found] == [
        ("laptop0.corp.example", [], []),
        (LAPTOP, [ALICE, "zoe@corp.example"], ["compliant"]),
        ("laptop9.corp.example", [ALICE], []),
    ]


def test_ten_thousand_are_read_at_once_and_not_one_by_one(installation: Installation) -> None:
    installation.add_device()
    _, for_one = list_devices(installation)
    for number in range(5):
        installation.add_device(f"laptop{number + 20}.corp.example")
    _, for_six = list_devices(installation)
    assert for_six == for_one
