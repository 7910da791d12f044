"""Compliance policies and posture to begin from."""

from typing import Any

from evertunnel.access.facts import COMPLIANT, find_device_fact
from evertunnel.actions.import_facts import Imported, import_facts
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import facts
from tests.installation import LAPTOP, Installation

POLICY: dict[str, Any] = {"platform": "linux", "rules": {"firewall": True, "diskEncryption": True}}
GOOD = {"operatingSystem": "Linux", "firewall": "true", "disk_encryption": "true"}


def report_by_import(installation: Installation, *, life: str = "", device: str = LAPTOP, **values: str) -> Imported:
    """What an export of a device management says of a device."""
    rows = "".join(f"{device},{name},{value},{life}\n" for name, value in values.items())
    done: Imported = installation.do(import_facts, f"device,fact,value,life\n{rows}".encode(), source="mdm")
    return done


def list_said(installation: Installation, device_id: str) -> dict[tuple[str, str], str]:
    """Values by name and source."""
    with installation.store.read() as connection:
        return {(fact.name, fact.source): fact.value for fact in load(connection, device_id)}


def load(connection: Any, device_id: str) -> list[Fact]:
    """All facts of a device."""
    return facts.list_facts(connection, SubjectKind.DEVICE, device_id)


def is_compliant(installation: Installation, device_id: str) -> bool | None:
    """What a policy is told now, by the decider that follows the database."""
    installation.refresh()
    found = installation.decider.gather_facts(
        at=installation.now, tunnel=None, device=installation.decider.find_device(device_id)
    )
    return find_device_fact(found, COMPLIANT)[0]
